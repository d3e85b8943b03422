//! Waiting for an account to change.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    hub::Hub,
    pick::Search,
    sync::Ordering,
    want::{Unavailable, Want},
};
use crate::{classify::Code, clock::Now};

/// Why [`wait_ready`](super::Pool::wait_ready) waits no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pool is not ready: {}", .code.message())]
#[non_exhaustive]
pub struct NotReady {
    /// Why no account can serve.
    pub code: Code,
}

/// The next change of any account's state, and those after it.
///
/// The first is there at once: what was looked at before somebody listened may be old. It gives the
/// next one, or nothing when a request has waited for long enough, from its first wait on.
pub(crate) struct News(Listening);

enum Listening {
    Fresh(Option<watch::Receiver<()>>, Option<Instant>),
    Waiting(
        Pin<Box<dyn Future<Output = Option<watch::Receiver<()>>> + Send + Sync>>,
        Option<Instant>,
    ),
}

impl News {
    /// `since` remembers when the first wait began.
    pub(super) fn new(hub: &Arc<Hub>, since: &mut Option<Instant>, limit: Option<Instant>) -> Self {
        let since = *since.get_or_insert_with(Instant::now);
        let longest = since.checked_add(hub.settings.sources.ready_within);
        let longest = longest.into_iter().chain(limit).min();
        Self(Listening::Fresh(Some(hub.news.subscribe()), longest))
    }

    fn after(mut news: watch::Receiver<()>, longest: Option<Instant>) -> Self {
        let next = Box::pin(async move {
            let changed = match longest {
                Some(longest) => timeout_at(longest, news.changed()).await.ok()?,
                None => news.changed().await,
            };
            changed.ok().map(|()| news)
        });
        Self(Listening::Waiting(next, longest))
    }
}

impl Future for News {
    type Output = Option<Self>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self>> {
        match &mut self.0 {
            Listening::Fresh(news, longest) => {
                Poll::Ready(news.take().map(|news| Self::after(news, *longest)))
            }
            Listening::Waiting(next, longest) => {
                let longest = *longest;
                next.as_mut().poll(cx).map(|news| news.map(|news| Self::after(news, longest)))
            }
        }
    }
}

impl fmt::Debug for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("News").finish_non_exhaustive()
    }
}

pub(super) async fn wait_ready(hub: &Arc<Hub>) -> Result<(), NotReady> {
    let longest = Instant::now().checked_add(hub.settings.sources.ready_within);
    let mut news = hub.news.subscribe();
    loop {
        news.borrow_and_update();
        let none = match hub.is_ready(&mut Now::unread()) {
            Ok(()) => return Ok(()),
            Err(none) => none,
        };
        let code = none.code;
        if code != Code::NotReady || longest.is_some_and(|longest| Instant::now() >= longest) {
            return Err(NotReady { code });
        }
        // Nobody else may ask the source again.
        let again = none.retry_after.and_then(|time| Instant::now().checked_add(time));
        let until = again.into_iter().chain(longest).min();
        let over = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        first(over, news.changed()).await;
    }
}

/// Until one of the two is done.
async fn first<A: Future, B: Future>(one: A, two: B) {
    let (mut one, mut two) = (std::pin::pin!(one), std::pin::pin!(two));
    std::future::poll_fn(|cx| {
        let done = one.as_mut().poll(cx).is_ready() || two.as_mut().poll(cx).is_ready();
        if done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

impl Hub {
    /// Whether some account can serve now. Takes none.
    fn is_ready(&self, now: &mut Now) -> Result<(), Unavailable> {
        let want = Want::ANY;
        let roster = self.roster.load();
        if self.due.next() != u64::MAX {
            self.sweep(self.passed(now.get()), true);
        }
        let mut search = Search::new(self, &roster, &want, now);
        let mut slots = roster.slots.iter().enumerate();
        if slots.any(|(at, slot)| search.judge(at, slot, &slot.current.load()).is_some()) {
            return Ok(());
        }
        search.shortage(&roster.slots).map(|_| ())
    }

    /// Nobody has a handle any more: those who wait are told.
    pub(super) fn last_news(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.news.send_replace(());
    }
}
