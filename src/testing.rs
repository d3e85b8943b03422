//! Access for benches and tests to parts that are not public.

use bytes::Bytes;
use http_body::Body;
use tokio::time::Instant;

use crate::{
    body::{Buffered, ReplayBody, Started, Strategy, replay::WholeBody},
    clock::Now,
    pool::{Pool, select::Query},
    report::NotResent,
};

/// A body as [`Buffered`] keeps it for another attempt.
#[derive(Debug)]
pub struct Replays(WholeBody);

impl Replays {
    /// Reads a body that is ready. Returns the body of the first attempt, and the kept one or the
    /// reason why none is kept; `None` for a body that must be awaited.
    pub fn of<B: Body<Data = Bytes> + Unpin>(
        body: B,
        cap: usize,
    ) -> Option<(ReplayBody<B>, Result<Self, NotResent>)> {
        match Buffered::up_to(cap).start(body) {
            Started::Ready(first, kept) => Some((first, kept.map(Self))),
            Started::Fill(_) => None,
        }
    }

    /// Returns the body of one more attempt.
    pub fn again<B: Body<Data = Bytes> + Unpin>(&self) -> ReplayBody<B> {
        ReplayBody::whole(&self.0)
    }

    /// Returns the body of an attempt with another model: it is in one piece.
    pub fn in_one_piece<B: Body<Data = Bytes> + Unpin>(&self) -> ReplayBody<B> {
        ReplayBody::whole(&self.0.with(self.0.bytes()))
    }
}

/// Chooses an account at `now` and lets it go again, as a request does that is dropped before it is
/// sent. Tells whether there was one.
pub fn choose(pool: &Pool, now: Instant) -> bool {
    let query = Query::ANY;
    pool.pick(&query, &mut Now::at(now)).is_ok()
}
