//! Ten thousand concurrent requests over real sockets, while tokens are revoked, limited and
//! replaced, answers are cut and requests are dropped. The guarantees are checked, and one that is
//! broken is exit code 1.
//!
//! ```text
//! cargo run --release --example soak
//! cargo run --release --example soak -- --seed 7 --json
//! ```
//!
//! | file | content |
//! | --- | --- |
//! | `stand.rs` | the pool, the clients and the server, and one round of requests |
//! | `ask.rs` | one request, and its end for the caller |
//! | `meter.rs` | stands below the layer, and records each send and each answer |
//! | `book.rs` | the record of sends and events, and **the guarantees that are checked on it** |
//! | `operator.rs` | revokes, limits and replaces tokens, and cuts connections |
//! | `desk.rs`, `server.rs` | the state of the tokens on the server, and its sockets |
//! | `figures.rs`, `options.rs`, `memory.rs` | the output, the command line, the memory |

mod ask;
mod book;
mod desk;
mod figures;
mod memory;
mod meter;
mod operator;
mod options;
mod server;
mod stand;
mod token;

use std::{
    io::{self, Write as _},
    process::{ExitCode, exit},
    sync::mpsc,
    thread,
    time::Duration,
};

use figures::Figures;
use options::{HELP, Options};
use stand::Stand;

/// Any error of the example itself.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// Rounds before the counted one, after which the memory of the allocator is stable.
const WARM_UP: u64 = 2;
/// More than the time limits of all rounds: a program that still runs spins or is deadlocked.
const WATCHDOG: Duration = Duration::from_secs(200);

fn main() -> ExitCode {
    let args = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned());
    let options = match Options::parse(args) {
        Ok(Some(options)) => options,
        Ok(None) => return write(HELP),
        Err(message) => {
            eprintln!("soak: {message}\nTry --help.");
            return ExitCode::from(2);
        }
    };
    let watched = watch(&options);
    let figures = match run(&options) {
        Ok(figures) => figures,
        Err(error) => {
            eprintln!("soak: {error}");
            return ExitCode::FAILURE;
        }
    };
    drop(watched);
    let text = if options.json { figures.json() } else { figures.person(&options) };
    let written = write(&text);
    if figures.broken.is_empty() {
        return written;
    }
    for promise in &figures.broken {
        eprintln!("soak: {promise}");
    }
    ExitCode::FAILURE
}

/// Runs the rounds to warm up, and the counted one, with the same pool, clients and server.
#[tokio::main]
async fn run(options: &Options) -> Result<Figures, Error> {
    let stand = Stand::start(options).await?;
    let mut broken = Vec::new();
    for round in 1..=WARM_UP {
        let warm = stand.round(options.seed.wrapping_add(round)).await?;
        broken.extend(warm.broken.into_iter().map(|promise| format!("warm-up {round}: {promise}")));
    }
    let rss_before = memory::resident();
    let mut figures = stand.round(options.seed).await?;
    (figures.rss_before, figures.rss_after) = (rss_before, memory::resident());
    figures.broken.extend(memory::grown(rss_before, figures.rss_after));
    figures.broken.extend(broken);
    Ok(figures)
}

/// Ends the process after [`WATCHDOG`], unless the returned value is dropped before.
fn watch(options: &Options) -> mpsc::Sender<()> {
    let (watched, over) = mpsc::channel();
    let (json, requests) = (options.json, options.requests);
    thread::spawn(move || {
        if over.recv_timeout(WATCHDOG) == Err(mpsc::RecvTimeoutError::Timeout) {
            if json {
                write(&Figures { requests, hung: requests, ..Figures::default() }.json());
            }
            eprintln!("soak: the program has not ended within {WATCHDOG:?}");
            exit(1);
        }
    });
    watched
}

/// Writes to standard output. Unlike `print!`, does not panic if the pipe is closed (`| head`).
fn write(text: &str) -> ExitCode {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
