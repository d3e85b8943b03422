//! I3, its last part: the kept bytes of request bodies are bounded, measured with the allocator.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use tower::{Layer, Service, service_fn};
use tower_failover::{RetryLayer, RetryPolicy, retry::Backoff};

/// The cost of a request without its body, and of the growth of a `Vec`.
const BESIDES: u64 = 16 * 1024;

/// A body that creates its frames when it is polled.
#[derive(Debug)]
struct Lazy {
    left: usize,
    frame: usize,
    /// Whether its length is known.
    known: bool,
}

impl Body for Lazy {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let len = self.frame.min(self.left);
        self.left -= len;
        let data = (len > 0).then(|| Ok(Frame::data(vec![b'x'; len].into())));
        Poll::Ready(data)
    }

    fn size_hint(&self) -> SizeHint {
        if self.known { SizeHint::with_exact(self.left as u64) } else { SizeHint::new() }
    }
}

/// An upstream that fails `failures` times after it has read the body; counts attempts and bytes.
async fn upstream<B>(
    request: Request<B>,
    counts: Arc<(AtomicUsize, AtomicUsize)>,
    failures: usize,
) -> Result<Response<Full<Bytes>>, Infallible>
where
    B: Body<Data = Bytes, Error = Infallible>,
{
    let mut body = pin!(request.into_body());
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap_or_default();
        counts.1.fetch_add(data.len(), Ordering::Relaxed);
    }
    let failed = counts.0.fetch_add(1, Ordering::Relaxed) < failures;
    let status = if failed { 503 } else { 200 };
    Ok(Response::builder().status(status).body(Full::default()).unwrap())
}

/// Sends the body, and returns the most bytes that were allocated for it at once.
fn peak<S, RB>(mut service: S, body: Lazy) -> u64
where
    S: Service<Request<Lazy>, Response = Response<RB>, Error = Infallible>,
{
    let request = Request::put("https://api.example.com/").body(body).unwrap();
    let cx = &mut Context::from_waker(Waker::noop());
    let measured = allocation_counter::measure(|| {
        assert!(service.poll_ready(cx).is_ready());
        let mut future = pin!(service.call(request));
        assert!(future.as_mut().poll(cx).is_ready());
    });
    measured.bytes_max
}

fn retry() -> RetryLayer {
    RetryLayer::new(RetryPolicy::new().backoff(Backoff::none()))
}

proptest! {
    #[test]
    fn i03_kept_bytes_are_bounded(
        len in 0..300_000_usize,
        frame in 1_000..16_000_usize,
        known in any::<bool>(),
        caps in (0..70_000_usize, 0..70_000_usize),
        failures in 0..3_usize,
    ) {
        let body = || Lazy { left: len, frame, known };
        let counts = || Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));

        let one = counts();
        let seen = one.clone();
        let service = service_fn(move |request| upstream(request, seen.clone(), failures));
        let bytes = peak(retry().buffered(caps.0).layer(service), body());
        // The reader holds a frame, and another is in transit.
        let most = caps.0 + 2 * frame;
        prop_assert!(bytes <= most as u64 + BESIDES, "{} of {}", bytes, most);
        let attempts = if len <= caps.0 { failures + 1 } else { 1 };
        prop_assert_eq!(one.0.load(Ordering::Relaxed), attempts);
        prop_assert_eq!(one.1.load(Ordering::Relaxed), attempts * len);

        // Two layers share the pieces: what both keep exists once.
        let two = counts();
        let seen = two.clone();
        let service = service_fn(move |request| upstream(request, seen.clone(), failures));
        let inner = retry().buffered(caps.1).layer(service);
        let bytes = peak(retry().buffered(caps.0).layer(inner), body());
        let most = caps.0.max(caps.1) + 2 * frame;
        prop_assert!(bytes <= most as u64 + BESIDES, "{} of {}, two layers", bytes, most);
        prop_assert_eq!(two.1.load(Ordering::Relaxed), two.0.load(Ordering::Relaxed) * len);
    }
}
