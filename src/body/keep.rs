//! How a request's body, and the service, are kept for another attempt.

use std::{
    fmt,
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use http_body::Body;

use crate::report::NotResent;

/// The body for the first attempt, and what is kept of it, or why nothing is.
///
/// What [`Keep::poll_fill`] gives; [`Keep`] has an example.
pub type Kept<O, K> = (O, Result<K, NotResent>);

/// What became of a body before its first attempt.
///
/// What [`Keep::start`] gives; [`Keep`] has an example.
#[derive(Debug)]
pub enum Started<O, K, F> {
    /// The body for the first attempt, and what is kept, or why nothing is.
    Ready(O, Result<K, NotResent>),
    /// The body must be awaited first.
    Fill(F),
}

/// How a request body is kept for another attempt.
///
/// | strategy | request body `B` | inner body | sent again | with another model in its JSON |
/// | --- | --- | --- | --- | --- |
/// | [`SendOnce`] | any | `B` | never | no |
/// | [`Cloned`] | `Clone` | `B` | yes | no |
/// | [`InMemory`] | `Clone`, `Body<Data = Bytes>`, `From<Bytes>` | `B` | yes | yes |
/// | [`TryCloned`](crate::body::TryCloned) | with a `try_clone` of its own | `B` | when that gives one | when told how |
/// | [`Buffered`](crate::body::Buffered) | `Body<Data = Bytes>`, `Unpin` | [`ReplayBody<B>`](crate::body::ReplayBody) | up to a size | yes |
/// | [`BufferedAs`](crate::body::BufferedAs) | the same | what a function makes of it | the same | yes |
///
/// One of your own, for requests of which each attempt makes its body anew:
///
/// ```
/// use std::{convert::Infallible, task::{Context, Poll}};
/// use bytes::Bytes;
/// use tower_failover::body::{Keep, Kept, Spare, Started};
///
/// /// A body that is made of a number.
/// #[derive(Debug)]
/// struct Numbered;
///
/// impl Keep<u64> for Numbered {
///     type Out = String;
///     type Kept = u64;
///     type Fill = Infallible;
///
///     fn once(&self, number: u64) -> String {
///         number.to_string()
///     }
///
///     fn start(&self, number: u64) -> Started<String, u64, Infallible> {
///         Started::Ready(self.once(number), Ok(number))
///     }
///
///     fn poll_fill(&self, fill: &mut Infallible, _: &mut Context<'_>) -> Poll<Kept<String, u64>> {
///         match *fill {}
///     }
///
///     fn again(&self, number: &u64) -> Option<String> {
///         Some(self.once(*number))
///     }
///
///     fn bytes(&self, number: &u64) -> Option<Bytes> {
///         Some(number.to_string().into())
///     }
///
///     fn edited(&self, _: &u64, bytes: Bytes) -> Option<String> {
///         String::from_utf8(bytes.into()).ok()
///     }
/// }
///
/// impl<S: Clone> Spare<S> for Numbered {
///     fn spare(&self, service: &S) -> Option<S> {
///         Some(service.clone())
///     }
/// }
///
/// assert_eq!(Numbered.again(&7).as_deref(), Some("7"));
/// ```
#[diagnostic::on_unimplemented(
    message = "a request body of type `{B}` cannot be kept for another attempt by `{Self}`",
    label = "this stack may send the request again, and cannot with this body",
    note = "for a body in memory, use `Full<Bytes>`, or add `.body_strategy(Cloned)` when it is only `Clone`; for a body that streams, add `.buffered(cap)`, or `.buffered_as(cap, map)` when the service below takes one type of body only; to send every request once, add `.send_once()`"
)]
pub trait Keep<B>: fmt::Debug + Send + Sync + 'static {
    /// The body that the inner service is called with.
    type Out;
    /// What is kept.
    type Kept;
    /// A body that is being awaited.
    type Fill;

    /// The body for the only attempt.
    fn once(&self, body: B) -> Self::Out;

    /// The body for the first attempt, and what is kept of it.
    fn start(&self, body: B) -> Started<Self::Out, Self::Kept, Self::Fill>;

    /// Awaits a body; the same as [`start`](Self::start) gives when it need not wait.
    ///
    /// Whoever never gives a [`Fill`](Started::Fill) is never asked.
    fn poll_fill(
        &self,
        _fill: &mut Self::Fill,
        _cx: &mut Context<'_>,
    ) -> Poll<Kept<Self::Out, Self::Kept>> {
        Poll::Pending
    }

    /// The body for one more attempt.
    fn again(&self, kept: &Self::Kept) -> Option<Self::Out>;

    /// The body for the last attempt.
    fn last(&self, kept: Self::Kept) -> Option<Self::Out> {
        self.again(&kept)
    }

    /// The whole body in one piece; `None` when it is not in memory.
    fn bytes(&self, kept: &Self::Kept) -> Option<Bytes>;

    /// The kept body with these bytes in place of its own.
    fn edited(&self, kept: &Self::Kept, bytes: Bytes) -> Option<Self::Out>;
}

