//! Reports before a credential without a source expires, and at its expiry.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    pool::{account::Generation, refresh, shared::Shared},
    report::TokenEventKind,
    sync::Ordering,
};

/// Credentials that are put in together are checked together.
const SETTLE_TIME: Duration = Duration::from_millis(100);

/// The longest sleep: a change wakes the task earlier.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Starts the pool's one task that reports expiries, if a credential without a source expires and the
/// task is not running. It ends with the pool.
pub(crate) fn watch(shared: &Arc<Shared>) {
    if !shared.has_expiry.load(Ordering::Relaxed) {
        return;
    }
    shared.expiry_check.notify_one();
    let Ok(runtime) = Handle::try_current() else { return };
    if !shared.has_expiry_task.swap(true, Ordering::Relaxed) {
        drop(runtime.spawn(Watch(Arc::downgrade(shared)).run()));
    }
}

/// Reports what is due at `now`. Returns when the next report is due.
fn warn(shared: &Shared, now: u64) -> u64 {
    let leads = &shared.settings.sources.leads;
    let mut next = u64::MAX;
    let roster = shared.roster.load();
    for entry in &roster.entries {
        let generation = entry.current.load();
        let lifetime = &generation.lifetime;
        if lifetime.end == u64::MAX
            || entry.account.minting_source().is_some()
            || !generation.state().is_alive()
        {
            continue;
        }
        if lifetime.is_expired(now) {
            // An operator may have revived it because the clock is wrong.
            if !lifetime.is_fresh(|| now) {
                refresh::expire(shared, &generation);
            }
            continue;
        }
        next = next.min(lifetime.dead);
        // The shortest is last; of several that have passed, only that one is reported.
        let passed = leads.iter().filter(|lead| now >= lifetime.end.saturating_sub(**lead)).count();
        if let Some(lead) = leads.get(passed) {
            next = next.min(lifetime.end.saturating_sub(*lead));
        }
        if now < lifetime.end && lifetime.warn(passed) {
            report_expiring(shared, &generation, now);
        }
    }
    next
}

fn report_expiring(shared: &Shared, generation: &Generation, now: u64) {
    let lifetime = &generation.lifetime;
    let expires_in = Duration::from_millis(lifetime.end.saturating_sub(now));
    let expires_at = lifetime.ends;
    shared.report_token(generation, TokenEventKind::Expiring { expires_in, expires_at });
}

/// The task that reports expiries.
struct Watch(Weak<Shared>);

impl Watch {
    async fn run(self) {
        while let Some(shared) = self.0.upgrade() {
            // Ordering 6 of `Shared`: pairs with the store in `shut_down`.
            if shared.closed.load(Ordering::SeqCst) {
                return;
            }
            let now = Instant::now();
            let passed = shared.passed(now);
            let next = warn(&shared, passed);
            let wait = Duration::from_millis(next.saturating_sub(passed));
            let until = now + wait.min(FAR);
            // While it sleeps, the task does not keep the pool alive.
            let woken = Arc::clone(&shared.expiry_check);
            drop(shared);
            if timeout_at(until, woken.notified()).await.is_ok() {
                sleep(SETTLE_TIME).await;
            }
        }
    }
}
