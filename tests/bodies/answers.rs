//! Answer bodies, whose beginning the layers read for classification.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use proptest::prelude::*;
use tokio::time::Instant;
use tower::{Layer, ServiceExt};
use tower_failover::{
    ErrorDedupLayer, FailoverLayer, ModelChain, ModelFallbackLayer, RetryLayer, RetryPolicy,
    TokenRotationLayer,
};

use crate::{
    body_plan::{Plan, data, pause, paused, plans},
    support::{
        Recorder,
        frames::{Beat, Broken, Frames, Player},
        pool, post,
        sink::{Read, Received, receive},
    },
};

/// The layers that read the beginning.
#[derive(Clone, Copy, Debug)]
enum Stack {
    Fused,
    /// This many nested layers.
    Layers(usize),
}

const LIMIT: usize = 40;
const TIME: Duration = Duration::from_secs(2);

type Any = http_body_util::combinators::UnsyncBoxBody<Bytes, Broken>;

fn any<B>(answer: Response<B>) -> Response<Any>
where
    B: HttpBody<Data = Bytes, Error = Broken> + Send + 'static,
{
    answer.map(BodyExt::boxed_unsync)
}

/// Returns the answer of a stack that reads at most [`LIMIT`] bytes of an error and nothing of a
/// success.
async fn answer(stack: Stack, player: Player) -> Response<Any> {
    let accounts = pool(&["a"], &Recorder::new());
    let chain = || ModelChain::list(["m1"]).unwrap();
    let (limit, time) = (LIMIT, TIME);
    let rotation = TokenRotationLayer::new(accounts.clone()).error_body(limit, time);
    let retry = RetryLayer::new(RetryPolicy::new().retries(0)).error_body(limit, time);
    let models = ModelFallbackLayer::new(chain()).error_body(limit, time);
    let dedup = ErrorDedupLayer::new(Recorder::new()).error_body(limit, time);
    match stack {
        Stack::Fused => {
            let layer = FailoverLayer::builder()
                .models(chain())
                .rotation(accounts)
                .retry(RetryPolicy::new().retries(0))
                .reporter(Recorder::new())
                .error_body(limit, time);
            any(layer.build().unwrap().layer(player).oneshot(post()).await.unwrap())
        }
        Stack::Layers(1) => any(rotation.layer(player).oneshot(post()).await.unwrap()),
        Stack::Layers(2) => any(retry.layer(rotation.layer(player)).oneshot(post()).await.unwrap()),
        Stack::Layers(_) => {
            let service = dedup.layer(models.layer(retry.layer(rotation.layer(player))));
            any(service.oneshot(post()).await.unwrap())
        }
    }
}

fn stacks() -> impl Strategy<Value = Stack> {
    prop_oneof![Just(Stack::Fused), (1..4_usize).prop_map(Stack::Layers)]
}

/// Builds an answer with the plan's body as JSON and this status.
fn error(plan: &Plan, status: u16) -> Response<Frames> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(plan.frames())
        .unwrap()
}

proptest! {
    #[test]
    fn answer_body_is_whole_after_a_partial_read(
        plan in plans(),
        status in prop_oneof![Just(200_u16), Just(400), Just(404), Just(429), Just(403), Just(500)],
        stack in stacks(),
        stop in 0..9_usize,
    ) {
        paused(async {
            let player = Player::new([error(&plan, status)]);
            let answer = answer(stack, player.clone()).await;
            assert_eq!((answer.status().as_u16(), player.calls()), (status, 1));
            // The caller may stop reading.
            let read = if stop == 8 { Read::All } else { Read::Frames(stop) };
            plan.check(&receive(answer.into_body(), read).await);
        });
    }
}

async fn receive_answer(stack: Stack, plan: &Plan, status: u16) -> (Duration, Received) {
    let start = Instant::now();
    let answer = answer(stack, Player::new([error(plan, status)])).await;
    let waited = start.elapsed();
    (waited, receive(answer.into_body(), Read::All).await)
}

