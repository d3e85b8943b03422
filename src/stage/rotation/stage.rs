//! The stage behind [`TokenRotationLayer`](crate::TokenRotationLayer).

use http::{HeaderMap, HeaderName, request::Parts};

use super::select::{is_renewed, select, select_same};
use crate::{
    classify::{Cause, Code},
    pool::{
        OwnCredential, Pool,
        lease::{Admitted, Lease},
        select::Unavailable,
    },
    report::NotResent,
    stage::{
        Ask, Chosen, Draft, Facts, Ledger, Next, RequestOptions, Stage, Stamp, Success,
        sealed::Sealed,
    },
};

static REMAINING_QUOTA: [HeaderName; 2] = [
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-remaining"),
];

/// The stage behind [`TokenRotationLayer`](crate::TokenRotationLayer).
#[derive(Clone, Debug)]
pub struct Rotation {
    pub(crate) pool: Pool,
    pub(crate) max_refusals: usize,
    pub(crate) forbidden: bool,
}

/// What is kept of one request.
#[derive(Debug)]
pub struct RotationState {
    lease: Option<Lease>,
    /// The accounts that have answered since the last stage outside acted. Empty until one failed.
    pub(super) tried: Vec<(u32, u64)>,
    /// The request carries a credential of the caller's own, which is kept.
    own: bool,
    /// The caller's own credential is not welcome.
    own_forbidden: bool,
    /// There was no other account when the request came in: nothing was kept to send again, and
    /// whether another stage kept it must make no difference.
    single_account: bool,
    /// What a rotation further out, over the same pool, has chosen for the first attempt.
    outer_choice: Option<Box<Stamp>>,
}

impl Rotation {
    /// Three refusals a request; a 403 stays where it is.
    pub(crate) const fn new(pool: Pool) -> Self {
        Self { pool, max_refusals: 3, forbidden: false }
    }

    /// The account whose turn it is, where nothing is asked that could make a difference.
    #[inline(always)] // Written where it stays: what was just written is slow to move.
    #[allow(clippy::inline_always)]
    fn select_fast(&self, st: &RotationState, ask: &mut Ask<'_, '_>) -> Option<Lease> {
        let any = st.tried.is_empty() && ask.options.is_none() && ask.at.is_none();
        // What was refused for this request may be whose turn it is.
        let clean = ask.ledger.is_none_or(|ledger| ledger.rejections() == 0);
        if any && clean { self.pool.turn(ask.now) } else { None }
    }

    fn select(&self, st: &RotationState, ask: &mut Ask<'_, '_>) -> Result<Lease, Unavailable> {
        select(&self.pool, st.tried.as_slice(), ask)
    }

    /// What a rotation further out has chosen, when it is over the same pool.
    #[cold]
    fn outer_choice(&self, stamp: &Stamp) -> Option<Box<Stamp>> {
        (stamp.pool == self.pool.id()).then(|| Box::new(stamp.clone()))
    }

    fn admit_outer(&self, stamp: &Stamp, ledger: Option<&Ledger>) -> Option<Admitted> {
        let (account, generation) = (stamp.account, stamp.generation);
        if ledger.is_some_and(|ledger| ledger.is_rejected(stamp.pool, account, generation)) {
            return None;
        }
        self.pool.admit(account, generation, stamp.probe).ok()
    }
}

fn remaining_quota(headers: &HeaderMap) -> Option<u64> {
    if headers.is_empty() {
        return None;
    }
    REMAINING_QUOTA.iter().find_map(|name| headers.get(name)?.to_str().ok()?.trim().parse().ok())
}

impl From<Unavailable> for Cause {
    fn from(none: Unavailable) -> Self {
        let cause = Self::local(none.code).with_retry_after(none.retry_after);
        cause.of_pool(none.can_mint, none.expired_at)
    }
}

impl Sealed for Rotation {}

impl Stage for Rotation {
    type State = RotationState;

    #[inline]
    fn begin(
        &self,
        head: &Parts,
        _: Option<&RequestOptions>,
        stamp: Option<&Stamp>,
    ) -> RotationState {
        // What an outer rotation put on the request is ours to replace, not the caller's own.
        let own = self.pool.own();
        let carried =
            own != OwnCredential::Replace && stamp.is_none() && self.pool.carries_own(head);
        RotationState {
            lease: None,
            tried: Vec::new(),
            own: carried && own == OwnCredential::Keep,
            own_forbidden: carried && own == OwnCredential::Refuse,
            single_account: !self.may_resend(),
            outer_choice: stamp.and_then(|stamp| self.outer_choice(stamp)),
        }
    }

    fn may_resend(&self) -> bool {
        self.pool.may_resend()
    }

    fn is_unavailable(&self) -> bool {
        self.pool.surely_dead()
    }

