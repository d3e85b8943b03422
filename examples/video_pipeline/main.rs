//! Videos that belong to the account that made them: three accounts on one API, one token that
//! expires and one account that is revoked on the way.
//!
//! ```text
//! cargo run --example video_pipeline
//! cargo run --example video_pipeline -- --scenes 96 --json
//! ```
//!
//! | file | what is in it |
//! | --- | --- |
//! | `accounts.rs` | **start here**: the accounts, where their tokens come from, and the client |
//! | `film.rs` | **and go on here**: create, poll, download, and make again what is lost |
//! | `play.rs` | lets a token expire and revokes an account on the way |
//! | `figures.rs` | what is promised of it, and what is written |
//! | `desk.rs`, `server.rs` | what the API knows and counts, and its socket |
//! | `options.rs` | the command line |

mod accounts;
mod desk;
mod figures;
mod film;
mod options;
mod play;
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
            eprintln!("video_pipeline: {message}\nTry --help.");
            return ExitCode::from(2);
        }
    };
    let figures = match play::run(options.scenes, play::PAUSE).await {
        Ok(figures) => figures,
        Err(error) => {
            eprintln!("video_pipeline: {error}");
            return ExitCode::FAILURE;
        }
    };
    let written = write(&if options.json { figures.json() } else { figures.person() });
    let broken = figures.broken();
    if broken.is_empty() {
        return written;
    }
    for promise in broken {
        eprintln!("video_pipeline: {promise}");
    }
    ExitCode::FAILURE
}

/// Unlike `print!`, does not panic when the reader has gone (`| head`).
fn write(text: &str) -> ExitCode {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
