//! One refresh at a time, in every interleaving of two requests.
//!
//! Run as the [other models](super::loom_models) are.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use loom::{model::Builder, thread};

use super::support::*;
use crate::{
    classify::Reason,
    clock::Now,
    credential::{RefreshReason, SourceError, Token},
    pool::{Pool, State},
};

/// The calls that a source saw.
#[derive(Default)]
struct Seen {
    calls: AtomicUsize,
    minting_source: AtomicUsize,
}

/// An account whose source gives another token, or fails, and lets others go on while it is asked.
fn sourced(gives: bool) -> (Arc<Bench>, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let asked = Arc::clone(&seen);
    let source = move |_: RefreshReason| {
        assert_eq!(asked.minting_source.fetch_add(1, Ordering::SeqCst), 0, "one is asking already");
        let call = asked.calls.fetch_add(1, Ordering::SeqCst);
        thread::yield_now();
        asked.minting_source.fetch_sub(1, Ordering::SeqCst);
        let token = Token::new(format!("token-{call}"));
        std::future::ready(if gives { Ok(token) } else { Err(SourceError::transient("down")) })
    };
    let builder = Pool::builder().any_origin().account(account("alice").source(source));
    (Arc::new(Bench::new(builder.reporter(|_: &crate::report::Event| ()))), seen)
}

fn model(f: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(f);
}

/// Two requests that are refused with the same credential, at once.
fn refuse_twice(bench: &Arc<Bench>) {
    let (mut one, mut two) = (bench.pick().unwrap(), bench.pick().unwrap());
    let there = Arc::clone(bench);
    let other = thread::spawn(move || {
        two.rejected(Reason::Expired, None, &mut there.clock());
        two
    });
    one.rejected(Reason::Expired, None, &mut bench.clock());
    // What it was refused with is let go of by one thread, after both.
    drop((one, other.join().unwrap()));
}

#[test]
fn rejections_of_one_generation_are_one_refresh() {
    model(|| {
        let (bench, seen) = sourced(true);
        refuse_twice(&bench);
        assert_eq!(seen.calls.load(Ordering::SeqCst), 1);
        let view = bench.pool.view().accounts.remove(0);
        assert_eq!((view.generation, view.state), (2, State::Usable));
        assert!(bench.pick().is_ok());
    });
}

#[test]
fn failed_refresh_keeps_no_request_waiting() {
    model(|| {
        let (bench, seen) = sourced(false);
        refuse_twice(&bench);
        // The failure is remembered, and nothing is under way.
        assert_eq!(seen.calls.load(Ordering::SeqCst), 1);
        let none = bench.pick().unwrap_err();
        assert!(!none.is_under_way(), "{none:?}");
        // When its time is up, it is asked again.
        let later = bench.now + secs(10);
        assert!(bench.pool.pick(&ANY, &mut Now::at(later)).is_err());
        assert_eq!(seen.calls.load(Ordering::SeqCst), 2);
    });
}
