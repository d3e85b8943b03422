//! tower-failover beside its peers: one process, one run, the same requests.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- [options]
//!
//! --json            one object a line instead of the table
//! --check           fail when a bar for allocations is missed (bars for times are printed only)
//! --rounds <n>      interleaved rounds (300)
//! --case <name>     only this case
//! --socket          requests per second over a loopback socket instead
//! --loop <stack>    only this stack, in the case given, 1000 calls a round: for a profiler
//! ```
//!
//! All stacks answer the same requests (`POST`, 8 headers, JSON) through the same upstream in this
//! process, one after the other within each round. A figure is the median of the rounds;
//! differences are taken to the bare call *of the same round*. Requests are built before the timing
//! starts; dropping them is timed. Stacks over reqwest are compared with a plain reqwest client.
//! There are no waits between attempts.

#![allow(clippy::disallowed_methods)] // The crate reads tokio's clock; a stopwatch reads the real clock.

mod bars;
mod cases;

mod count;
mod measure;
mod requests;
mod rounds;
mod selection;
mod socket;
mod stacks;
mod table;
mod threads;
mod upstream;

use std::process::ExitCode;

use tokio::runtime::Runtime;

struct Args {
    json: bool,
    check: bool,
    socket: bool,
    rounds: usize,
    case: Option<String>,
    only: Option<String>,
}

fn main() -> ExitCode {
    let args = match Args::read() {
        Ok(args) => args,
        Err(what) => {
            eprintln!("{what}");
            return ExitCode::FAILURE;
        }
    };
    if args.socket {
        socket::run();
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _context = runtime.enter();
    if let Some(stack) = &args.only {
        endless(&args, stack, &runtime);
        return ExitCode::SUCCESS;
    }
    let (rows, slower) = measure(&args, &runtime);
    let bars = bars::bars(&rows, &slower);
    if args.json {
        // The baseline of the reqwest stacks is not a stack itself.
        let named = rows.iter().filter(|row| row.stack != cases::BARE_REQWEST);
        named.for_each(|row| println!("{}", table::json(row)));
    } else {
        table::table(&rows);
        table::slower(&slower);
        table::bars(&bars);
    }
    let missed = bars.iter().any(|bar| bar.exact && bar.is_met() == Some(false));
    if args.check && missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

type Measured = (Vec<rounds::Row>, Vec<(&'static str, f64)>);

fn measure(args: &Args, runtime: &Runtime) -> Measured {
    let wanted = |name: &str| args.case.as_deref().is_none_or(|case| case == name);
    let mut rows = Vec::new();
    for case in cases::CASES.iter().filter(|case| wanted(case.name)) {
        rows.extend(rounds::case(case, args.rounds, runtime));
    }
    if ["choose-1", "choose-100000", "choose-100000-sparse"].into_iter().any(wanted) {
        rows.extend(selection::rows(args.rounds));
    }
    let mut slower = Vec::new();
    if wanted(cases::TWO_THREADS.name) {
        let (two, by) = threads::rows(args.rounds, runtime);
        rows.extend(two);
        slower = by;
    }
    (rows, slower)
}

fn endless(args: &Args, stack: &str, runtime: &Runtime) {
    let name = args.case.as_deref().unwrap_or("ok");
    let case = cases::CASES.iter().find(|case| case.name == name).expect("no such case");
    let mut entries = case.entries(runtime);
    let entry = entries.iter_mut().find(|entry| entry.stack == stack).expect("no such stack");
    let (requests, segment) = (case.requests(), case.segment());
    let mut meter = measure::Meter::new(runtime);
    let segments = args.rounds * 1000 / segment;
    for _ in 0..segments {
        entry.subject.fill((0..segment).map(|_| requests.one()).collect());
        entry.subject.run(&mut meter);
        entry.subject.reset();
    }
    println!("{:.1} ns", meter.time.as_secs_f64() * 1e9 / (segments * segment) as f64);
}

impl Args {
    fn read() -> Result<Self, String> {
        let mut all =
            Self { json: false, check: false, socket: false, rounds: 300, case: None, only: None };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value"));
            match arg.as_str() {
                "--json" => all.json = true,
                "--check" => all.check = true,
                "--socket" => all.socket = true,
                "--rounds" => {
                    all.rounds = value()?.parse().map_err(|_| "--rounds needs a number")?;
                }
                "--case" => all.case = Some(value()?),
                "--loop" => all.only = Some(value()?),
                other => return Err(format!("unknown option {other}; see src/main.rs")),
            }
        }
        Ok(all)
    }
}
