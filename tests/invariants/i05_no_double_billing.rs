//! I5: a request that the upstream may have processed is not resent unless that is harmless, and
//! the trail records the reason.

use proptest::prelude::*;
use tower_failover::{
    Event,
    classify::Delivery,
    report::{Followed, NotResent},
};

use super::{
    runner::played,
    stack::{Layer, Promises, stack},
    world::world,
};

proptest! {
    #[test]
    fn i05_no_double_billing(world in world(), stack in stack()) {
        let promises = Promises(&stack);
        let fused = stack.iter().any(|layer| matches!(layer, Layer::Fused(..)));
        let retries = fused || stack.contains(&Layer::Retry);
        let falls = (fused && world.models.is_some()) || stack.contains(&Layer::Fallback);
        let requests = world.requests();
        let wrong = played(&world, &stack, |runner| {
            let mut wrong = Vec::new();
            for id in runner.ends.keys() {
                let plan = requests[*id as usize - 1];
                let attempts = runner.attempts(*id);
                let billed = |sent: &super::upstream::Sent| {
                    sent.answered() && sent.verdict.delivery() == Delivery::PerhapsDone
                };
                let first = attempts.iter().position(billed);
                let Some(first) = first.filter(|_| !plan.harmless()) else { continue };
                if !promises.foreign() && first + 1 < attempts.len() {
                    wrong.push(format!("request {id} was sent again after attempt {first}"));
                }
                let events = runner.reports(*id);
                let Some(Event::RequestFailed(record)) = events.first() else { continue };
                let followed = record.trail.last().map(|line| line.followed);
                let opted_out = (retries && plan.no_retry) || (falls && plan.no_fallback);
                let declined = (retries || falls) && !opted_out && promises.exactly_once();
                if declined && !promises.foreign()
                    && followed != Some(Followed::NotResent(NotResent::PerhapsDone))
                {
                    wrong.push(format!("request {id}: {followed:?}"));
                }
            }
            wrong
        });
        prop_assert_eq!(wrong, Vec::<String>::new());
    }
}
