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
const GATHERED: Duration = Duration::from_millis(100);

/// So far away is as good as never: somebody tells when something changes.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Shared {
    /// Sees to it that somebody looks at the clock for credentials that nothing replaces. One task
    /// for each pool; it ends with the pool.
    pub(crate) fn watch(self: &Arc<Self>) {
        if !self.ending.load(Ordering::SeqCst) {
            return;
        }
        self.watcher.notify_one();
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.watched.swap(true, Ordering::SeqCst) {
            drop(runtime.spawn(Watch(Arc::downgrade(self)).run()));
        }
    }

    /// Tells of what is due at `now`, and when the next one is.
    fn warn(&self, now: u64) -> u64 {
        let leads = &self.settings.sources.leads;
        let mut next = u64::MAX;
        let roster = self.roster.load();
        for slot in &roster.slots {
            let generation = slot.current.load();
            let ages = &generation.ages;
            if ages.end == u64::MAX
                || slot.member.asking().is_some()
                || !generation.word().is_alive()
            {
                continue;
            }
            if ages.is_dead(now) {
                // A person may have said that the clock is wrong.
                if !ages.is_young(|| now) {
                    self.expire(&generation);
                }
                continue;
            }
            next = next.min(ages.dead);
            // The shortest comes last; of several that have passed, it alone is told.
            let passed = leads.iter().filter(|lead| now >= ages.end.saturating_sub(**lead)).count();
            if let Some(lead) = leads.get(passed) {
                next = next.min(ages.end.saturating_sub(*lead));
            }
            if now < ages.end && ages.warn(passed) {
                self.tell_expiring(&generation, now);
            }
        }
        next
    }

    fn tell_expiring(&self, generation: &Generation, now: u64) {
        let ages = &generation.ages;
        let expires_in = Duration::from_millis(ages.end.saturating_sub(now));
        let expires_at = ages.ends;
        self.tell_token(generation, TokenEventKind::Expiring { expires_in, expires_at });
    }

    /// The pool has died.
    pub(crate) fn note_death(&self, dead: &PoolDead) {
        self.dead.store(true, Ordering::SeqCst);
        if let Some(hook) = &self.settings.sources.on_dead {
            guarded(|| hook(dead));
        }
    }

    /// Tells of a pool that is well again. To be called when no lock is held.
    pub(crate) fn note_health(&self) {
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
            let told = Arc::clone(&shared.watcher);
            drop(shared);
            if timeout_at(until, told.notified()).await.is_ok() {
                sleep(GATHERED).await;
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
        let news = shared.news.subscribe();
        Self { shared: Arc::downgrade(shared), next: Box::pin(std::future::ready(Some(news))) }
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
        let Poll::Ready(news) = self.next.as_mut().poll(cx) else { return Poll::Pending };
        let shared = self.shared.upgrade().filter(|shared| !shared.closed.load(Ordering::SeqCst));
        let (Some(mut news), Some(shared)) = (news, shared) else {
            self.next = Box::pin(std::future::ready(None));
            return Poll::Ready(None);
        };
        self.next = Box::pin(async move { news.changed().await.ok().map(|()| news) });
        Poll::Ready(Some(shared.view(&mut Now::unread())))
    }
}

impl fmt::Debug for PoolChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolChanges").finish_non_exhaustive()
    }
}
