//! I1: after a 401 to a generation, no attempt with it is sent for that request, by any layer, and
//! none is started for any request while it is quarantined, except the probe.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    oracle,
    run::{Stage, played},
    stack::{Promises, rotating},
    upstream::{End, Sent},
    world::{Place, world},
};

/// Returns attempts with a credential that was rejected before for the same request.
fn repeated(stage: &Stage<'_>, promises: &Promises<'_>) -> Vec<String> {
    let mut requests: BTreeMap<(u32, u32), Vec<Sent>> = BTreeMap::new();
    for sent in stage.double.log() {
        let tries = if promises.tries_are_requests() { sent.foreign } else { 0 };
        requests.entry((sent.id, tries)).or_default().push(sent);
    }
    let mut wrong = Vec::new();
    for attempts in requests.values() {
        for (i, first) in attempts.iter().enumerate() {
            let End::Answered { seq, .. } = first.end else { continue };
            if !first.verdict.is_unauthorized() {
                continue;
            }
            let covered = match first.who {
                Some(who) => {
                    let plan = stage.world.pools[who.pool][who.account];
                    promises.no_retry_on_401(plan.place != Place::Query)
                }
                None => first.own && promises.covers_own(),
            };
            let again =
                |later: &&Sent| later.seq > seq && (later.who, later.own) == (first.who, first.own);
            if let Some(later) = attempts[i..].iter().find(again).filter(|_| covered) {
                wrong.push(format!("attempt {} was refused, and is {} again", first.n, later.n));
            }
        }
    }
    wrong
}

proptest! {
    #[test]
    fn i01_no_retry_on_401(world in world(), stack in rotating()) {
        let promises = Promises(&stack);
        let (repeated, started, asked) = played(&world, &stack, |stage| {
            let log = stage.double.log();
            let asked = stage.hostile.asked.lock().unwrap().clone();
            let asked: Vec<_> = asked.into_iter().filter(|n| log[*n].step.refuses()).collect();
            (repeated(stage, &promises), oracle::walk(&stage.double, promises.foreign()).wrong, asked)
        });
        prop_assert_eq!(repeated, Vec::<String>::new());
        if promises.no_start_in_quarantine() {
            prop_assert_eq!(started, Vec::<String>::new());
        }
        prop_assert_eq!(asked, Vec::<usize>::new(), "the policy was asked about refusals");
    }
}
