//! What clones of one request in flight at once may do to its ledger.

use std::thread;

use super::*;

#[test]
fn clones_never_take_more_attempts_than_there_are() {
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
    // The first was taken when the request came in.
    assert_eq!((taken.into_inner(), ledger.attempts()), (149, 150));
}
