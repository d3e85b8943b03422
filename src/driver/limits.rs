//! The numbers that bound a request: its attempts and its deadline.

use std::time::Duration;

use tokio::time::Instant;

use super::{config::Settings, scratch::RequestData};
use crate::{
    report::NotResent,
    stage::{
        Ledger, RequestOptions,
        resend::{IDEMPOTENCY_KEY, repeatable},
    },
};

/// The delay with which a wait may end: tokio counts in milliseconds.
const TIMER: Duration = Duration::from_millis(2);

/// The limits of one request. A limit that was set replaces the driver's default; the request's own only
/// tightens it.
#[derive(Clone, Copy)]
pub(crate) struct RequestLimits<'a> {
    pub(crate) common: &'a Settings,
    pub(crate) data: &'a RequestData,
}

impl RequestLimits<'_> {
    /// Returns whether doing the work of the request twice is harmless.
    pub(crate) fn is_repeatable(self) -> bool {
        self.data.harmless
            || self.data.snapshot().is_some_and(|kept| {
                let keyed = kept.has(&IDEMPOTENCY_KEY);
                repeatable(&kept.method(), keyed, self.data.options.as_ref())
            })
    }

    /// Returns whether the deadline has passed by more than a timer may be late.
    pub(crate) fn is_late(self) -> bool {
        let late = self.deadline().and_then(|deadline| deadline.checked_add(TIMER));
        late.is_some_and(|late| Instant::now() > late)
    }

    /// Returns when the last attempt may start and the last wait ends; `None` where the clock was
    /// not read.
    pub(crate) fn deadline(self) -> Option<Instant> {
        let set = self.data.ledger.as_deref().and_then(|ledger| ledger.limits().deadline);
        let asked = self.data.options.as_ref().and_then(RequestOptions::max_duration);
        // A default of this driver never shortens a deadline that the user has set on another.
        let limit = set.unwrap_or(self.common.deadline);
        self.data.started?.checked_add(asked.map_or(limit, |asked| asked.min(limit)))
    }

    /// Returns how many attempts the request may take in all.
    pub(crate) fn attempts(self, ledger: &Ledger) -> u32 {
        let asked = self.data.options.as_ref().and_then(RequestOptions::max_attempts);
        let limit = ledger.limits().attempts.unwrap_or(self.common.attempts);
        asked.map_or(limit, |asked| asked.min(limit))
    }

    /// Returns why nothing may be sent again, whatever the stages decide.
    pub(crate) fn barred(self, ledger: &Ledger) -> Option<NotResent> {
        let used_up = ledger.attempts() >= self.attempts(ledger);
        self.data.barred.or_else(|| used_up.then_some(NotResent::Attempts))
    }
}
