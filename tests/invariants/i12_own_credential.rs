//! I12: the caller's own credential is kept, replaced or refused, as configured; its failure never
//! changes the pool.

use http::StatusCode;
use proptest::prelude::*;
use tower_failover::{
    Code,
    pool::{Counts, OwnCredential, State},
};

use super::{
    runner::{Ended, Runner, paused},
    stack::{Layer, of_one_pool, rotating},
    world::{CredentialPlace, world},
};

proptest! {
    #[test]
    fn i12_own_credential(mut world in world(), stack in rotating()) {
        let stack = of_one_pool(stack);
        for round in &mut world.rounds {
            round.changes.clear();
            round.requests.iter_mut().for_each(|request| request.own = true);
        }
        let seen = stack.contains(&Layer::GateWithoutPool);
        let own = world.plan.own;
        paused(async {
            let mut runner = Runner::new(&world, &stack);
            let before = runner.pools[0].view();
            runner.play().await;
            for sent in runner.upstream.log() {
                let mine = format!("Bearer own-{}", sent.id % 2);
                let kept = sent.headers.get("authorization").is_some_and(|v| v == mine.as_str());
                prop_assert_eq!(kept, own == OwnCredential::Keep, "{:?}", &sent);
                prop_assert_eq!(sent.credential.is_none(), own == OwnCredential::Keep);
                let apart = sent.credential.is_some_and(|credential| {
                    matches!(world.pools[0][credential.account].place, CredentialPlace::Header | CredentialPlace::Query)
                });
                prop_assert_eq!(sent.headers.contains_key("authorization"), !apart);
            }
            if own == OwnCredential::Replace {
                return Ok(());
            }
            if world.tokens_change() {
                // Tokens expire, and the availability check calls due sources; but no account is
                // blamed.
                for account in runner.pools[0].view().accounts {
                    prop_assert_eq!(account.counts, Counts::default());
                    prop_assert!(!matches!(account.state, State::Quarantined | State::Probing));
                }
                prop_assert_eq!(super::i02_exactly_once::incidents(&runner.recorder.events()).len(), 0);
            } else {
                prop_assert_eq!(runner.pools[0].view(), before);
                prop_assert_eq!(runner.recorder.incidents().len(), 0);
            }
            for record in runner.recorder.failures() {
                prop_assert!(record.trail.iter().all(|line| line.account.is_none()));
                prop_assert!(record.trail.iter().all(|line| line.credential));
            }
            for ended in runner.ends.values() {
                let Ended::Answer { cause, status, .. } = ended else { continue };
                if own == OwnCredential::Refuse {
                    prop_assert_eq!(cause.map(|cause| cause.code), Some(Code::CredentialInvalid));
                    prop_assert!([StatusCode::UNAUTHORIZED, StatusCode::OK].contains(status));
                } else if !seen {
                    // Without a gate for it, a failure of the caller's credential has no cause.
                    prop_assert_eq!(*cause, None);
                }
            }
            Ok(())
        })?;
    }
}
