//! The ledger under concurrent clones of one request.

use std::thread;

use super::*;

#[test]
fn concurrent_clones_never_exceed_the_attempt_limit() {
    let ledger = Ledger::new(None);
    let taken = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mine = (0..100).filter(|_| ledger.take_attempt(150)).count();
                taken.fetch_add(mine, Ordering::Relaxed);
            });
        }
    });
    // The ledger counts the first attempt from the start.
    assert_eq!((taken.into_inner(), ledger.attempts()), (149, 150));
}