    #[inline]
    fn reserve(&self, st: &mut RotationState, ask: &mut Ask<'_, '_>) -> Result<(), Cause> {
        if st.own {
            return Ok(());
        }
        if st.own_forbidden {
            return Err(Cause::local(Code::CredentialInvalid));
        }
        // Somebody else's layer sends this request again and again: it may be what is wrong.
        if ask.ledger.is_some_and(|ledger| ledger.rejections() >= self.max_refusals) {
            return Err(Cause::local(Code::CredentialInvalid));
        }
        // What was held for an attempt that is over must not stand in the way of this one.
        st.lease = None;
        // One choice is enough; and when it is the account's one probe, there is no other.
        if let Some(admitted) =
            st.outer_choice.take().and_then(|stamp| self.admit_outer(&stamp, ask.ledger))
        {
            st.lease = Some(admitted.into_lease());
            return Ok(());
        }
        if let Some(lease) = self.select_fast(st, ask) {
            st.lease = Some(lease);
            return Ok(());
        }
        let lease = self.select(st, ask)?;
        // For a later attempt it is enough that somebody will be there: who serves is chosen when
        // it starts, by what is known then.
        st.lease = ask.at.is_none().then_some(lease);
        Ok(())
    }

    #[inline]
    fn prepare(&self, st: &mut RotationState, draft: &mut Draft<'_, '_>) -> Result<(), Cause> {
        if st.own {
            return Ok(());
        }
        let good = |lease: &Lease| lease.still_good() && !lease.has_ended(draft.now);
        let good = st.lease.as_ref().is_some_and(good);
        if !good {
            // It died while this request waited: the pool chooses again.
            st.lease = None;
            st.lease = Some(self.select(st, &mut draft.ask())?);
        }
        let Some(lease) = &mut st.lease else { return Ok(()) };
        lease.apply(draft.head).map_err(Cause::local)?;
        lease.sent();
        if draft.wants_stamp {
            draft.put = Some(Stamp::new(&self.pool, lease));
        }
        draft.verified = true;
        Ok(())
    }

    #[inline]
    fn note_success(&self, st: &mut RotationState, success: &Success<'_>) {
        match &mut st.lease {
            Some(lease) if success.charged => lease.inconclusive(),
            Some(lease) => lease.succeeded(remaining_quota(success.headers)),
            None => {}
        }
    }

    fn note_failure(&self, st: &mut RotationState, facts: &mut Facts<'_>) {
        let Some(lease) = &mut st.lease else { return };
        if facts.charged || facts.local {
            lease.inconclusive();
        } else {
            self.apply_verdict(lease, facts);
        }
        st.tried.push((lease.uid(), lease.generation()));
    }

    fn awaits_refresh(&self, st: &RotationState, facts: &mut Facts<'_>) -> bool {
        let Some(lease) = &st.lease else { return false };
        self.applies_to(facts)
            && !st.single_account
            && facts.ledger.is_some_and(|ledger| ledger.rejections() < self.max_refusals)
            && facts.barred.is_none()
            && !facts.is_past_deadline(std::time::Duration::ZERO)
            && (self.may_replay(lease, facts) && lease.is_under_way()
                || self.others_are_refreshing(st, facts))
    }

    fn next(&self, st: &mut RotationState, facts: &mut Facts<'_>) -> Next {
        let Some(lease) = st.lease.as_ref().filter(|_| self.applies_to(facts)) else {
            return Next::Pass;
        };
        if !facts.local {
            self.cascade(lease, facts);
        }
        if facts.ledger.is_some_and(|l| l.rejections() >= self.max_refusals) {
            return facts.decline(NotResent::Refusals);
        }
        if facts.ledger.is_some_and(Ledger::is_rotation_stopped) {
            return facts.decline(NotResent::NoAccount);
        }
        let replay = st.lease.as_ref().filter(|lease| self.may_replay(lease, facts));
        let same = replay.map(|lease| lease.id().clone());
        // The probe that this attempt may have been is over.
        st.lease = None;
        let mut ask = facts.ask(None);
        let same = same.and_then(|id| select_same(&self.pool, &st.tried, &mut ask, &id));
        let lease = same.map_or_else(|| self.select(st, &mut ask), Ok);
        match lease {
            // Its own account with a new credential: nobody promised to have kept the request.
            Ok(_) if st.single_account => facts.decline(NotResent::NoAccount),
            Ok(lease) => {
                if !facts.may_act() || facts.is_past_deadline(std::time::Duration::ZERO) {
                    return Next::Pass;
                }
                let same = st.tried.last().is_some_and(|(uid, _)| *uid == lease.uid());
                st.lease = Some(lease);
                if same { Next::Replay } else { Next::Again }
            }
            Err(none) => {
                let not_ready =
                    none.code == Code::NotReady && is_renewed(&self.pool, &st.tried, &mut ask);
                facts.available_in = none.retry_after;
                // One that is being asked is not down, while it may be waited for.
                let down = not_ready && (facts.last || !none.is_under_way());
                facts.not_ready = down.then(|| none.into());
                facts.decline(NotResent::NoAccount)
            }
        }
    }

    fn rotates(&self) -> bool {
        true
    }

    #[inline]
    fn chosen<'a>(&'a self, st: &'a RotationState) -> Chosen<'a> {
        Chosen { model: None, pool: (!st.own).then_some(&self.pool), lease: st.lease.as_ref() }
    }

    fn reset(&self, st: &mut RotationState) {
        st.lease = None;
        st.tried.clear();
    }
}
