//! What the stages need of a pool.

use std::sync::Arc;

use http::request::Parts;
use tokio::time::Instant;

use super::{
    account::{Kind, Since},
    handle::Pool,
    lease::{Admitted, Picked},
    select::{Unavailable, Want},
    settings::{Cascade, OwnCredential},
    wait::News,
};
use crate::{
    classify::{Code, Reason},
    clock::Now,
    sync::Ordering,
};

impl Pool {
    /// The changes of any account's state for as long as a request waits for one, at most until
    /// `limit`; `since` is when it first did.
    pub(crate) fn news(&self, since: &mut Option<Instant>, limit: Option<Instant>) -> News {
        News::new(self.hub(), since, limit)
    }

    /// An account for an attempt that starts now.
    pub(crate) fn pick(&self, want: &Want<'_>, now: &mut Now) -> Result<Picked, Unavailable> {
        self.hub().pick(want, now)
    }

    /// What it would say of this account, were its credential of `generation` out for `reason`.
    pub(crate) fn refusal(
        &self,
        id: &str,
        uid: u32,
        generation: u64,
        reason: Reason,
    ) -> Unavailable {
        self.hub().refusal(id, uid, generation, reason)
    }

    /// The account whose turn it is, for a request that any account will do for. `None`: ask
    /// [`pick`](Self::pick).
    #[inline(always)]
    #[allow(clippy::inline_always)]
    pub(crate) fn turn(&self, now: &mut Now) -> Option<Picked> {
        self.hub().turn(now)
    }

    /// An account for an attempt that starts at `at`: one whose rest is over by then counts, one
    /// that is quarantined does not.
    pub(crate) fn pick_at(&self, want: &Want<'_>, at: Instant) -> Result<Picked, Unavailable> {
        self.hub().pick_at(want, at)
    }

    /// Whether nobody can serve now, and somebody will when a source has answered that is being
    /// asked. Takes nobody.
    pub(crate) fn is_under_way(&self, want: &Want<'_>, now: &mut Now) -> bool {
        self.hub().is_under_way(want, now)
    }

    /// Whether the source of some account is asked, or will be, for a credential that the request
    /// may use.
    pub(crate) fn is_renewed(&self, want: &Want<'_>) -> bool {
        self.hub().is_renewed(want)
    }

    /// Whether a request that was refused may be sent again, with another account or with the next
    /// credential of the same one.
    pub(crate) fn may_resend(&self) -> bool {
        self.len() > 1 || self.hub().mints.load(Ordering::Relaxed)
    }

    /// Whether some account serves only some models: then choosing needs to know which is wanted.
    pub(crate) fn is_restricted(&self) -> bool {
        self.hub().restricted.load(Ordering::Relaxed)
    }

    /// Whether some account could serve this model now. As slow as there are accounts: for those
    /// who have failed already.
    pub(crate) fn can_serve(&self, model: &str, now: &mut Now) -> bool {
        self.hub().can_serve(model, now)
    }

    /// Whether every account is refused or retired, and none is due for a probe. `false` when that
    /// would take a closer look. Reads the clock only when no account is alive.
    pub(crate) fn surely_dead(&self) -> bool {
        let hub = self.hub();
        // Where some serve only some models, what is answered depends on the request's.
        if hub.alive() > 0 || self.is_restricted() || !hub.roster.load().usable.is_empty() {
            return false;
        }
        let next = hub.due.next();
        next == u64::MAX || hub.passed(Now::unread().get()) < next
    }

    /// What becomes of a credential that the caller put on the request.
    pub(crate) fn own(&self) -> OwnCredential {
        self.hub().settings.own
    }

    /// Whether the caller put a credential on the request: `Authorization`, or any header or query
    /// key that this pool uses.
    pub(crate) fn carries_own(&self, parts: &Parts) -> bool {
        self.hub().carries_own(parts)
    }

    /// Whether a request goes on after a revoked credential.
    pub(crate) fn cascade(&self) -> Cascade {
        self.hub().settings.cascade
    }

    /// What the owner of a dead pool must do.
    pub(crate) fn help(&self) -> Option<&Arc<str>> {
        self.hub().settings.help.as_ref()
    }

    /// The pool's number, unique in the process.
    pub(crate) fn id(&self) -> u32 {
        self.hub().id
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
        let roster = self.hub().roster.load();
        let slot = roster.by_number(account).ok_or(Code::CredentialInvalid)?;
        let current = slot.current.load();
        if current.number != generation {
            return Err(Code::CredentialInvalid);
        }
        let ages = &current.ages;
        let passed = || self.hub().passed(Now::unread().get());
        if !ages.is_young(passed) && ages.is_dead(passed()) {
            return Err(Code::CredentialExpired);
        }
        let seen = current.word();
        if seen.may_be_sent() || probe && seen.kind() == Kind::Probing {
            let generation = arc_swap::Guard::into_inner(current);
            Ok(Admitted { generation, since: Since { seen, probe } })
        } else {
            Err(Code::from(seen.reason()))
        }
    }
}
