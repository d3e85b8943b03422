//! The number of clones of a body: one for each attempt but the last.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use tower::{Layer, ServiceExt};
use tower_failover::{
    FailoverLayer, ModelChain, RequestOptions, RetryLayer, RetryPolicy, TokenRotationLayer,
    body::{Cloned, InMemory, Keep, Spare, TryCloned},
    fallback::ModelAt,
};

use crate::{
    body_plan::paused,
    support::{
        Recorder, limit, pool,
        sink::{Read, Sink},
    },
};

/// A body that counts its clones.
#[derive(Debug)]
struct Counted {
    data: Option<Bytes>,
    clones: Arc<AtomicUsize>,
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        self.clones.fetch_add(1, Ordering::Relaxed);
        Self { data: self.data.clone(), clones: self.clones.clone() }
    }
}

impl From<Bytes> for Counted {
    fn from(data: Bytes) -> Self {
        Self { data: Some(data), clones: Arc::default() }
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.data.take().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}

/// Returns the number of clones for this many failures, with at most four attempts.
async fn clones<K>(keep: K, failures: usize, layer: &str) -> usize
where
    K: Keep<Counted, Out = Counted> + Spare<Sink<Counted>> + Clone,
{
    let count = Arc::new(AtomicUsize::new(0));
    let body = Counted { data: Some(Bytes::from_static(b"hello")), clones: count.clone() };
    let request = Request::post("https://a.example/models/m1").body(body).unwrap();
    let status = match layer {
        "rotation" => 401,
        "retry" => 503,
        _ => 529,
    };
    let sink = Sink::script(std::iter::repeat_n((Read::All, status), failures));
    match layer {
        "rotation" => {
            let accounts = pool(&["a", "b", "c", "d"], &Recorder::new());
            let layer =
                TokenRotationLayer::new(accounts).max_refusals(limit(9)).body_strategy(keep);
            layer.layer(sink.clone()).oneshot(request).await.unwrap();
        }
        "retry" => {
            let layer = RetryLayer::new(RetryPolicy::new().retries(9)).body_strategy(keep);
            layer.layer(sink.clone()).oneshot(request).await.unwrap();
        }
        _ => {
            let chain = ModelChain::list(["m1", "m2", "m3", "m4", "m5"]).unwrap();
            let layer = FailoverLayer::builder().models(chain);
            let layer = layer.model_at(ModelAt::path_after("models")).body_strategy(keep);
            layer.build().unwrap().layer(sink.clone()).oneshot(request).await.unwrap();
        }
    }
    let received = sink.received();
    assert_eq!(received.len(), (failures + 1).min(4));
    assert!(received.iter().all(|received| received.data == b"hello"));
    count.load(Ordering::Relaxed)
}

#[test]
fn last_allowed_attempt_takes_the_kept_body() {
    paused(async {
        for layer in ["retry", "rotation", "models"] {
            // One clone before the first attempt, one for each but the last of four.
            for (failures, wanted) in [(0, 1), (1, 2), (2, 3), (3, 3), (4, 3)] {
                let some = TryCloned::new(|body: &Counted| Some(body.clone()));
                let counts = [
                    clones(Cloned, failures, layer).await,
                    clones(InMemory, failures, layer).await,
                    clones(some, failures, layer).await,
                ];
                assert_eq!(counts, [wanted; 3], "{layer}, {failures} failures");
            }
        }
    });
}

#[test]
fn body_that_cannot_be_resent_is_not_cloned() {
    paused(async {
        let count = Arc::new(AtomicUsize::new(0));
        let body = || Counted { data: Some(Bytes::from_static(b"hello")), clones: count.clone() };
        let request = || Request::post("https://a.example/").body(body()).unwrap();
        // One account only.
        let rotation = TokenRotationLayer::new(pool(&["a"], &Recorder::new()));
        let sink = Sink::script([(Read::All, 401)]);
        rotation.layer(sink.clone()).oneshot(request()).await.unwrap();
        let sink = Sink::script([(Read::All, 503)]);
        let retry = RetryLayer::default().send_once();
        retry.layer(sink.clone()).oneshot(request()).await.unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn body_is_not_kept_if_the_model_is_known_without_it() {
    paused(async {
        let count = Arc::new(AtomicUsize::new(0));
        let body = Counted { data: Some(Bytes::from_static(b"hello")), clones: count.clone() };
        let mut request = Request::put("https://a.example/").body(body).unwrap();
        request.extensions_mut().insert(RequestOptions::new().model("m1"));
        let sink = Sink::script([(Read::All, 503)]);
        let layer = FailoverLayer::builder()
            .models(ModelChain::list(["m1"]).unwrap())
            .retry(RetryPolicy::new())
            .attempts(limit(2))
            .body_strategy(Cloned)
            .build()
            .unwrap();
        layer.layer(sink.clone()).oneshot(request).await.unwrap();
        assert_eq!((sink.calls(), count.load(Ordering::Relaxed)), (2, 1));
    });
}