#[test]
fn error_body_is_awaited_for_the_shortest_time_of_its_layers() {
    paused(async {
        let plan = Plan {
            beats: vec![
                data("{\"error\":"),
                pause(60),
                data("{}}"),
                Beat::Trailers(HeaderMap::new()),
            ],
            known: false,
            missing: 0,
        };
        for status in [400, 404, 429] {
            let (waited, received) = receive_answer(Stack::Fused, &plan, status).await;
            assert_eq!(waited, TIME);
            plan.check(&received);
            let (waited, received) = receive_answer(Stack::Layers(2), &plan, status).await;
            // Each layer waits separately.
            assert!(waited <= 2 * TIME, "{waited:?}");
            plan.check(&received);
        }
    });
}

#[test]
fn error_body_is_read_up_to_the_frame_that_crosses_the_limit() {
    paused(async {
        // The limit is reached before the pause, so later frames are not read.
        let long = "x".repeat(LIMIT - 1);
        for (beats, waits) in [
            (vec![data(&long), data("yz"), pause(1), data("end")], false),
            (vec![data(&long), pause(1), data("end")], true),
            (vec![data(&long.repeat(3)), pause(1), Beat::Error("gone".into())], false),
        ] {
            let plan = Plan { beats, known: true, missing: 5 };
            for stack in [Stack::Fused, Stack::Layers(1), Stack::Layers(3)] {
                let (waited, received) = receive_answer(stack, &plan, 400).await;
                assert_eq!(!waited.is_zero(), waits, "{stack:?}");
                plan.check(&received);
            }
        }
    });
}

#[test]
fn empty_frames_are_not_read_without_end() {
    paused(async {
        let mut beats = vec![Beat::Data(Bytes::new()); 1000];
        beats.extend([pause(1), data("end")]);
        let plan = Plan { beats, known: false, missing: 0 };
        for stack in [Stack::Fused, Stack::Layers(1), Stack::Layers(3)] {
            let (waited, received) = receive_answer(stack, &plan, 429).await;
            assert_eq!(waited, Duration::ZERO, "it was read up to the pause");
            plan.check(&received);
        }
    });
}

#[test]
fn answer_body_reports_length_and_end_once_known() {
    paused(async {
        let builder = FailoverLayer::builder().rotation(pool(&["a"], &Recorder::new()));
        let layer = builder.error_body(LIMIT, TIME).build().unwrap();
        // The body had no known length and was read to its end for classification.
        let plan = Plan { beats: vec![data("{\"error\":"), data("{}}")], known: false, missing: 0 };
        let answer = layer.layer(Player::new([error(&plan, 429)])).oneshot(post()).await.unwrap();
        let mut body = Box::pin(answer.into_body());
        assert!(body.is_upstream() && !body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(plan.length()));
        for left in [3, 0] {
            assert!(body.frame().await.unwrap().unwrap().is_data());
            assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(left), left == 0));
        }
        assert!(body.frame().await.is_none());
        // The account is cooling, so this answer is local.
        let answer = layer.layer(Player::new([])).oneshot(post()).await.unwrap();
        let mut body = Box::pin(answer.into_body());
        assert!(!body.is_upstream() && !body.is_end_stream());
        assert!(body.size_hint().exact().is_some_and(|length| length > 0));
        assert!(body.frame().await.unwrap().unwrap().is_data());
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(0), true));
    });
}

#[test]
fn answer_without_a_body_has_ended_before_it_is_read() {
    paused(async {
        for status in [204, 500] {
            let plan = Plan { beats: vec![], known: true, missing: 0 };
            let layer = FailoverLayer::builder().reporter(Recorder::new()).build().unwrap();
            let player = Player::new([error(&plan, status)]);
            let body = layer.layer(player).oneshot(post()).await.unwrap().into_body();
            assert!(body.is_upstream() && body.is_end_stream(), "{status}");
        }
    });
}
