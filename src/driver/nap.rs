//! Waiting, where there is a timer to wait with.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use crate::clock;

/// A wait that has a timer.
#[derive(Debug)]
pub(crate) struct Nap(Pin<Box<tokio::time::Sleep>>);

/// A wait of this length; `None` outside a tokio runtime, or in one without its timer.
pub(crate) fn sleep(wait: Duration) -> Option<Nap> {
    clock::timer(|| tokio::time::sleep(wait)).map(Nap)
}

impl Future for Nap {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}
