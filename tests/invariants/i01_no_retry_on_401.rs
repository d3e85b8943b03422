//! I1: after a 401 to a generation, no layer sends another attempt with it for that request, and
//! while it is quarantined no request starts an attempt with it, except the probe.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    oracle,
    runner::{Runner, played},
    stack::{Promises, rotating},
    upstream::{End, Sent},
    world::{CredentialPlace, world},
};

/// Returns attempts with a credential that had been rejected for the same request.
fn repeated(runner: &Runner<'_>, promises: &Promises<'_>) -> Vec<String> {
    let mut requests: BTreeMap<(u32, u32), Vec<Sent>> = BTreeMap::new();
    for sent in runner.upstream.log() {
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
            let covered = match first.credential {
                Some(credential) => {
                    let plan = runner.world.pools[credential.pool][credential.account];
                    promises.no_retry_on_401(plan.place != CredentialPlace::Query)
                }
                None => first.own && promises.covers_own(),
            };
            let again = |later: &&Sent| {
                later.seq > seq && (later.credential, later.own) == (first.credential, first.own)
            };
            if let Some(later) = attempts[i..].iter().find(again).filter(|_| covered) {
                wrong.push(format!("attempt {} was rejected, and is {} again", first.n, later.n));
            }
        }
    }
    wrong
}

proptest! {
    #[test]
    fn i01_no_retry_on_401(world in world(), stack in rotating()) {
        let promises = Promises(&stack);
        let (repeated, started, calls) = played(&world, &stack, |runner| {
            let log = runner.upstream.log();
            let calls = runner.policy.calls.lock().unwrap().clone();
            let calls: Vec<_> = calls.into_iter().filter(|n| log[*n].step.rejects()).collect();
            (repeated(runner, &promises), oracle::check_log(&runner.upstream, promises.foreign()).wrong, calls)
        });
        prop_assert_eq!(repeated, Vec::<String>::new());
        if promises.no_start_in_quarantine() {
            prop_assert_eq!(started, Vec::<String>::new());
        }
        prop_assert_eq!(calls, Vec::<usize>::new(), "the policy was called for rejections");
    }
}
