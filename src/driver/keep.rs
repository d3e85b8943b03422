//! How a request's body, and the service, are kept for another attempt.

use std::fmt::Debug;

/// How a request body is kept for another attempt.
///
/// | strategy | request body | sent again |
/// | --- | --- | --- |
/// | [`Once`] | any | never |
/// | [`Cloned`] | `Clone` | yes |
#[diagnostic::on_unimplemented(
    message = "a request body of type `{B}` cannot be kept for another attempt by `{Self}`",
    label = "this stack may send the request again, and needs a body that is cheap to clone",
    note = "use a body that is `Clone` (`Full<Bytes>`, `String`), or add `.send_once()` to the layer: then every request is sent once"
)]
pub trait Keep<B>: Debug + Send + Sync + 'static {
    /// The body that the inner service is called with.
    type Out;
    /// What is kept.
    type Kept;

    /// The body for the only attempt.
    fn once(&self, body: B) -> Self::Out;

    /// The body for the first attempt, and what is kept; `None` when nothing could be.
    fn start(&self, body: B) -> (Self::Out, Option<Self::Kept>);

    /// The body for one more attempt.
    fn again(&self, kept: &Self::Kept) -> Option<Self::Out>;
}

/// How a service is kept for another attempt.
#[diagnostic::on_unimplemented(
    message = "the service `{S}` cannot be called again: it is not `Clone`",
    label = "this stack may send a request again, on a clone of the service",
    note = "put `tower::buffer::BufferLayer` below this layer, or add `.send_once()` to it"
)]
pub trait Spare<S>: Debug + Send + Sync + 'static {
    /// A service for further attempts; `None` when there will be none.
    fn spare(&self, service: &S) -> Option<S>;
}

/// Every request is sent once: any body, and a service that need not be `Clone`.
///
/// ```
/// use tower_failover::{AuthShortCircuitLayer, Keep, Once};
///
/// fn any_body<B>(keep: &impl Keep<B>) {}
/// any_body::<std::io::Empty>(&Once);
/// let layer = AuthShortCircuitLayer::new().any_credential();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Once;

/// The body is cloned: for bodies whose clone is cheap, such as `Full<Bytes>`.
///
/// The clone is made before the first attempt, and only where something could send again.
///
/// ```
/// use tower_failover::{Cloned, Keep};
///
/// let (sent, kept) = Cloned.start("body");
/// assert_eq!((sent, kept), ("body", Some("body")));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Cloned;

#[diagnostic::do_not_recommend]
impl<B> Keep<B> for Once {
    type Out = B;
    // Never made: nothing is kept.
    type Kept = std::convert::Infallible;

    fn once(&self, body: B) -> B {
        body
    }

    fn start(&self, body: B) -> (B, Option<Self::Kept>) {
        (body, None)
    }

    fn again(&self, kept: &Self::Kept) -> Option<B> {
        match *kept {}
    }
}

#[diagnostic::do_not_recommend]
impl<S> Spare<S> for Once {
    fn spare(&self, _: &S) -> Option<S> {
        None
    }
}

#[diagnostic::do_not_recommend]
impl<B: Clone> Keep<B> for Cloned {
    type Out = B;
    type Kept = B;

    fn once(&self, body: B) -> B {
        body
    }

    fn start(&self, body: B) -> (B, Option<B>) {
        (body.clone(), Some(body))
    }

    fn again(&self, kept: &B) -> Option<B> {
        Some(kept.clone())
    }
}

#[diagnostic::do_not_recommend]
impl<S: Clone> Spare<S> for Cloned {
    fn spare(&self, service: &S) -> Option<S> {
        Some(service.clone())
    }
}
