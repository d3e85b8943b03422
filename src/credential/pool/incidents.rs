//! What a pool tells of its accounts, each once.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::StatusCode;

use super::{
    hub::{Change, Hub},
    slot::{Generation, Member},
    sync::Ordering,
    word::Kind,
};
use crate::{
    classify::Reason,
    clock::Now,
    report::{AccountOut, AccountTag, Event, OutReason, PoolDead},
};

impl Hub {
    /// When the credential ended that did so last, if any did, and that is known.
    pub(super) fn expired_at(&self) -> Option<SystemTime> {
        match self.ended.load(Ordering::Relaxed) {
            0 => None,
            seconds => UNIX_EPOCH.checked_add(Duration::from_secs(seconds)),
        }
    }

    /// The account as people find it in their configuration.
    pub(super) fn tag(&self, member: &Member) -> AccountTag {
        let of = self.size.load(Ordering::Relaxed) as usize;
        let ordinal = member.ordinal.load(Ordering::Relaxed) as usize;
        AccountTag { id: Arc::clone(&member.id), ordinal, of }
    }

    /// Tells of an account that is out; of the pool instead, when it was the last one.
    pub(super) fn tell(
        &self,
        generation: &Generation,
        change: &Change,
        reason: OutReason,
        status: Option<StatusCode>,
        now: &mut Now,
    ) {
        let member = &generation.member;
        let account = self.tag(member);
        let of = account.of;
        let mut out = AccountOut::new(account, generation.number, reason, status, Duration::MAX);
        if change.is.kind() != Kind::Retired {
            out.rest = self.remaining(change.is.until(), now.get());
        }
        if reason.is_expiry() {
            let ended = generation.ages.ended(|| self.passed(now.get()));
            (out.expired_at, out.expired_ago) = ended.unzip();
            let seconds = out.expired_at.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            self.ended.store(seconds.map_or(0, |at| at.as_secs()), Ordering::Relaxed);
        }
        if !change.last {
            return self.settings.reporter.tell(&Event::AccountOut(out));
        }
        let dead = PoolDead { accounts: of, cause: out, help: self.settings.help.clone() };
        self.note_death(&dead);
        self.settings.reporter.tell(&Event::PoolDead(dead));
    }

    /// Tells of a refusal, if it took a living account out.
    pub(super) fn tell_refusal(
        &self,
        generation: &Generation,
        change: &Change,
        reason: Reason,
        status: Option<StatusCode>,
        now: &mut Now,
    ) {
        if change.is_loss() {
            self.tell(generation, change, OutReason::Refused(reason), status, now);
        }
    }
}
