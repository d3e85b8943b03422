//! The cost of failures: with a naive retry in three levels, and with tower-failover.
//!
//! ```text
//! cargo run --example quickstart
//! cargo run --example quickstart -- --scenes 5 --models 3 --accounts 4 --json
//! ```
//!
//! | file | content |
//! | --- | --- |
//! | `failover.rs` | **start here**: the client of a program |
//! | `naive.rs` | the retry that this crate replaces |
//! | `job.rs` | the work that both do |
//! | `server.rs` | a video API on a local socket |
//! | `scenes.rs` | the scenarios, and their expected results |
//! | `play.rs` | runs them, and counts |
//! | `options.rs`, `print.rs` | the command line, and the output |

mod failover;
mod job;
mod naive;
mod options;
mod play;
mod print;
mod scenes;
mod server;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use options::{HELP, Options};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned());
    let options = match Options::parse(args) {
        Ok(Some(options)) => options,
        Ok(None) => return write(HELP),
        Err(message) => {
            eprintln!("quickstart: {message}\nTry --help.");
            return ExitCode::from(2);
        }
    };
    let rounds = match play::run(&options).await {
        Ok(rounds) => rounds,
        Err(error) => {
            eprintln!("quickstart: {error}");
            return ExitCode::FAILURE;
        }
    };
    let text = if options.json { print::json(&rounds) } else { print::person(&rounds, &options) };
    let written = write(&text);
    let broken = print::broken(&rounds);
    if broken.is_empty() {
        return written;
    }
    eprint!("{broken}");
    ExitCode::FAILURE
}

/// Writes to standard output. Unlike `print!`, does not panic if the pipe is closed (`| head`).
fn write(text: &str) -> ExitCode {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
