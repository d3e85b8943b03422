//! What benches look at, and nobody else can reach.

use tokio::time::Instant;

use crate::{
    clock::Now,
    pool::{Pool, select::Query},
};

/// Chooses an account at `now` and lets it go again, as a request does that is dropped before it is
/// sent. Tells whether there was one.
pub fn choose(pool: &Pool, now: Instant) -> bool {
    let query = Query::ANY;
    pool.pick(&query, &mut Now::at(now)).is_ok()
}
