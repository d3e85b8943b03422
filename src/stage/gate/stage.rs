//! The stage behind [`AuthShortCircuitLayer`](crate::AuthShortCircuitLayer).

use std::sync::Arc;

use http::{HeaderName, header::AUTHORIZATION, request::Parts};

use super::memory::{Key, Memory, Pass};
use crate::{
    classify::{Cause, Code, Verdict},
    clock::Now,
    pool::{Pool, lease::Admitted, select::Query},
    stage::{Draft, Facts, Ledger, RequestOptions, Stage, Stamp, Success, sealed::Sealed},
};

/// The stage behind [`AuthShortCircuitLayer`](crate::AuthShortCircuitLayer).
#[derive(Clone, Debug)]
pub struct Gate(Knowledge);

/// Where the knowledge of dead credentials comes from.
#[derive(Clone, Debug)]
enum Knowledge {
    /// The pool knows.
    Pool(Pool),
    /// What this gate has seen itself.
    Memory(Arc<Memory>),
}

/// What is kept of one request.
#[derive(Debug, Default)]
pub struct GateState(Admission);

/// What is held while an attempt is in flight.
#[derive(Debug, Default)]
enum Admission {
    /// Nothing.
    #[default]
    Empty,
    /// What the attempt in flight is remembered by.
    Passed(Pass),
    /// The pool's credential that was let pass, which a rotation further out put on.
    Admitted(Admitted),
}

impl Gate {
    /// A gate that asks this pool.
    pub(crate) const fn with_pool(pool: Pool) -> Self {
        Self(Knowledge::Pool(pool))
    }

    /// A gate without a pool; `any` covers credentials that no rotation put on the request.
    pub(crate) fn without_pool(any: bool, names: Vec<HeaderName>, capacity: usize) -> Self {
        Self(Knowledge::Memory(Arc::new(Memory::new(any, names, capacity))))
    }

    fn check_pool(pool: &Pool, st: &mut GateState, draft: &mut Draft<'_, '_>) -> Result<(), Cause> {
        if draft.verified {
            return Ok(());
        }
        match draft.stamp() {
            Some(stamp) if stamp.pool == pool.id() => {
                // What was refused for this request stays so for it, whatever became of it since.
                let (account, generation) = (stamp.account, stamp.generation);
                let refused = |ledger: &Ledger| ledger.is_rejected(stamp.pool, account, generation);
                if draft.ledger.is_some_and(refused) {
                    return Err(Cause::local(Code::CredentialInvalid));
                }
                let admitted = pool.admit(account, generation, stamp.probe);
                st.0 = Admission::Admitted(admitted.map_err(Cause::local)?);
                Ok(())
            }
            // What the caller put on is the caller's business.
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
            // It came back this very moment; the answer was promised when readiness was.
            Ok(_) => Cause::local(Code::CredentialInvalid),
        }
    }
}

impl Sealed for Gate {}

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
                st.0 = Admission::Empty;
                // This driver's own pool knows better, and hears of it when a person revives one.
                if !draft.verified {
                    let pass = memory.admit(draft.head, draft.stamp().is_some(), draft.now)?;
                    st.0 = pass.map_or(Admission::Empty, Admission::Passed);
                }
                Ok(())
            }
        }
    }

    #[inline]
    fn note_success(&self, st: &mut GateState, _: &Success<'_>) {
        match (&self.0, std::mem::take(&mut st.0)) {
            (Knowledge::Memory(memory), Admission::Passed(pass)) => memory.forget(pass),
            (_, Admission::Admitted(admitted)) => admitted.succeeded_as_probe(),
            _ => {}
        }
    }

    fn note_failure(&self, st: &mut GateState, facts: &mut Facts<'_>) {
        let held = std::mem::take(&mut st.0);
        if facts.local {
            return;
        }
        match (&self.0, held, facts.verdict) {
            (Knowledge::Memory(memory), Admission::Passed(pass), verdict) => match verdict {
                Verdict::Unauthorized(reason) => memory.note_rejected(pass, reason, facts.now),
                Verdict::Transient { .. } | Verdict::Rejected => {}
                _ => memory.forget(pass),
            },
            // What sends again between the rotation and this gate must not have to be told.
            (
                Knowledge::Pool(pool),
                Admission::Admitted(admitted),
                Verdict::Unauthorized(reason),
            ) if !facts.charged => {
                let (account, generation) = admitted.key();
                admitted.rejected(reason, facts.status, facts.now);
                if let Some(ledger) = facts.ledger {
                    ledger.note_rejected(pool.id(), account, generation);
                }
            }
            (Knowledge::Pool(_), Admission::Admitted(admitted), verdict) => match verdict {
                Verdict::Unauthorized(_) | Verdict::Transient { .. } | Verdict::Rejected => {}
                // It was let in, and refused for something else.
                _ => admitted.failed_as_probe(),
            },
            _ => {}
        }
    }
}

/// The credential headers that a gate looks for when it is not told others.
pub(crate) fn default_credential_headers() -> Vec<HeaderName> {
    vec![
        AUTHORIZATION,
        HeaderName::from_static("x-api-key"),
        HeaderName::from_static("api-key"),
        HeaderName::from_static("x-goog-api-key"),
    ]
}

impl Memory {
    /// Whether this attempt may go out, and what it is remembered by.
    fn admit(
        self: &Arc<Self>,
        head: &Parts,
        stamped: bool,
        now: &mut Now,
    ) -> Result<Option<Pass>, Cause> {
        if !stamped && !self.any() {
            return Ok(None);
        }
        let Some(key) = Key::of(head, self) else { return Ok(None) };
        self.enter(key, now)
    }
}
