//! I10: a future dropped at any poll leaves counts, probes and locks consistent.

use proptest::prelude::*;
use tower_failover::pool::State;

use super::{
    i08_cooldowns_only_grow::all_recover,
    runner::{Ended, Runner, paused},
    stack::{of_one_pool, rotating},
    world::world,
};

proptest! {
    #[test]
    fn i10_cancel_safe(mut world in world(), stack in rotating(), victim in 0..8_usize) {
        let stack = of_one_pool(stack);
        world.rounds.truncate(2);
        let victims: usize = world.rounds.iter().map(|round| round.requests.len()).sum();
        for polls in 0..16 {
            let mut requests = world.rounds.iter_mut().flat_map(|round| &mut round.requests);
            requests.nth(victim % victims).unwrap().polls = Some(polls);
            let (ended, wrong) = paused(async {
                let mut runner = Runner::new(&world, &stack);
                runner.play().await;
                let ended = runner.ends.values().nth(victim % victims).cloned();
                for account in runner.pools[0].view().accounts {
                    if account.in_flight != 0 || account.state == State::Probing {
                        return (ended, Err(format!("after {polls} polls: {account:?}")));
                    }
                }
                (ended, all_recover(&mut runner).await)
            });
            prop_assert_eq!(wrong, Ok(()));
            if ended.is_some_and(|ended| ended != Ended::Dropped) {
                break;
            }
        }
    }
}
