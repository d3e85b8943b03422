//! Whether another account is tried, or the same one with a new credential.

use std::time::Duration;

use http::{HeaderMap, HeaderName, request::Parts};

use super::{
    select::{is_renewed, select, select_same},
    verdict::{apply_verdict, cascade, may_help, may_replay, others_are_refreshing},
};
use crate::{
    classify::{Cause, Code},
    pool::{
        OwnCredential, Pool,
        lease::{Admitted, Lease},
        select::Unavailable,
    },
    report::NotResent,
    stage::{Ask, Chosen, Draft, Facts, Ledger, Next, RequestOptions, Stage, Stamp, Success},
};

static REMAINING_QUOTA: [HeaderName; 2] = [
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-remaining"),
];

/// The stage that puts a credential of the pool on each attempt, and rotates to the next account.
#[derive(Clone, Debug)]
pub struct Rotation {
    pub(crate) pool: Pool,
    pub(crate) max_refusals: usize,
    pub(crate) forbidden: bool,
}

/// The rotation's state of one request.
#[derive(Debug)]
pub(crate) struct RotationState {
    lease: Option<Lease>,
    /// The accounts and generations that have failed since a stage further out acted.
    tried: Vec<(u32, u64)>,
    /// The caller put a credential on the request, and it is kept.
    own: bool,
    /// The caller put a credential on the request, which the pool's settings refuse.
    own_forbidden: bool,
    /// The pool had no other account and no source when the request came in, so this stage kept
    /// nothing to send again. Copies that other stages kept must make no difference.
    single_account: bool,
    /// The account that a rotation further out, over the same pool, has chosen for the first attempt.
    outer_choice: Option<Box<Stamp>>,
}

impl Rotation {
    /// Builds a stage that allows three rejections a request, and does not rotate on a 403.
    pub(crate) const fn new(pool: Pool) -> Self {
        Self { pool, max_refusals: 3, forbidden: false }
    }

    /// Selects the next account in turn, for a request without options or failures.
    #[inline(always)] // The lease is written in place: moving it right after the write is slow.
    #[allow(clippy::inline_always)]
    fn select_fast(&self, st: &RotationState, ask: &mut Ask<'_, '_>) -> Option<Lease> {
        let any = st.tried.is_empty() && ask.options.is_none() && ask.at.is_none();
        // The next account in turn may be one that was rejected for this request.
        let clean = ask.ledger.is_none_or(|ledger| ledger.rejections() == 0);
        if any && clean { self.pool.turn(ask.now) } else { None }
    }

    fn select(&self, st: &RotationState, ask: &mut Ask<'_, '_>) -> Result<Lease, Unavailable> {
        select(&self.pool, st.tried.as_slice(), ask)
    }

    /// Returns the choice of a rotation further out, if it is over the same pool.
    #[cold]
    fn outer_choice(&self, stamp: &Stamp) -> Option<Box<Stamp>> {
        (stamp.pool == self.pool.id()).then(|| Box::new(stamp.clone()))
    }

    /// Checks that the credential of a rotation further out may still be sent.
    fn admit_outer(&self, stamp: &Stamp, ledger: Option<&Ledger>) -> Option<Admitted> {
        let (account, generation) = (stamp.account, stamp.generation);
        if ledger.is_some_and(|ledger| ledger.is_rejected(stamp.pool, account, generation)) {
            return None;
        }
        self.pool.admit(account, generation, stamp.probe).ok()
    }
}

impl Rotation {
    /// Sends again with the account that was selected, if another attempt is possible.
    fn go_on(st: &mut RotationState, facts: &mut Facts<'_>, lease: Lease) -> Next {
        // The same account with a new credential: no stage was required to keep the request.
        if st.single_account {
            return facts.decline(NotResent::NoAccount);
        }
        if !facts.may_act() || facts.is_past_deadline(Duration::ZERO) {
            return Next::Pass;
        }
        let same = st.tried.last().is_some_and(|(uid, _)| *uid == lease.uid());
        st.lease = Some(lease);
        if same { Next::Replay } else { Next::Rotate }
    }

    /// Declines because no account can serve, and sets when or why.
    fn give_up(&self, st: &RotationState, facts: &mut Facts<'_>, none: Unavailable) -> Next {
        let mut ask = facts.ask(None);
        let not_ready = none.code == Code::NotReady && is_renewed(&self.pool, &st.tried, &mut ask);
        facts.available_in = none.retry_after;
        // A source that is being called has not failed, as long as the request may wait for it.
        let failed = not_ready && (facts.last || !none.is_under_way());
        facts.not_ready = failed.then(|| none.into());
        facts.decline(NotResent::NoAccount)
    }
}

