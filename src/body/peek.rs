//! Reading the beginning of an error body, to classify the answer.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::response::Parts;
use http_body::Body;

use super::response::Peeked;
use crate::clock::{Sleep, Timer};

/// The most frames that are read: the empty ones of a hostile upstream never reach the limit in bytes.
const FRAMES: usize = 4096;

/// Limits on reading an error body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeekLimits {
    pub(crate) bytes: usize,
    pub(crate) time: Duration,
}

impl Default for PeekLimits {
    fn default() -> Self {
        Self { bytes: 64 * 1024, time: Duration::from_secs(2) }
    }
}

/// An answer whose body is being read. All that is read is passed on, errors included.
pub(crate) struct Peek<B: Body> {
    pub(crate) head: Parts,
    body: Peeked<B>,
    text: Vec<u8>,
    /// The bytes that were read; a frame without data counts as one, because it is kept.
    read: usize,
    limit: usize,
    /// `None` where there is no timer: then only the data that is ready is read.
    until: Option<Sleep>,
}

impl<B: Body<Data = Bytes>> Peek<B> {
    pub(crate) fn new(head: Parts, body: B, limits: PeekLimits, timer: &Timer) -> Self {
        Self {
            head,
            body: Peeked::new(body),
            text: Vec::new(),
            read: 0,
            limit: limits.bytes,
            until: timer.sleep(limits.time),
        }
    }

    /// Becomes ready when the end, the limit or the time is reached.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.read >= self.limit || self.body.ahead.len() >= FRAMES {
                return Poll::Ready(());
            }
            let Some(rest) = &mut self.body.rest else { return Poll::Ready(()) };
            match rest.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let length = frame.data_ref().map_or(0, Bytes::len);
                    self.read = self.read.saturating_add(length.max(1));
                    if let Some(data) = frame.data_ref() {
                        let room = self.limit.saturating_sub(self.text.len());
                        self.text.extend_from_slice(data.get(..room).unwrap_or(data));
                    }
                    self.body.ahead.push_back(frame);
                }
                Poll::Ready(Some(Err(error))) => {
                    self.body.error = Some(error);
                    self.body.rest = None;
                }
                Poll::Ready(None) => self.body.rest = None,
                Poll::Pending => {
                    return match &mut self.until {
                        Some(until) => Pin::new(until).poll(cx),
                        None => Poll::Ready(()),
                    };
                }
            }
        }
    }

    /// Returns the head, the beginning of the body, and the whole body.
    pub(crate) fn into_parts(self) -> (Parts, Vec<u8>, Peeked<B>) {
        (self.head, self.text, self.body)
    }
}
