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
pub struct Gate(Knows);

/// Where the knowledge of dead credentials comes from.
#[derive(Clone, Debug)]
enum Knows {
    /// The pool knows.
    Pool(Pool),
    /// What this gate has seen itself.
    Seen(Arc<Memory>),
}

/// What is kept of one request.
#[derive(Debug, Default)]
pub struct GateState(Held);

/// What is held while an attempt is in flight.
#[derive(Debug, Default)]
enum Held {
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
    pub(crate) const fn pool(pool: Pool) -> Self {
        Self(Knows::Pool(pool))
    }

    /// A gate without a pool; `any` covers credentials that no rotation put on the request.
    pub(crate) fn seen(any: bool, names: Vec<HeaderName>, capacity: usize) -> Self {
        Self(Knows::Seen(Arc::new(Memory::new(any, names, capacity))))
    }

    fn ask_pool(pool: &Pool, st: &mut GateState, draft: &mut Draft<'_, '_>) -> Result<(), Cause> {
        if draft.verified {
            return Ok(());
        }
        match draft.stamp() {
            Some(stamp) if stamp.pool == pool.id() => {
                // What was refused for this request stays so for it, whatever became of it since.
                let (account, generation) = (stamp.account, stamp.generation);
                let refused = |ledger: &Ledger| ledger.is_refused(stamp.pool, account, generation);
                if draft.ledger.is_some_and(refused) {
                    return Err(Cause::local(Code::CredentialInvalid));
                }
                let admitted = pool.admit(account, generation, stamp.probe);
                st.0 = Held::Admitted(admitted.map_err(Cause::local)?);
                Ok(())
            }
            // What the caller put on is the caller's business.
            None if pool.surely_dead() && !pool.carries_own(draft.head) => {
                Err(Self::why(pool, draft.now))
            }
            _ => Ok(()),
        }
    }

    fn why(pool: &Pool, now: &mut Now) -> Cause {
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
            Knows::Pool(pool) => Self::ask_pool(pool, st, draft),
            Knows::Seen(memory) => {
                // Two attempts of one request never hold a probe at once.
                st.0 = Held::Empty;
                // This driver's own pool knows better, and hears of it when a person revives one.
                if !draft.verified {
                    let pass = memory.admit(draft.head, draft.stamp().is_some(), draft.now)?;
                    st.0 = pass.map_or(Held::Empty, Held::Passed);
                }
                Ok(())
            }
        }
    }

    #[inline]
    fn succeed(&self, st: &mut GateState, _: &Success<'_>) {
        match (&self.0, std::mem::take(&mut st.0)) {
            (Knows::Seen(memory), Held::Passed(pass)) => memory.healed(pass),
            (_, Held::Admitted(admitted)) => admitted.succeeded_as_probe(),
            _ => {}
        }
    }

    fn learn(&self, st: &mut GateState, facts: &mut Facts<'_>) {
        let held = std::mem::take(&mut st.0);
        if facts.local {
            return;
        }
        match (&self.0, held, facts.verdict) {
            (Knows::Seen(memory), Held::Passed(pass), verdict) => match verdict {
                Verdict::Unauthorized(reason) => memory.refused(pass, reason, facts.now),
                Verdict::Transient { .. } | Verdict::Rejected => {}
                _ => memory.healed(pass),
            },
            // What sends again between the rotation and this gate must not have to be told.
            (Knows::Pool(pool), Held::Admitted(admitted), Verdict::Unauthorized(reason))
                if !facts.charged =>
            {
                let (account, generation) = admitted.key();
                admitted.rejected(reason, facts.status, facts.now);
                if let Some(ledger) = facts.ledger {
                    ledger.refuse(pool.id(), account, generation);
                }
            }
            (Knows::Pool(_), Held::Admitted(admitted), verdict) => match verdict {
                Verdict::Unauthorized(_) | Verdict::Transient { .. } | Verdict::Rejected => {}
                // It was let in, and refused for something else.
                _ => admitted.failed_as_probe(),
            },
            _ => {}
        }
    }
}

/// The credential headers that a gate looks for when it is not told others.
pub(crate) fn usual_names() -> Vec<HeaderName> {
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
