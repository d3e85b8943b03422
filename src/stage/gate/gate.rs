//! Whether a credential is known to be dead, by the pool or by the memory of a gate without one.

use std::sync::Arc;

use http::{HeaderName, header::AUTHORIZATION, request::Parts};

use super::memory::{Memory, Pass};
use crate::{
    classify::{Cause, Code, Verdict},
    clock::Now,
    pool::{Pool, lease::Admitted, select::Query},
    stage::{Draft, Facts, Ledger, RequestOptions, Stage, Stamp, Success},
};

/// The stage that keeps credentials from being sent that are known to be rejected.
#[derive(Clone, Debug)]
pub struct Gate(Knowledge);

/// The source of knowledge about rejected credentials.
#[derive(Clone, Debug)]
enum Knowledge {
    /// The states of the pool.
    Pool(Pool),
    /// The answers that this gate has seen.
    Memory(Arc<Memory>),
}

/// The gate's state of one request.
#[derive(Debug, Default)]
pub(crate) struct GateState(Admission);

/// The admission of the attempt in flight.
#[derive(Debug, Default)]
enum Admission {
    #[default]
    None,
    /// A credential that the memory knows by its hash.
    Remembered(Pass),
    /// A credential of the pool, which a rotation further out put on the request.
    Pooled(Admitted),
}

impl Gate {
    /// Builds a gate over a pool.
    pub(crate) const fn with_pool(pool: Pool) -> Self {
        Self(Knowledge::Pool(pool))
    }

    /// Builds a gate without a pool. `any` includes credentials that no rotation put on the request.
    pub(crate) fn without_pool(any: bool, names: Vec<HeaderName>, capacity: usize) -> Self {
        Self(Knowledge::Memory(Arc::new(Memory::new(any, names, capacity))))
    }

    fn check_pool(pool: &Pool, st: &mut GateState, draft: &mut Draft<'_, '_>) -> Result<(), Cause> {
        if draft.verified {
            return Ok(());
        }
        match draft.stamp() {
            Some(stamp) if stamp.pool == pool.id() => {
                // A credential that was rejected for this request stays rejected for it, even if it
                // was revived since.
                let (account, generation) = (stamp.account, stamp.generation);
                let rejected =
                    |ledger: &Ledger| ledger.is_rejected(stamp.pool, account, generation);
                if draft.ledger.is_some_and(rejected) {
                    return Err(Cause::local(Code::CredentialInvalid));
                }
                let admitted = pool.admit(account, generation, stamp.probe);
                st.0 = Admission::Pooled(admitted.map_err(Cause::local)?);
                Ok(())
            }
            // A credential of the caller's own is not checked.
            None if pool.surely_dead() && !pool.carries_own(draft.head) => {
                Err(Self::unavailable_cause(pool, draft.now))
            }
            _ => Ok(()),
        }
    }

    fn unavailable_cause(pool: &Pool, now: &mut Now) -> Cause {
        let query = Query { probes: false, ..Query::ANY };
        match pool.pick(&query, now) {
            Err(none) => none.into(),
            // An account became usable just now, but this driver is ready without a service.
            Ok(_) => Cause::local(Code::CredentialInvalid),
        }
    }
}

impl Stage for Gate {
    type State = GateState;

    #[inline]
    fn begin(&self, _: &Parts, _: Option<&RequestOptions>, _: Option<&Stamp>) -> GateState {
        GateState::default()
    }

    #[inline]
    fn prepare(&self, st: &mut GateState, draft: &mut Draft<'_, '_>) -> Result<(), Cause> {
        match &self.0 {
            Knowledge::Pool(pool) => Self::check_pool(pool, st, draft),
            Knowledge::Memory(memory) => {
                // Two attempts of one request never hold a probe at once.
                st.0 = Admission::None;
                // The driver's own pool has checked the credential, and knows of revived ones.
                if !draft.verified {
                    let pass = memory.admit(draft.head, draft.stamp().is_some(), draft.now)?;
                    st.0 = pass.map_or(Admission::None, Admission::Remembered);
                }
                Ok(())
            }
        }
    }

    #[inline]
    fn note_success(&self, st: &mut GateState, _: &Success<'_>) {
        match (&self.0, std::mem::take(&mut st.0)) {
            (Knowledge::Memory(memory), Admission::Remembered(pass)) => memory.forget(pass),
            // A probe has healed the account, also if an outer stage never reports the success.
            (Knowledge::Pool(pool), Admission::Pooled(admitted)) if admitted.is_probe() => {
                pool.succeeded(&mut pool.lease(admitted), None);
            }
            _ => {}
        }
    }

    fn note_failure(&self, st: &mut GateState, facts: &mut Facts<'_>) {
        let held = std::mem::take(&mut st.0);
        if facts.local {
            return;
        }
        match (&self.0, held, facts.verdict) {
            (Knowledge::Memory(memory), Admission::Remembered(pass), verdict) => match verdict {
                Verdict::Unauthorized(reason) => memory.note_rejected(pass, reason, facts.now),
                Verdict::Transient { .. } | Verdict::Rejected => {}
                _ => memory.forget(pass),
            },
            // The account is quarantined here, so that a layer between the rotation and this gate
            // cannot send its credential again.
            (Knowledge::Pool(pool), Admission::Pooled(admitted), Verdict::Unauthorized(reason))
                if !facts.charged =>
            {
                let (account, generation) = admitted.key();
                // The outer stage may note it as well: one of them takes the account out.
                pool.rejected(&mut pool.lease(admitted), reason, facts.status, facts.now);
                if let Some(ledger) = facts.ledger {
                    ledger.note_rejected(pool.id(), account, generation);
                }
            }
            (Knowledge::Pool(pool), Admission::Pooled(admitted), verdict) => match verdict {
                Verdict::Unauthorized(_) | Verdict::Transient { .. } | Verdict::Rejected => {}
                // The credential was accepted, and the request failed for another reason.
                _ if admitted.is_probe() => pool.healthy_failure(&mut pool.lease(admitted)),
                _ => {}
            },
            _ => {}
        }
    }
}

/// Returns the headers in which a gate looks for credentials by default.
pub(crate) fn default_credential_headers() -> Vec<HeaderName> {
    vec![
        AUTHORIZATION,
        HeaderName::from_static("x-api-key"),
        HeaderName::from_static("api-key"),
        HeaderName::from_static("x-goog-api-key"),
    ]
}
