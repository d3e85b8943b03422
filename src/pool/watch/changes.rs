//! The stream of a pool's states.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
};

use futures_core::Stream;
use tokio::sync::watch;

use crate::{
    clock::Now,
    pool::{
        shared::Shared,
        view::{PoolView, view},
    },
    sync::Ordering,
};

/// The stream of [`Pool::changes`](crate::Pool::changes).
pub struct PoolChanges {
    shared: Weak<Shared>,
    next: Pin<Box<dyn Future<Output = Option<watch::Receiver<()>>> + Send + Sync>>,
}

impl PoolChanges {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        let changed = shared.changed.subscribe();
        Self { shared: Arc::downgrade(shared), next: Box::pin(std::future::ready(Some(changed))) }
    }

    /// Returns the state of the pool after the next change, `None` when its last handle is gone.
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
        // Ordering 6 of `Shared`: pairs with the store in `shut_down`.
        let shared = self.shared.upgrade().filter(|shared| !shared.closed.load(Ordering::SeqCst));
        let (Some(mut changed), Some(shared)) = (changed, shared) else {
            self.next = Box::pin(std::future::ready(None));
            return Poll::Ready(None);
        };
        self.next = Box::pin(async move { changed.changed().await.ok().map(|()| changed) });
        Poll::Ready(Some(view(&shared, &mut Now::unread())))
    }
}

impl fmt::Debug for PoolChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolChanges").finish_non_exhaustive()
    }
}
