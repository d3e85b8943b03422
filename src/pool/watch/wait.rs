//! Waiting for a change of the accounts.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::{
    classify::Code,
    clock::Now,
    pool::{
        account::{Entry, GenerationState},
        select::{Pin as Tie, Query, Search, Unavailable},
        shared::Shared,
    },
};

/// The error of [`wait_ready`](crate::Pool::wait_ready).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pool is not ready: {}", .code.message())]
#[non_exhaustive]
pub struct NotReady {
    /// Why no account can serve.
    pub code: Code,
}

/// The wait for the next change of any account.
///
/// The first wait is ready at once, because a change may have come before it subscribed. Its output is
/// the next wait, or `None` when the request has waited for long enough, counted from its first wait,
/// or there is no timer.
pub(crate) struct ChangeWait(Listening);

enum Listening {
    Fresh(Option<ChangeListener>, Option<Instant>),
    Waiting(Pin<Box<dyn Future<Output = Option<ChangeListener>> + Send + Sync>>, Option<Instant>),
}

/// Waits for changes, and for the end of cooldowns.
struct ChangeListener {
    shared: Arc<Shared>,
    changed: watch::Receiver<()>,
}

impl ChangeListener {
    fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), changed: shared.changed.subscribe() }
    }

    /// Waits until an account may serve that could not. Returns whether that was before `longest`;
    /// `None` without a timer.
    async fn next(&mut self, longest: Option<Instant>) -> Option<bool> {
        let timers = next_due(&self.shared, Instant::now());
        let Some(until) = timers.into_iter().chain(longest).min() else {
            return Some(self.changed.changed().await.is_ok());
        };
        let mut timer = self.shared.timer.sleep_until(until)?;
        let mut changed = pin!(self.changed.changed());
        let changed = poll_fn(|cx| match changed.as_mut().poll(cx) {
            Poll::Ready(changed) => Poll::Ready(Some(changed.is_ok())),
            Poll::Pending => Pin::new(&mut timer).poll(cx).map(|()| None),
        });
        let early = || longest.is_none_or(|longest| Instant::now() < longest);
        Some(changed.await.unwrap_or_else(early))
    }
}

impl ChangeWait {
    /// Builds a wait; `since` keeps when the first one began.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        since: &mut Option<Instant>,
        limit: Option<Instant>,
    ) -> Self {
        let since = *since.get_or_insert_with(Instant::now);
        let longest = since.checked_add(shared.settings.sources.ready_within);
        let longest = longest.into_iter().chain(limit).min();
        Self(Listening::Fresh(Some(ChangeListener::new(shared)), longest))
    }

    fn after(mut listener: ChangeListener, longest: Option<Instant>) -> Self {
        let next = Box::pin(async move { listener.next(longest).await?.then_some(listener) });
        Self(Listening::Waiting(next, longest))
    }
}

impl Future for ChangeWait {
    type Output = Option<Self>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self>> {
        match &mut self.0 {
            Listening::Fresh(changed, longest) => {
                Poll::Ready(changed.take().map(|changed| Self::after(changed, *longest)))
            }
            Listening::Waiting(next, longest) => {
                let longest = *longest;
                next.as_mut()
                    .poll(cx)
                    .map(|changed| changed.map(|changed| Self::after(changed, longest)))
            }
        }
    }
}

impl fmt::Debug for ChangeWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeWait").finish_non_exhaustive()
    }
}

pub(crate) async fn wait_ready(shared: &Arc<Shared>) -> Result<(), NotReady> {
    let longest = Instant::now().checked_add(shared.settings.sources.ready_within);
    let mut listener = ChangeListener::new(shared);
    loop {
        listener.changed.borrow_and_update();
        let over = longest.is_some_and(|longest| Instant::now() >= longest);
        let none = match is_ready(shared, over, &mut Now::unread()) {
            Ok(()) => return Ok(()),
            Err(none) => none,
        };
        let code = none.code;
        if code != Code::NotReady || over {
            return Err(NotReady { code });
        }
        // No other request may call the source again.
        let again = none.retry_after.and_then(|time| Instant::now().checked_add(time));
        if listener.next(again.into_iter().chain(longest).min()).await.is_none() {
            return Err(NotReady { code });
        }
    }
}

/// Returns when the next timer is due, not before the next millisecond.
fn next_due(shared: &Shared, now: Instant) -> Option<Instant> {
    let passed = shared.passed(now);
    if shared.timers.next() <= passed {
        // Accounts that are due are checked once more, and then not before the next timer.
        shared.sweep(passed, true);
        return now.checked_add(Duration::from_millis(1));
    }
    let timers = shared.timers.next();
    let wait = shared.remaining(timers, now).max(Duration::from_millis(1));
    (timers != u64::MAX).then(|| now.checked_add(wait)).flatten()
}

/// Returns an error if no account can serve now. Leases nothing.
fn is_ready(shared: &Arc<Shared>, last: bool, now: &mut Now) -> Result<(), Unavailable> {
    let query = Query { last, ..Query::ANY };
    let roster = shared.roster.load();
    if shared.timers.next() != u64::MAX {
        shared.sweep(shared.passed(now.get()), true);
    }
    let mut search = Search::new(shared, &roster, &query, now);
    let mut entries = roster.entries.iter().enumerate();
    if entries.any(|(at, entry)| search.judge(at, entry, &entry.current.load()).is_some()) {
        return Ok(());
    }
    search.unavailable(&roster.entries).map(|_| ())
}

/// Returns whether no account can serve now, and a source is being called.
pub(crate) fn is_under_way(shared: &Arc<Shared>, query: &Query<'_>, now: &mut Now) -> bool {
    let roster = shared.roster.load();
    if !roster.mints {
        return false;
    }
    if shared.timers.next() != u64::MAX {
        shared.sweep(shared.passed(now.get()), true);
    }
    let mut search = Search::new(shared, &roster, query, now);
    let mut may_serve = |at: usize| {
        let entry = roster.entries.get(at);
        entry.is_some_and(|entry| search.judge(at, entry, &entry.current.load()).is_some())
    };
    let entries = if let Some(Tie::Strict(id)) = query.pin {
        match roster.find(id) {
            Some((at, entry)) if !may_serve(at) => std::slice::from_ref(entry),
            _ => return false,
        }
    } else {
        let mut from = 0;
        while let Some(at) = roster.usable.next(from, roster.entries.len()) {
            if may_serve(at) {
                return false;
            }
            from = at + 1;
        }
        &roster.entries[..]
    };
    let none = search.unavailable(entries).err();
    none.is_some_and(|none| none.code == Code::NotReady && none.retry_after.is_none())
        && entries.iter().any(|entry| query.may_have_next_of(entry, GenerationState::is_under_way))
}

/// Returns whether a call to a source is due or in progress for a credential that the request may use.
pub(crate) fn is_renewing(shared: &Shared, query: &Query<'_>) -> bool {
    let roster = shared.roster.load();
    let renewed = |entry: &Arc<Entry>| query.may_have_next_of(entry, GenerationState::is_renewing);
    match query.pin {
        Some(Tie::Strict(id)) => roster.find(id).is_some_and(|(_, entry)| renewed(entry)),
        _ => roster.entries.iter().any(renewed),
    }
}
