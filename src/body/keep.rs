//! Keeping a request's body, and the service, for another attempt.

use std::{
    fmt,
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use http_body::Body;

use crate::report::NotResent;

/// The body for the first attempt, and the kept one, or the reason why none is kept.
pub(crate) type FirstBody<O, K> = (O, Result<K, NotResent>);

/// A body before its first attempt.
#[derive(Debug)]
pub(crate) enum Started<O, K, F> {
    /// The body for the first attempt, and the kept one, or the reason why none is kept.
    Ready(O, Result<K, NotResent>),
    /// The body must be read first.
    Fill(F),
}

/// The ways to keep a request body for another attempt. The trait is sealed: the strategies are those
/// of [this module](crate::body).
#[diagnostic::on_unimplemented(
    message = "a request body of type `{B}` cannot be kept for another attempt by `{Self}`",
    label = "this stack may resend the request, and cannot with this body",
    note = "for a body in memory, use `Full<Bytes>`, or add `.body_strategy(Cloned)` when it is only `Clone`; for a body that streams, add `.buffered(cap)`, or `.buffered_as(cap, map)` when the inner service takes one type of body only; to send every request once, add `.send_once()`"
)]
pub trait Keep<B>: Strategy<B, <Self as Keep<B>>::Out> {
    /// The request body that the inner service is called with.
    type Out;
}

/// The methods of [`Keep`].
pub(crate) trait Strategy<B, O>: fmt::Debug + Send + Sync + 'static {
    /// The kept body.
    type Kept;
    /// A body that is being read.
    type Fill;

    /// Returns the body for the only attempt.
    fn once(&self, body: B) -> O;

    /// Returns the body for the first attempt, and keeps it for others.
    fn start(&self, body: B) -> Started<O, Self::Kept, Self::Fill>;

    /// Reads a body that [`start`](Self::start) could not return at once.
    fn poll_fill(
        &self,
        fill: &mut Self::Fill,
        cx: &mut Context<'_>,
    ) -> Poll<FirstBody<O, Self::Kept>>;

    /// Returns the body for one more attempt.
    fn again(&self, kept: &Self::Kept) -> Option<O>;

    /// Returns the body for the last attempt.
    fn last(&self, kept: Self::Kept) -> Option<O> {
        self.again(&kept)
    }

    /// Returns the whole body in one piece; `None` when it is not in memory.
    fn bytes(&self, kept: &Self::Kept) -> Option<Bytes>;

    /// Returns the kept body with these bytes in place of its own.
    fn edited(&self, kept: &Self::Kept, bytes: Bytes) -> Option<O>;
}

/// The ways to keep the inner service for another attempt. The trait is sealed: each
/// [strategy](crate::body) but [`SendOnce`] clones the service.
#[diagnostic::on_unimplemented(
    message = "the service `{S}` cannot be called again: it is not `Clone`",
    label = "this stack may resend a request, on a clone of the service",
    note = "put `tower::buffer::BufferLayer` below this layer, or add `.send_once()` to it"
)]
pub trait Spare<S>: SpareService<S> {}

/// The method of [`Spare`].
pub(crate) trait SpareService<S>: fmt::Debug + Send + Sync + 'static {
    /// Returns a service for further attempts; `None` when there will be none.
    fn spare(&self, service: &S) -> Option<S>;
}

/// Sends every request once: any body, and a service that need not be `Clone`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SendOnce;

/// Clones the body: for bodies whose clone is cheap.
///
/// The clone is made before the first attempt, and only where the request could be resent. A model
/// named in the body is not changed; one in the path, the query or a header is.
#[derive(Clone, Copy, Debug, Default)]
// The compiler quotes the next line, to its end, where it does not give the text of `Keep`.
pub struct Cloned; // not `Clone`? add `.buffered(cap)` or `.send_once()`

/// Clones a body that is in memory, such as `Full<Bytes>`, and can change a model named in it. The
/// default of [`FailoverBuilder`](crate::failover::FailoverBuilder).
#[derive(Clone, Copy, Debug, Default)]
// The compiler quotes the next line, to its end, where it does not give the text of `Keep`.
pub struct InMemory; // not in memory? add `.buffered(cap)`, `.body_strategy(Cloned)` or `.send_once()`

/// The kept body of [`SendOnce`]: there is none.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Never {}

#[diagnostic::do_not_recommend]
impl<B> Keep<B> for SendOnce {
    type Out = B;
}

impl<B> Strategy<B, B> for SendOnce {
    type Kept = Never;
    type Fill = Never;

    fn once(&self, body: B) -> B {
        body
    }

    fn start(&self, body: B) -> Started<B, Never, Never> {
        Started::Ready(body, Err(NotResent::SentOnce))
    }

    fn poll_fill(&self, fill: &mut Never, _: &mut Context<'_>) -> Poll<FirstBody<B, Never>> {
        match *fill {}
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
impl<S> Spare<S> for SendOnce {}

impl<S> SpareService<S> for SendOnce {
    fn spare(&self, _: &S) -> Option<S> {
        None
    }
}

/// Writes the methods of a strategy that clones the body `B`.
macro_rules! kept_by_clone {
    () => {
        type Kept = B;
        type Fill = Never;

        fn once(&self, body: B) -> B {
            body
        }

        fn start(&self, body: B) -> Started<B, B, Never> {
            Started::Ready(body.clone(), Ok(body))
        }

        fn poll_fill(&self, fill: &mut Never, _: &mut Context<'_>) -> Poll<FirstBody<B, B>> {
            match *fill {}
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
    type Out = B;
}

impl<B: Clone> Strategy<B, B> for Cloned {
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
    type Out = B;
}

impl<B: Clone + Body<Data = Bytes> + From<Bytes>> Strategy<B, B> for InMemory {
    kept_by_clone!();

    fn bytes(&self, kept: &B) -> Option<Bytes> {
        gather(kept.clone())
    }

    fn edited(&self, _: &B, bytes: Bytes) -> Option<B> {
        Some(bytes.into())
    }
}

/// Implements [`Spare`] for strategies that clone the service.
macro_rules! spare_by_clone {
    ($([$($generics:tt)*] $Keep:ty),* $(,)?) => { $(
        #[diagnostic::do_not_recommend]
        impl<S: Clone, $($generics)*> Spare<S> for $Keep {}

        impl<S: Clone, $($generics)*> SpareService<S> for $Keep {
            fn spare(&self, service: &S) -> Option<S> {
                Some(service.clone())
            }
        }
    )* };
}

pub(crate) use spare_by_clone;

spare_by_clone!([] Cloned, [] InMemory);

/// Returns the whole body if all of it is ready. `None` for a body with trailers, too.
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
