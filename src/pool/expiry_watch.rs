//! What a pool tells without being asked: that a credential ends soon, that the pool has died, that
//! it is well again, that something has changed.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, sleep, timeout_at},
};

use super::{account::Generation, shared::Shared, view::PoolView};
use crate::{
    clock::Now,
    report::{PoolDead, TokenEventKind},
    sync::Ordering,
};

/// Told of a pool that has died.
pub(crate) type OnDead = Arc<dyn Fn(&PoolDead) + Send + Sync>;
/// Told of a pool that is well again.
pub(crate) type OnRecovered = Arc<dyn Fn() + Send + Sync>;

/// Credentials that are put in together are looked at together.
const SETTLE_TIME: Duration = Duration::from_millis(100);

/// So far away is as good as never: somebody tells when something changes.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Shared {
    /// Sees to it that somebody looks at the clock for credentials that nothing replaces. One task
    /// for each pool; it ends with the pool.
    pub(crate) fn watch(self: &Arc<Self>) {
        if !self.has_expiry.load(Ordering::SeqCst) {
            return;
        }
        self.expiry_check.notify_one();
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.has_expiry_task.swap(true, Ordering::SeqCst) {
            drop(runtime.spawn(Watch(Arc::downgrade(self)).run()));
        }
    }

    /// Tells of what is due at `now`, and when the next one is.
    fn warn(&self, now: u64) -> u64 {
        let leads = &self.settings.sources.leads;
        let mut next = u64::MAX;
        let roster = self.roster.load();
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
                // A person may have said that the clock is wrong.
                if !lifetime.is_fresh(|| now) {
                    self.expire(&generation);
                }
                continue;
            }
            next = next.min(lifetime.dead);
            // The shortest comes last; of several that have passed, it alone is told.
            let passed =
                leads.iter().filter(|lead| now >= lifetime.end.saturating_sub(**lead)).count();
            if let Some(lead) = leads.get(passed) {
                next = next.min(lifetime.end.saturating_sub(*lead));
            }
            if now < lifetime.end && lifetime.warn(passed) {
                self.report_expiring(&generation, now);
            }
        }
        next
    }

    fn report_expiring(&self, generation: &Generation, now: u64) {
        let lifetime = &generation.lifetime;
        let expires_in = Duration::from_millis(lifetime.end.saturating_sub(now));
        let expires_at = lifetime.ends;
        self.report_token(generation, TokenEventKind::Expiring { expires_in, expires_at });
    }

    /// The pool has died.
    pub(crate) fn report_death(&self, dead: &PoolDead) {
        self.dead.store(true, Ordering::SeqCst);
        if let Some(hook) = &self.settings.sources.on_dead {
            guarded(|| hook(dead));
        }
    }

    /// Tells of a pool that is well again. To be called when no lock is held.
    pub(crate) fn report_recovery(&self) {
        if !self.dead.load(Ordering::SeqCst) || self.alive() <= 0 {
            return;
        }
        if self.dead.swap(false, Ordering::SeqCst) {
            if let Some(hook) = &self.settings.sources.on_recovered {
                guarded(|| hook());
            }
        }
    }
}

/// A hook that panics harms nobody.
fn guarded(hook: impl FnOnce()) {
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(hook));
}

/// The task that looks at the clock.
struct Watch(Weak<Shared>);

impl Watch {
    async fn run(self) {
        while let Some(shared) = self.0.upgrade() {
            if shared.closed.load(Ordering::SeqCst) {
                return;
            }
            let now = Instant::now();
            let passed = shared.passed(now);
            let next = shared.warn(passed);
            let wait = Duration::from_millis(next.saturating_sub(passed));
            let until = now + wait.min(FAR);
            // While nothing is due, only those who have a handle keep the pool alive.
            let told = Arc::clone(&shared.expiry_check);
            drop(shared);
            if timeout_at(until, told.notified()).await.is_ok() {
                sleep(SETTLE_TIME).await;
            }
        }
    }
}

/// A pool as it is after each change; see [`Pool::changes`](crate::Pool::changes).
pub struct PoolChanges {
    shared: Weak<Shared>,
    next: Pin<Box<dyn Future<Output = Option<watch::Receiver<()>>> + Send + Sync>>,
}

impl PoolChanges {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        let changed = shared.changed.subscribe();
        Self { shared: Arc::downgrade(shared), next: Box::pin(std::future::ready(Some(changed))) }
    }

    /// The pool as it is after the next change, `None` when its last handle is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<PoolView> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for PoolChanges {
    type Item = PoolView;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<PoolView>> {
        let Poll::Ready(changed) = self.next.as_mut().poll(cx) else { return Poll::Pending };
        let shared = self.shared.upgrade().filter(|shared| !shared.closed.load(Ordering::SeqCst));
        let (Some(mut changed), Some(shared)) = (changed, shared) else {
            self.next = Box::pin(std::future::ready(None));
            return Poll::Ready(None);
        };
        self.next = Box::pin(async move { changed.changed().await.ok().map(|()| changed) });
        Poll::Ready(Some(shared.view(&mut Now::unread())))
    }
}

impl fmt::Debug for PoolChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolChanges").finish_non_exhaustive()
    }
}
