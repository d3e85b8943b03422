//! Measures two threads on one stack, each with requests of its own values.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use tokio::runtime::Runtime;

use crate::{
    cases::{Entry, TWO_THREADS},
    measure::Meter,
    rounds::{self, Row, Samples, median},
};

const CALLS: usize = 210;

/// The steps of the other thread: it receives a number, prepares, reports that, and starts on a
/// signal.
#[derive(Default)]
struct Steps {
    number: AtomicUsize,
    filled: AtomicUsize,
    go: AtomicUsize,
    done: AtomicUsize,
}

fn wait(step: &AtomicUsize, for_: usize) {
    while step.load(SeqCst) != for_ {
        std::hint::spin_loop();
    }
}

/// Returns the rows of two threads, and the slowdown of each stack against one thread.
pub fn rows(rounds: usize, runtime: &Runtime) -> (Vec<Row>, Vec<(&'static str, f64)>) {
    let (mut mine, theirs) = pairs(runtime);
    let n = mine.len();
    let steps = Arc::new(Steps::default());
    let turns = (rounds + rounds / 10) * n;
    let other = thread::spawn({
        let steps = steps.clone();
        move || second(theirs, &steps, turns)
    });
    let mut alone = vec![Samples::default(); n];
    let mut both = vec![Samples::default(); n];
    for turn in 0..turns {
        let i = turn % n;
        let requests = TWO_THREADS.requests();
        let fill = |entry: &mut Entry| {
            entry.subject.fill((0..CALLS).map(|_| requests.one()).collect());
        };
        let mut one = Meter::new(runtime);
        fill(&mut mine[i]);
        mine[i].subject.run(&mut one);
        let mut two = Meter::new(runtime);
        steps.number.store(turn + 1, SeqCst);
        other.thread().unpark();
        fill(&mut mine[i]);
        wait(&steps.filled, turn + 1);
        steps.go.store(turn + 1, SeqCst);
        mine[i].subject.run(&mut two);
        wait(&steps.done, turn + 1);
        if turn / n >= rounds / 10 {
            alone[i].take(&one, CALLS);
            both[i].take(&two, CALLS);
        }
    }
    other.join().unwrap();
    let slower = |i: usize| median(both[i].ns.iter().zip(&alone[i].ns).map(|(two, one)| two / one));
    let slower = (0..n).map(|i| (mine[i].stack, slower(i))).collect();
    (rounds::rows(TWO_THREADS.name, &mine, &both), slower)
}

fn second(mut entries: Vec<Entry>, steps: &Steps, turns: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let requests = TWO_THREADS.requests();
    let n = entries.len();
    for turn in 0..turns {
        // The thread sleeps while the other runs alone: a spinning thread would take its share of a
        // core.
        while steps.number.load(SeqCst) != turn + 1 {
            thread::park();
        }
        let entry = &mut entries[turn % n];
        entry.subject.fill((0..CALLS).map(|_| requests.one()).collect());
        steps.filled.store(turn + 1, SeqCst);
        wait(&steps.go, turn + 1);
        entry.subject.run(&mut Meter::new(&runtime));
        steps.done.store(turn + 1, SeqCst);
    }
}

/// Builds each stack as two clones that share what its users' clones would share.
fn pairs(runtime: &Runtime) -> (Vec<Entry>, Vec<Entry>) {
    let entries = TWO_THREADS.entries(runtime);
    let twins = entries.iter().map(Entry::twin).collect();
    (entries, twins)
}
