//! What benches look at, and nobody else can reach.

use tokio::time::Instant;

use super::{handle::Pool, want::Want};
use crate::clock::Now;

/// Chooses an account at `now` and lets it go again, as a request does that is dropped before it is
/// sent. Tells whether there was one.
pub fn choose(pool: &Pool, now: Instant) -> bool {
    let want = Want::ANY;
    pool.pick(&want, &mut Now::at(now)).is_ok()
}