/// How a service is kept for another attempt.
///
/// [`Keep`] has an example.
#[diagnostic::on_unimplemented(
    message = "the service `{S}` cannot be called again: it is not `Clone`",
    label = "this stack may send a request again, on a clone of the service",
    note = "put `tower::buffer::BufferLayer` below this layer, or add `.send_once()` to it"
)]
pub trait Spare<S>: fmt::Debug + Send + Sync + 'static {
    /// A service for further attempts; `None` when there will be none.
    fn spare(&self, service: &S) -> Option<S>;
}

/// Every request is sent once: any body, and a service that need not be `Clone`.
///
/// ```
/// use tower_failover::{body::{Keep, SendOnce}, RetryLayer};
///
/// fn any_body<B>(keep: &impl Keep<B>) {}
/// any_body::<std::io::Empty>(&SendOnce);
/// let layer = RetryLayer::default().body_strategy(SendOnce);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SendOnce;

/// The body is cloned: for bodies whose clone is cheap.
///
/// The clone is made before the first attempt, and only where something could send again. A model
/// in the body is not changed; one in the path, the query or a header is.
/// [`SendOnce`] has an example of how a strategy is given.
#[derive(Clone, Copy, Debug, Default)]
// The compiler quotes the next line, to its end, where it does not give the text of `Keep`.
pub struct Cloned; // not `Clone`? add `.buffered(cap)` or `.send_once()`

/// The body is in memory: `Full<Bytes>` and its like. It is cloned, and a model in it is changed.
/// It is the default of [`FailoverBuilder`](crate::failover::FailoverBuilder), which has an example.
#[derive(Clone, Copy, Debug, Default)]
// The compiler quotes the next line, to its end, where it does not give the text of `Keep`.
pub struct InMemory; // not in memory? add `.buffered(cap)`, `.body_strategy(Cloned)` or `.send_once()`

/// What is never made: what [`SendOnce`] keeps.
#[derive(Clone, Copy, Debug)]
pub enum Never {}

#[diagnostic::do_not_recommend]
impl<B> Keep<B> for SendOnce {
    type Out = B;
    type Kept = Never;
    type Fill = Never;

    fn once(&self, body: B) -> B {
        body
    }

    fn start(&self, body: B) -> Started<B, Never, Never> {
        Started::Ready(body, Err(NotResent::SentOnce))
    }

    fn again(&self, kept: &Never) -> Option<B> {
        match *kept {}
    }

    fn bytes(&self, kept: &Never) -> Option<Bytes> {
        match *kept {}
    }

    fn edited(&self, kept: &Never, _: Bytes) -> Option<B> {
        match *kept {}
    }
}

#[diagnostic::do_not_recommend]
impl<S> Spare<S> for SendOnce {
    fn spare(&self, _: &S) -> Option<S> {
        None
    }
}

/// How a body `B` is kept that need only be cloned.
macro_rules! kept_by_clone {
    () => {
        type Out = B;
        type Kept = B;
        type Fill = Never;

        fn once(&self, body: B) -> B {
            body
        }

        fn start(&self, body: B) -> Started<B, B, Never> {
            Started::Ready(body.clone(), Ok(body))
        }

        fn again(&self, kept: &B) -> Option<B> {
            Some(kept.clone())
        }

        fn last(&self, kept: B) -> Option<B> {
            Some(kept)
        }
    };
}

#[diagnostic::do_not_recommend]
impl<B: Clone> Keep<B> for Cloned {
    kept_by_clone!();

    fn bytes(&self, _: &B) -> Option<Bytes> {
        None
    }

    fn edited(&self, _: &B, _: Bytes) -> Option<B> {
        None
    }
}

#[diagnostic::do_not_recommend]
impl<B: Clone + Body<Data = Bytes> + From<Bytes>> Keep<B> for InMemory {
    kept_by_clone!();

    fn bytes(&self, kept: &B) -> Option<Bytes> {
        gather(kept.clone())
    }

    fn edited(&self, _: &B, bytes: Bytes) -> Option<B> {
        Some(bytes.into())
    }
}

/// How a service is kept that need only be cloned.
macro_rules! spare_by_clone {
    ($([$($generics:tt)*] $Keep:ty),* $(,)?) => { $(
        #[diagnostic::do_not_recommend]
        impl<S: Clone, $($generics)*> Spare<S> for $Keep {
            fn spare(&self, service: &S) -> Option<S> {
                Some(service.clone())
            }
        }
    )* };
}

pub(crate) use spare_by_clone;

spare_by_clone!([] Cloned, [] InMemory);

/// The whole body, when all of it is there at once. `None` for one with trailers, too.
pub(crate) fn gather<B: Body<Data = Bytes>>(body: B) -> Option<Bytes> {
    let mut body = pin!(body);
    let mut cx = Context::from_waker(Waker::noop());
    let mut whole: Option<Bytes> = None;
    let mut more = BytesMut::new();
    loop {
        match body.as_mut().poll_frame(&mut cx) {
            Poll::Ready(None) => break,
            Poll::Ready(Some(Ok(frame))) => {
                let data = frame.into_data().ok()?;
                match &whole {
                    None => whole = Some(data),
                    Some(first) => {
                        if more.is_empty() {
                            more.extend_from_slice(first);
                        }
                        more.extend_from_slice(&data);
                    }
                }
            }
            Poll::Ready(Some(Err(_))) | Poll::Pending => return None,
        }
    }
    Some(if more.is_empty() { whole.unwrap_or_default() } else { more.freeze() })
}
