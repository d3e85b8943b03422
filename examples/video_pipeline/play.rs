//! The film is made in two acts, and something happens in each.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tower_failover::{
    Event,
    report::{ReporterHandle, Severity},
};

use super::{
    accounts::{self, Error, Login},
    desk,
    figures::Figures,
    film::Film,
    server::VideoApi,
};

/// Its token expires in the first act.
pub(crate) const EXPIRES: &str = "bob";
/// It is revoked before the second.
pub(crate) const REVOKED: &str = "carol";

/// Between two rounds of polls, where somebody watches.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);
/// More than it takes.
const MOST_ROUNDS: usize = 10;

/// Makes a film of so many scenes, with a pause between two rounds of polls.
pub(crate) async fn run(scenes: usize, pause: Duration) -> Result<Figures, Error> {
    let server = VideoApi::start(&logins()).await?;
    let told = Arc::new(Mutex::new(Told::default()));
    let reporter = reporter(told.clone());
    let pool = accounts::pool(&server.url(), &logins(), reporter.clone())?;
    let mut film = Film::new(accounts::client(pool, reporter)?, server.url());
    let first = scenes - (scenes / 4).max(3);

    // The first act. All polls of one account meet the end of its token at the same time.
    for scene in 1..=first {
        film.create(scene).await?;
    }
    let open = server.desk.expire(EXPIRES);
    film.round().await?;

    // The second act. The first scene that the revoked account should make finds it out.
    server.desk.revoke(REVOKED);
    for scene in first + 1..=scenes {
        film.create(scene).await?;
    }
    for _ in 0..MOST_ROUNDS {
        if film.working.is_empty() {
            break;
        }
        film.round().await?;
        tokio::time::sleep(pause).await;
    }

    let Told { lines, local } = told.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let counts = desk::Counts { reports: lines.len(), ..server.desk.counts() };
    let together = server.desk.together();
    let Film { videos, lost, .. } = film;
    Ok(Figures { scenes, counts, open, together, videos, lost, lines, local })
}

/// Three accounts, each with a project of its own.
pub(crate) fn logins() -> Vec<Login> {
    let each = [("alice", "film-alice"), (EXPIRES, "film-bob"), (REVOKED, "film-carol")];
    let each = each.into_iter().map(|(account, project)| Login {
        account,
        project,
        token: desk::token(account, 1),
        refresh_token: format!("refresh-token-of-{account}"),
    });
    each.collect()
}

/// What the reporter was told.
#[derive(Clone, Default)]
struct Told {
    /// At level warn or above: what a log shows.
    lines: Vec<String>,
    /// Requests that were answered without a call, because the account was known to be out. They are
    /// told at level debug: the incident behind them was told when it happened.
    local: usize,
}

fn reporter(told: Arc<Mutex<Told>>) -> ReporterHandle {
    ReporterHandle::new(move |event: &Event| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if event.severity() >= Severity::Warn {
            told.lines.push(event.to_string());
        } else {
            told.local += usize::from(event.is_failure());
        }
    })
}
