//! The operations of a pool that stages use.

use std::{sync::Arc, time::Duration};

use http::{StatusCode, request::Parts};
use tokio::time::Instant;

use super::{
    account::{Kind, Since},
    handle::Pool,
    lease::{Admitted, Lease, carries_own},
    select::{self, Query, Unavailable},
    settings::{Cascade, OwnCredential},
    watch::{self, ChangeWait},
};
use crate::{
    classify::{Code, Reason},
    clock::Now,
    report::text::{Filter, Redact},
};

impl Pool {
    /// Waits for a change of any account, at most until `limit`; `since` is when the request first
    /// waited.
    pub(crate) fn wait_for_change(
        &self,
        since: &mut Option<Instant>,
        limit: Option<Instant>,
    ) -> ChangeWait {
        ChangeWait::new(self.shared(), since, limit)
    }

    /// Leases an account for an attempt that starts now.
    pub(crate) fn pick(&self, query: &Query<'_>, now: &mut Now) -> Result<Lease, Unavailable> {
        select::pick(self.shared(), query, now)
    }

    /// Returns the answer for an account whose credential of `generation` was rejected for `reason`.
    pub(crate) fn rejection(
        &self,
        id: &str,
        uid: u32,
        generation: u64,
        reason: Reason,
    ) -> Unavailable {
        select::rejection(self.shared(), id, uid, generation, reason)
    }

    /// Leases the account whose turn it is, for a request that any account may serve. `None`: use
    /// [`pick`](Self::pick).
    #[inline(always)]
    #[allow(clippy::inline_always)]
    pub(crate) fn turn(&self, now: &mut Now) -> Option<Lease> {
        select::turn(self.shared(), now)
    }

    /// Returns an account for an attempt that starts at `at`: one whose cooldown is over by then
    /// counts, a quarantined one does not.
    pub(crate) fn pick_at(&self, query: &Query<'_>, at: Instant) -> Result<Lease, Unavailable> {
        select::pick_at(self.shared(), query, at)
    }

    /// Returns whether no account can serve now, and one will when a source that is being called has
    /// answered. Leases nothing.
    pub(crate) fn is_under_way(&self, query: &Query<'_>, now: &mut Now) -> bool {
        watch::is_under_way(self.shared(), query, now)
    }

    /// Returns whether a call to a source is due or in progress for a credential that the request may
    /// use.
    pub(crate) fn is_renewing(&self, query: &Query<'_>) -> bool {
        watch::is_renewing(self.shared(), query)
    }

    /// Returns whether a rejected request may be resent, with another account or with the next
    /// credential of the same one.
    pub(crate) fn may_resend(&self) -> bool {
        self.len() > 1 || self.shared().roster.load().mints
    }

    /// Returns whether an account serves only some models, so that selecting needs the model.
    pub(crate) fn is_restricted(&self) -> bool {
        self.shared().roster.load().restricted
    }

    /// Returns whether an account could serve this model now. Looks at all accounts: only for requests
    /// that have failed already.
    pub(crate) fn can_serve(&self, model: &str, now: &mut Now) -> bool {
        select::can_serve(self.shared(), model, now)
    }

    /// Returns whether every account is rejected or retired, and none is due for a probe. `false` if
    /// that needs a closer look. Reads the clock only when no account is alive.
    pub(crate) fn surely_dead(&self) -> bool {
        let shared = self.shared();
        // Where some serve only some models, what is answered depends on the request's.
        if shared.alive() > 0 || self.is_restricted() || !shared.roster.load().usable.is_empty() {
            return false;
        }
        let next = shared.timers.next();
        next == u64::MAX || shared.passed(Now::unread().get()) < next
    }

    /// Returns what happens to a caller's own credential.
    pub(crate) fn own(&self) -> OwnCredential {
        self.shared().settings.own
    }

    /// Returns whether the request carries a credential of the caller: `Authorization`, or a header or
    /// query key that this pool uses.
    pub(crate) fn carries_own(&self, parts: &Parts) -> bool {
        carries_own(self.shared(), parts)
    }

