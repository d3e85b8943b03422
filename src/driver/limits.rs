//! What a request may still do.

use std::time::Duration;

use tokio::time::Instant;

use super::exchange::Exchange;
use crate::{
    report::NotResent,
    stage::{
        Ledger, RequestOptions, Stage,
        retry::{IDEMPOTENCY_KEY, repeatable},
    },
};

/// How late a wait may end: tokio counts in milliseconds.
const TIMER: Duration = Duration::from_millis(2);

impl<S, St: Stage, K> Exchange<S, St, K> {
    pub(crate) fn is_repeatable(&self) -> bool {
        self.scratch.harmless
            || self.scratch.snapshot().is_some_and(|kept| {
                let keyed = kept.has(&IDEMPOTENCY_KEY);
                repeatable(&kept.method(), keyed, self.scratch.options.as_ref())
            })
    }

    /// Whether the deadline is over, by more than a timer may be late.
    pub(crate) fn is_late(&self) -> bool {
        let late = self.deadline().and_then(|deadline| deadline.checked_add(TIMER));
        late.is_some_and(|late| Instant::now() > late)
    }

    /// After which nothing is started or waited for; nothing where the clock was not read.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let set = self.scratch.ledger.as_deref().and_then(|ledger| ledger.limits().deadline);
        let asked = self.scratch.options.as_ref().and_then(RequestOptions::max_duration);
        // No default takes anything from what was set.
        let limit = set.unwrap_or(self.common().deadline);
        self.scratch.started?.checked_add(asked.map_or(limit, |asked| asked.min(limit)))
    }

    pub(crate) fn attempts_limit(&self, ledger: &Ledger) -> u32 {
        let asked = self.scratch.options.as_ref().and_then(RequestOptions::max_attempts);
        let limit = ledger.limits().attempts.unwrap_or(self.common().attempts);
        asked.map_or(limit, |asked| asked.min(limit))
    }

    pub(crate) fn barred(&self, ledger: &Ledger) -> Option<NotResent> {
        let used_up = ledger.attempts() >= self.attempts_limit(ledger);
        self.scratch.barred.or_else(|| used_up.then_some(NotResent::Attempts))
    }
}
