//! Interleaved rounds of one case, and their medians.

use tokio::runtime::Runtime;

use crate::{
    cases::{BARE, Case, Entry, ONE_CLONE},
    measure::Meter,
    upstream::Seen,
};

/// The number of calls of one stack in one round.
const CALLS: usize = 210;
/// The number of calls for a stack that waits for timers.
const CALLS_WITH_NAPS: usize = 7;

/// The cost of one stack in one case: nanoseconds per call, medians of the rounds.
#[derive(Clone, Debug)]
pub struct Row {
    pub case: &'static str,
    pub stack: &'static str,
    pub ns: f64,
    /// The difference to the bare call of the same round.
    pub added_ns: f64,
    /// The ratio to the difference of the one clone in the same round.
    pub of_one_clone: Option<f64>,
    /// The difference to the bare call.
    pub allocs: f64,
    pub bytes: f64,
}

#[derive(Clone, Default)]
pub struct Samples {
    pub ns: Vec<f64>,
    allocs: Vec<f64>,
    bytes: Vec<f64>,
}

/// Measures one case.
pub fn case(case: &Case, rounds: usize, runtime: &Runtime) -> Vec<Row> {
    let mut entries = case.entries(runtime);
    for entry in &mut entries {
        check(case, entry, runtime);
    }
    let mut samples = vec![Samples::default(); entries.len()];
    for round in 0..rounds + rounds / 10 {
        for i in 0..entries.len() {
            let i = (i + round) % entries.len();
            let mut meter = Meter::new(runtime);
            let calls = calls(case, &mut entries[i], &mut meter);
            if round >= rounds / 10 {
                samples[i].take(&meter, calls);
            }
        }
    }
    rows(case.name, &entries, &samples)
}

fn calls(case: &Case, entry: &mut Entry, meter: &mut Meter<'_>) -> usize {
    let requests = case.requests();
    let segment = case.segment();
    let segments = if entry.naps { CALLS_WITH_NAPS } else { CALLS }.div_ceil(segment);
    for _ in 0..segments {
        entry.subject.fill((0..segment).map(|_| requests.one()).collect());
        entry.subject.run(meter);
        entry.subject.reset();
    }
    segment * segments
}

/// Checks the function of the stack: as many attempts as the script has answers, each with an
/// account's key, another key after a 401, and another model after a 529.
fn check(case: &Case, entry: &mut Entry, runtime: &Runtime) {
    entry.upstream.watch(true);
    entry.subject.fill(vec![case.requests().one()]);
    entry.subject.run(&mut Meter::new(runtime));
    entry.subject.reset();
    let seen = entry.upstream.watch(false);
    let works = !entry.stack.starts_with(BARE) && entry.stack != ONE_CLONE;
    if !works || case.name == "rejected" {
        return;
    }
    let what = format!("{} in {}", entry.stack, case.name);
    assert_eq!(seen.len(), case.script.len(), "{what}");
    let key = |seen: &Seen| seen.headers["authorization"].clone();
    let model = |seen: &Seen| seen.body.windows(9).position(|w| w == b"\"model-1\"").is_none();
    for (i, pair) in seen.windows(2).enumerate() {
        assert!(case.script[i] != 401 || key(&pair[0]) != key(&pair[1]), "{what}");
        assert!(case.script[i] != 529 || model(&pair[1]), "{what}");
    }
    if entry.stack != "tower-retry" {
        assert!(key(&seen[0]).to_str().unwrap().starts_with("Bearer tok-"), "{what}");
    }
}

impl Samples {
    pub fn take(&mut self, meter: &Meter<'_>, calls: usize) {
        let calls = calls as f64;
        self.ns.push(meter.time.as_secs_f64() * 1e9 / calls);
        self.allocs.push(meter.allocs as f64 / calls);
        self.bytes.push(meter.bytes as f64 / calls);
    }
}

/// Returns the medians of `entries`, each round against the bare call of the same round.
pub fn rows(case: &'static str, entries: &[Entry], samples: &[Samples]) -> Vec<Row> {
    let of = |name: &str| {
        let at = entries.iter().position(|entry| entry.stack == name);
        at.map(|at| &samples[at])
    };
    let added = |taken: &Samples, bare: &str| {
        let bare = of(bare).expect("it is in every case");
        minus(&taken.ns, &bare.ns)
    };
    let one_clone = of(ONE_CLONE).map(|taken| added(taken, BARE));
    let row = |(entry, taken): (&Entry, &Samples)| {
        let added = added(taken, entry.bare);
        let shares = one_clone.as_ref().map(|clone| {
            let pairs = added.iter().zip(clone);
            median(pairs.map(|(added, clone)| added / clone))
        });
        let bare = of(entry.bare).expect("it is in every case");
        Row {
            case,
            stack: entry.stack,
            ns: median(taken.ns.iter().copied()),
            added_ns: median(added),
            of_one_clone: shares,
            allocs: median(minus(&taken.allocs, &bare.allocs)),
            bytes: median(minus(&taken.bytes, &bare.bytes)),
        }
    };
    entries.iter().zip(samples).map(row).collect()
}

fn minus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
