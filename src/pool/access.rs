//! What the stages need of a pool.

use std::sync::Arc;

use http::request::Parts;
use tokio::time::Instant;

use super::{
    account::{Kind, Since},
    handle::Pool,
    lease::{Admitted, Lease},
    select::{Query, Unavailable},
    settings::{Cascade, OwnCredential},
    wait::ChangeWait,
};
use crate::{
    classify::{Code, Reason},
    clock::Now,
    sync::Ordering,
};

impl Pool {
    /// The changes of any account's state for as long as a request waits for one, at most until
    /// `limit`; `since` is when it first did.
    pub(crate) fn wait_for_change(
        &self,
        since: &mut Option<Instant>,
        limit: Option<Instant>,
    ) -> ChangeWait {
        ChangeWait::new(self.shared(), since, limit)
    }

    /// An account for an attempt that starts now.
    pub(crate) fn pick(&self, query: &Query<'_>, now: &mut Now) -> Result<Lease, Unavailable> {
        self.shared().pick(query, now)
    }

    /// What it would say of this account, were its credential of `generation` out for `reason`.
    pub(crate) fn rejection(
        &self,
        id: &str,
        uid: u32,
        generation: u64,
        reason: Reason,
    ) -> Unavailable {
        self.shared().rejection(id, uid, generation, reason)
    }

    /// The account whose turn it is, for a request that any account will do for. `None`: ask
    /// [`pick`](Self::pick).
    #[inline(always)]
    #[allow(clippy::inline_always)]
    pub(crate) fn turn(&self, now: &mut Now) -> Option<Lease> {
        self.shared().turn(now)
    }

    /// An account for an attempt that starts at `at`: one whose rest is over by then counts, one
    /// that is quarantined does not.
    pub(crate) fn pick_at(&self, query: &Query<'_>, at: Instant) -> Result<Lease, Unavailable> {
        self.shared().pick_at(query, at)
    }

    /// Whether nobody can serve now, and somebody will when a source has answered that is being
    /// asked. Takes nobody.
    pub(crate) fn is_under_way(&self, query: &Query<'_>, now: &mut Now) -> bool {
        self.shared().is_under_way(query, now)
    }

    /// Whether the source of some account is asked, or will be, for a credential that the request
    /// may use.
    pub(crate) fn is_renewing(&self, query: &Query<'_>) -> bool {
        self.shared().is_renewing(query)
    }

    /// Whether a request that was refused may be sent again, with another account or with the next
    /// credential of the same one.
    pub(crate) fn may_resend(&self) -> bool {
        self.len() > 1 || self.shared().mints.load(Ordering::Relaxed)
    }

    /// Whether some account serves only some models: then choosing needs to know which is wanted.
    pub(crate) fn is_restricted(&self) -> bool {
        self.shared().restricted.load(Ordering::Relaxed)
    }

    /// Whether some account could serve this model now. As slow as there are accounts: for those
    /// who have failed already.
    pub(crate) fn can_serve(&self, model: &str, now: &mut Now) -> bool {
        self.shared().can_serve(model, now)
    }

    /// Whether every account is refused or retired, and none is due for a probe. `false` when that
    /// would take a closer look. Reads the clock only when no account is alive.
    pub(crate) fn surely_dead(&self) -> bool {
        let shared = self.shared();
        // Where some serve only some models, what is answered depends on the request's.
        if shared.alive() > 0 || self.is_restricted() || !shared.roster.load().usable.is_empty() {
            return false;
        }
        let next = shared.timers.next();
        next == u64::MAX || shared.passed(Now::unread().get()) < next
    }

    /// What becomes of a credential that the caller put on the request.
    pub(crate) fn own(&self) -> OwnCredential {
        self.shared().settings.own
    }

    /// Whether the caller put a credential on the request: `Authorization`, or any header or query
    /// key that this pool uses.
    pub(crate) fn carries_own(&self, parts: &Parts) -> bool {
        self.shared().carries_own(parts)
    }

    /// Whether a request goes on after a revoked credential.
    pub(crate) fn cascade(&self) -> Cascade {
        self.shared().settings.cascade
    }

    /// What the owner of a dead pool must do.
    pub(crate) fn help(&self) -> Option<&Arc<str>> {
        self.shared().settings.help.as_ref()
    }

    /// The pool's number, unique in the process.
    pub(crate) fn id(&self) -> u32 {
        self.shared().id
    }

    /// Lets a credential pass that some request carries already, or says why it must not be sent
    /// any more.
    ///
    /// One that was replaced meanwhile counts as refused: whoever put it on the request has a newer
    /// one. One that has ended is not sent. `probe` says that the request is the probe of its account.
    pub(crate) fn admit(
        &self,
        account: u32,
        generation: u64,
        probe: bool,
    ) -> Result<Admitted, Code> {
        let roster = self.shared().roster.load();
        let entry = roster.by_number(account).ok_or(Code::CredentialInvalid)?;
        let current = entry.current.load();
        if current.number != generation {
            return Err(Code::CredentialInvalid);
        }
        let lifetime = &current.lifetime;
        let passed = || self.shared().passed(Now::unread().get());
        if !lifetime.is_fresh(passed) && lifetime.is_expired(passed()) {
            return Err(Code::CredentialExpired);
        }
        let seen = current.state();
        if seen.may_be_sent() || probe && seen.kind() == Kind::Probing {
            let generation = arc_swap::Guard::into_inner(current);
            Ok(Admitted { generation, since: Since { seen, probe } })
        } else {
            Err(Code::from(seen.reason()))
        }
    }
}
