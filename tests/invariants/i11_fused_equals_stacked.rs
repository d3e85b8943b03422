//! I11: `FailoverLayer` and the separate layers in the documented order show the same attempts,
//! reports and answers for the same upstream.

use proptest::prelude::*;

use super::{
    request_body::Shape,
    runner::{Runner, paused, timeless},
    stack::{FUSED, Layer, STACKED},
    world::{BodyStrategy, World, patient},
};

/// Everything visible from outside.
#[derive(Debug, PartialEq)]
struct Seen {
    attempts: Vec<String>,
    ends: Vec<String>,
    events: Vec<String>,
    view: String,
}

fn seen(world: &World, layers: &[Layer]) -> Seen {
    paused(async {
        let mut runner = Runner::new(world, layers);
        let start = tokio::time::Instant::now();
        runner.play().await;
        let attempts = runner.upstream.log().into_iter().map(|sent| {
            let mut headers: Vec<_> = sent
                .headers
                .iter()
                .map(|(name, value)| {
                    format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))
                })
                .collect();
            headers.sort();
            format!(
                "{:?} {} {:?} {} {} {headers:?} {:?} {:?} {:?}",
                sent.at - start,
                sent.id,
                sent.credential,
                sent.method,
                sent.uri,
                sent.body,
                sent.trailers,
                sent.mark
            )
        });
        Seen {
            attempts: attempts.collect(),
            ends: runner.ends.iter().map(|end| timeless(&end)).collect(),
            events: runner.recorder.events().iter().map(timeless).collect(),
            view: format!("{:?}", runner.pools[0].view()),
        }
    })
}

proptest! {
    #[test]
    fn i11_fused_equals_stacked(mut world in patient()) {
        world.plan.body_strategies = [world.plan.body_strategies[0]; 3];
        for request in world.rounds.iter_mut().flat_map(|round| &mut round.requests) {
            // The fused layer notices a dead pool before it awaits a body, the separate layers
            // after it.
            request.shape.pause &= !request.shape.known;
            // A fallback whose body cannot be rewritten has reserved an account in the fused layer
            // and none in the separate layers, so the next account differs.
            let written = request.named.is_some()
                && request.shape == Shape::PLAIN
                && !request.grpc
                && world.plan.body_strategies[0] != BodyStrategy::Cloned;
            request.model = request.model.filter(|_| written);
            request.named = request.named.filter(|_| written);
        }
        let mut layers = STACKED.to_vec();
        layers.retain(|layer| *layer != Layer::Fallback || world.models.is_some());
        let (fused, stacked) = (seen(&world, FUSED), seen(&world, &layers));
        prop_assert_eq!(&fused.attempts, &stacked.attempts);
        prop_assert_eq!(&fused.ends, &stacked.ends);
        prop_assert_eq!(&fused.events, &stacked.events);
        prop_assert_eq!(&fused.view, &stacked.view);
    }
}
