//! All body strategies with random bodies.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use proptest::prelude::*;
use tokio::time::Instant;
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_failover::{
    ErrorDedupLayer, FailoverLayer, ModelChain, RetryLayer, RetryPolicy, TokenRotationLayer,
    body::{Buffered, BufferedAs, Cloned, InMemory, Keep, ReplayBody, SendOnce, Spare, TryCloned},
    report::{Followed, NotResent},
};

use crate::{
    body_plan::{Body, Plan, caps, data, paused, plans},
    support::{
        Recorder,
        frames::{Beat, Broken, Frames},
        pool,
        sink::{Attempt, Read, Sink},
    },
};

/// The layers around the upstream. Each stack makes three attempts if it can.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Retry,
    Rotation,
    Fused,
}

/// The setup for a strategy.
#[derive(Clone, Debug)]
struct Try {
    plan: Plan,
    shape: Shape,
    reads: [Read; 2],
}

fn tries() -> impl Strategy<Value = Try> {
    let shape = prop_oneof![Just(Shape::Retry), Just(Shape::Rotation), Just(Shape::Fused)];
    let read = || prop_oneof![Just(Read::All), (0..4_usize).prop_map(Read::Frames)];
    let reads = [read(), read()];
    (plans(), shape, reads).prop_map(|(plan, shape, reads)| Try { plan, shape, reads })
}

impl Try {
    /// Sends the body; returns `Ok` if all attempts were made, otherwise why the first was not
    /// repeated.
    async fn send<K, B>(&self, keep: K, body: B) -> (Vec<Attempt>, Result<(), NotResent>)
    where
        K: Keep<B> + Spare<Sink<K::Out>> + Clone,
        K::Out: http_body::Body<Data = Bytes, Error = Broken> + Send + 'static,
    {
        let status = if matches!(self.shape, Shape::Retry) { 503 } else { 401 };
        let sink = Sink::script(self.reads.map(|read| (read, status)));
        let recorder = Recorder::new();
        let dedup = ErrorDedupLayer::new(recorder.clone());
        let accounts = pool(&["a", "b", "c"], &Recorder::new());
        match self.shape {
            Shape::Retry => {
                let layer = RetryLayer::new(RetryPolicy::new()).body_strategy(keep);
                call(dedup.layer(layer.layer(sink.clone())), body).await;
            }
            Shape::Rotation => {
                let layer = TokenRotationLayer::new(accounts).body_strategy(keep);
                call(dedup.layer(layer.layer(sink.clone())), body).await;
            }
            Shape::Fused => {
                let layer = FailoverLayer::builder()
                    .rotation(accounts)
                    .retry(RetryPolicy::new())
                    .reporter(recorder.clone())
                    .body_strategy(keep);
                call(layer.build().unwrap().layer(sink.clone()), body).await;
            }
        }
        let attempts = sink.attempts();
        let sent = match recorder.failures().first() {
            None => Ok(()),
            Some(record) => match record.trail.last().unwrap().followed {
                Followed::NotResent(why) => Err(why),
                other => panic!("it ended with {other}"),
            },
        };
        assert_eq!(attempts.len(), if sent.is_ok() { 3 } else { 1 }, "{sent:?}");
        for attempts in &attempts {
            self.plan.check(&attempts.received);
        }
        (attempts, sent)
    }
}

async fn call<S, B, RB>(service: S, body: B)
where
    S: Service<Request<B>, Response = Response<RB>, Error = BoxError>,
{
    let request = Request::post("https://api.example.com/videos").body(body).unwrap();
    service.oneshot(request).await.unwrap();
}