    /// Returns where a request may rotate after a revoked credential.
    pub(crate) fn cascade(&self) -> Cascade {
        self.shared().settings.cascade
    }

    /// Returns what the owner of a dead pool must do.
    pub(crate) fn help(&self) -> Option<&Arc<str>> {
        self.shared().settings.help.as_ref()
    }

    /// Returns the pool's number, unique in the process.
    pub(crate) fn id(&self) -> u32 {
        self.shared().id
    }

    /// Admits a credential that a request carries already, or returns why it must not be sent.
    ///
    /// A credential that was replaced meanwhile counts as rejected; one that has expired is not sent.
    /// `probe` says that the request is the probe of its account.
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

    // --- a lease

    /// Makes a lease of a credential that was admitted.
    pub(crate) fn lease(&self, admitted: Admitted) -> Lease {
        admitted.into_lease(self.shared())
    }

    /// Puts the account's credential, fixed headers and base URI on a request; see [`Lease::apply`].
    pub(crate) fn apply(&self, lease: &Lease, parts: &mut Parts) -> Result<(), Code> {
        lease.apply(self.shared(), parts)
    }

    /// Returns whether the credential has expired since it was leased.
    pub(crate) fn has_ended(&self, lease: &Lease, now: &mut Now) -> bool {
        lease.has_ended(self.shared(), now)
    }

    /// Returns whether the account's source is being called for its next credential.
    pub(crate) fn is_renewing_account(&self, lease: &Lease) -> bool {
        lease.is_under_way(self.shared())
    }

    // --- evidence: what an attempt shows about the account that it used

    /// Notes a success, and what is left of the account's limit.
    pub(crate) fn succeeded(&self, lease: &mut Lease, remaining: Option<u64>) {
        lease.succeeded(self.shared(), remaining);
    }

    /// Notes that the upstream rejected the credential.
    pub(crate) fn rejected(
        &self,
        lease: &mut Lease,
        reason: Reason,
        status: Option<StatusCode>,
        now: &mut Now,
    ) {
        lease.rejected(self.shared(), reason, status, now);
    }

    /// Notes that the account is limited: for the model when it is known, else for all of them.
    pub(crate) fn limited(
        &self,
        lease: &mut Lease,
        model: Option<&str>,
        delay: Option<Duration>,
        now: &mut Now,
    ) {
        lease.limited(self.shared(), model, delay, now);
    }

    /// Notes that the account has no quota left.
    pub(crate) fn out_of_quota(
        &self,
        lease: &mut Lease,
        delay: Option<Duration>,
        status: Option<StatusCode>,
        now: &mut Now,
    ) {
        lease.out_of_quota(self.shared(), delay, status, now);
    }

    /// Notes that the account does not have the model.
    pub(crate) fn model_missing(
        &self,
        lease: &mut Lease,
        model: &str,
        delay: Option<Duration>,
        now: &mut Now,
    ) {
        lease.model_missing(self.shared(), model, delay, now);
    }

    /// Notes a failure that shows the credential to be good.
    pub(crate) fn healthy_failure(&self, lease: &mut Lease) {
        lease.healthy_failure(self.shared());
    }

    // --- secrets

    /// Calls `f` with each secret, those of the last few replaced or removed credentials as well.
    pub(crate) fn visit_secrets(&self, f: &mut dyn FnMut(&[u8])) {
        self.shared().visit_secrets(f);
    }

    /// Returns whether there are too many secrets to search a message for them.
    pub(crate) fn too_many_secrets(&self) -> bool {
        self.shared().too_many()
    }

    /// Returns the filter that a text can be checked with before it is searched for secrets.
    pub(crate) fn filter(&self) -> Option<Arc<Filter>> {
        self.shared().filter()
    }

    /// Calls `f` with the id of each account.
    #[cfg(feature = "job-ids")]
    pub(crate) fn visit_ids(&self, f: impl FnMut(&Arc<str>)) {
        self.shared().roster.load().entries.iter().map(|entry| &entry.account.id).for_each(f);
    }
}