/// Returns the number of requests that the upstream says are left, if it says so.
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

impl Stage for Rotation {
    type State = RotationState;

    #[inline]
    fn begin(
        &self,
        head: &Parts,
        _: Option<&RequestOptions>,
        stamp: Option<&Stamp>,
    ) -> RotationState {
        // A credential that a rotation further out put on the request is not the caller's own.
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
        // A foreign layer may send this request over and over: the limit holds across its attempts.
        if ask.ledger.is_some_and(|ledger| ledger.rejections() >= self.max_refusals) {
            return Err(Cause::local(Code::CredentialInvalid));
        }
        // The lease of an attempt that is over must not block this one.
        st.lease = None;
        // The outer choice may be the account's only probe, so no second one is made.
        if let Some(admitted) =
            st.outer_choice.take().and_then(|stamp| self.admit_outer(&stamp, ask.ledger))
        {
            st.lease = Some(self.pool.lease(admitted));
            return Ok(());
        }
        if let Some(lease) = self.select_fast(st, ask) {
            st.lease = Some(lease);
            return Ok(());
        }
        let lease = self.select(st, ask)?;
        // A later attempt only needs to know that an account will be there. The account is selected
        // when the attempt starts.
        st.lease = ask.at.is_none().then_some(lease);
        Ok(())
    }

    #[inline]
    fn prepare(&self, st: &mut RotationState, draft: &mut Draft<'_, '_>) -> Result<(), Cause> {
        if st.own {
            return Ok(());
        }
        let good = |lease: &Lease| lease.still_good() && !self.pool.has_ended(lease, draft.now);
        let good = st.lease.as_ref().is_some_and(good);
        if !good {
            // The credential was rejected or expired while the request waited: select again.
            st.lease = None;
            st.lease = Some(self.select(st, &mut draft.ask())?);
        }
        let Some(lease) = &mut st.lease else { return Ok(()) };
        self.pool.apply(lease, draft.head).map_err(Cause::local)?;
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
            Some(lease) => self.pool.succeeded(lease, remaining_quota(success.headers)),
            None => {}
        }
    }

    fn note_failure(&self, st: &mut RotationState, facts: &mut Facts<'_>) {
        let Some(lease) = &mut st.lease else { return };
        if facts.charged || facts.local {
            lease.inconclusive();
        } else {
            apply_verdict(&self.pool, lease, facts);
        }
        st.tried.push((lease.uid(), lease.generation()));
    }

    fn awaits_refresh(&self, st: &RotationState, facts: &mut Facts<'_>) -> bool {
        let Some(lease) = &st.lease else { return false };
        may_help(self.forbidden, facts)
            && !st.single_account
            && facts.ledger.is_some_and(|ledger| ledger.rejections() < self.max_refusals)
            && facts.barred.is_none()
            && !facts.is_past_deadline(Duration::ZERO)
            && (may_replay(&self.pool, lease, facts) && self.pool.is_renewing_account(lease)
                || others_are_refreshing(&self.pool, &st.tried, facts))
    }

    fn next(&self, st: &mut RotationState, facts: &mut Facts<'_>) -> Next {
        let Some(lease) = st.lease.as_ref().filter(|_| may_help(self.forbidden, facts)) else {
            return Next::Pass;
        };
        if !facts.local {
            cascade(&self.pool, lease, facts);
        }
        if facts.ledger.is_some_and(|ledger| ledger.rejections() >= self.max_refusals) {
            return facts.decline(NotResent::Refusals);
        }
        if facts.ledger.is_some_and(Ledger::is_rotation_stopped) {
            return facts.decline(NotResent::NoAccount);
        }
        let replay = may_replay(&self.pool, lease, facts).then(|| lease.id().clone());
        // If this attempt was a probe, the probe has ended.
        st.lease = None;
        let mut ask = facts.ask(None);
        let same = replay.and_then(|id| select_same(&self.pool, &st.tried, &mut ask, &id));
        match same.map_or_else(|| self.select(st, &mut ask), Ok) {
            Ok(lease) => Self::go_on(st, facts, lease),
            Err(none) => self.give_up(st, facts, none),
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