proptest! {
    #[test]
    fn body_that_is_not_kept_is_sent_once(tried in tries()) {
        paused(async {
            let (_, sent) = tried.send(SendOnce, tried.plan.body()).await;
            assert_eq!(sent, Err(NotResent::SentOnce));
        });
    }

    #[test]
    fn clones_are_sent_as_they_are(tried in tries()) {
        paused(async {
            let plan = &tried.plan;
            let some = TryCloned::new(|body: &Frames| Some(body.clone()));
            let sent = [
                tried.send(Cloned, plan.frames()).await,
                tried.send(InMemory, plan.frames()).await,
                tried.send(some, plan.frames()).await,
                tried.send(some.made_of(Frames::from), plan.frames()).await,
            ];
            for (_, sent) in sent {
                assert_eq!(sent, Ok(()));
            }
            let none = TryCloned::new(|_: &Frames| None);
            assert_eq!(tried.send(none, plan.frames()).await.1, Err(NotResent::Streaming));
        });
    }

    #[test]
    fn body_that_fits_is_kept_and_a_larger_one_is_sent_once_whole(
        tried in tries(), cap in caps(),
    ) {
        paused(async {
            let plan = &tried.plan;
            let map = BufferedAs::new(cap, |body: ReplayBody<Body>| Box::pin(body));
            for mapped in [false, true] {
                let at = Instant::now();
                let (attempts, sent) = if mapped {
                    tried.send(map, plan.body()).await
                } else {
                    tried.send(Buffered::up_to(cap), plan.body()).await
                };
                assert_eq!(sent, plan.kept(cap));
                // Only a body of known length that fits is awaited.
                let awaited = plan.known && plan.length() <= cap as u64;
                let time = if awaited { plan.time() } else { std::time::Duration::ZERO };
                assert_eq!(attempts[0].at - at, time);
            }
        });
    }

    #[test]
    fn buffering_layers_apply_their_own_limits(
        plan in plans(), outer in caps(), inner in caps(), reads in [0..5_usize, 0..5_usize],
    ) {
        paused(async {
            let read = |nth: usize| if nth == 4 { Read::All } else { Read::Frames(nth) };
            let sink = Sink::<ReplayBody<ReplayBody<Body>>>::script([
                (read(reads[0]), 401), (read(reads[1]), 503),
            ]);
            let recorder = Recorder::new();
            let retry = RetryLayer::new(RetryPolicy::new()).buffered(outer);
            let accounts = pool(&["a", "b"], &Recorder::new());
            let rotation = TokenRotationLayer::new(accounts).buffered(inner);
            let dedup = ErrorDedupLayer::new(recorder.clone());
            call(dedup.layer(retry.layer(rotation.layer(sink.clone()))), plan.body()).await;
            // The inner layer sees the body that the outer layer kept in memory.
            let outer = plan.kept(outer);
            let inner = match outer {
                Ok(()) if plan.length() <= inner as u64 => Ok(()),
                Ok(()) => Err(NotResent::TooLarge),
                Err(_) => plan.kept(inner),
            };
            let (attempts, why) = match (inner, outer) {
                (Err(why), _) => (1, Some(why)),
                (Ok(()), Err(why)) => (2, Some(why)),
                (Ok(()), Ok(())) => (3, None),
            };
            let received = sink.received();
            assert_eq!(received.len(), attempts);
            for received in &received {
                plan.check(received);
            }
            let last = recorder.failures().first().map(|it| it.trail.last().unwrap().followed);
            assert_eq!(last, why.map(Followed::NotResent));
        });
    }
}

#[test]
fn body_in_memory_is_sent_in_the_same_pieces() {
    paused(async {
        let sink = Sink::script([(Read::All, 503)]);
        let layer = RetryLayer::new(RetryPolicy::new()).buffered(100);
        call(layer.layer(sink.clone()), Full::new(Bytes::from_static(b"hello"))).await;
        let received = sink.received();
        assert_eq!(received.len(), 2);
        for received in received {
            assert_eq!((&received.data[..], received.pieces), (&b"hello"[..], 1));
            received.check_claims();
        }
    });
}

#[test]
fn trailers_are_sent_with_the_body_to_the_next_model() {
    paused(async {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-checksum", "abc".parse().unwrap());
        for known in [true, false] {
            let beats =
                vec![data("{\"model\":"), data("\"m1\"}"), Beat::Trailers(trailers.clone())];
            let plan = Plan { beats, known, missing: 0 };
            let sink = Sink::script([(Read::All, 529)]);
            let chain = ModelChain::list(["m1", "other"]).unwrap();
            let layer = FailoverLayer::builder().models(chain).buffered(100).build().unwrap();
            call(layer.layer(sink.clone()), plan.body()).await;
            let received = sink.received();
            assert_eq!(received.len(), 2);
            plan.check(&received[0]);
            assert_eq!(received[1].data, b"{\"model\":\"other\"}");
            assert_eq!(received[1].trailers.as_ref(), Some(&trailers));
            received[1].check_claims();
        }
    });
}

/// The overhead of each kept piece counts, however small the piece is.
#[test]
fn body_is_kept_in_up_to_sixteen_thousand_pieces() {
    paused(async {
        for (pieces, kept) in [(16 * 1024, Ok(())), (16 * 1024 + 1, Err(NotResent::TooLarge))] {
            for piece in ["", "x"] {
                let plan = Plan { beats: vec![data(piece); pieces], known: false, missing: 0 };
                let tried = Try { plan, shape: Shape::Retry, reads: [Read::All, Read::All] };
                let (_, sent) = tried.send(Buffered::up_to(1 << 20), tried.plan.body()).await;
                assert_eq!(sent, kept, "{pieces} pieces of {piece:?}");
            }
        }
    });
}
