//! Videos that belong to the account that made them: three accounts of one API, of which one has a
//! token that expires, and one is revoked.
//!
//! ```text
//! cargo run --example video_pipeline
//! cargo run --example video_pipeline -- --scenes 96 --json
//! ```
//!
//! | file | content |
//! | --- | --- |
//! | `accounts.rs` | **start here**: the accounts, the sources of their tokens, and the client |
//! | `film.rs` | **continue here**: creates, polls and downloads scenes, and makes lost ones again |
//! | `play.rs` | runs the film, lets a token expire and revokes an account |
//! | `figures.rs` | the expected results, and the output |
//! | `desk.rs`, `server.rs` | the state of the API, and its socket |
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

/// Writes to standard output. Unlike `print!`, does not panic if the pipe is closed (`| head`).
fn write(text: &str) -> ExitCode {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
