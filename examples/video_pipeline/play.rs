//! Runs the film in two acts, each with an incident.

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

/// The account whose token expires in the first act.
pub(crate) const EXPIRES: &str = "bob";
/// The account that is revoked before the second act.
pub(crate) const REVOKED: &str = "carol";

/// The pause between two rounds of polls, for a person who watches.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);
/// More rounds than are needed.
const MOST_ROUNDS: usize = 10;

/// Makes a film with this number of scenes, with a pause between two rounds of polls.
pub(crate) async fn run(scenes: usize, pause: Duration) -> Result<Figures, Error> {
    let server = VideoApi::start(&logins()).await?;
    let recorded = Arc::new(Mutex::new(Told::default()));
    let reporter = reporter(recorded.clone());
    let pool = accounts::pool(&server.url(), &logins(), reporter.clone())?;
    let mut film = Film::new(accounts::client(pool, reporter)?, server.url());
    let first = scenes - (scenes / 4).max(3);

    // The first act. All polls of one account meet the expiry of its token at the same time.
    for scene in 1..=first {
        film.create(scene).await?;
    }
    let open = server.desk.expire(EXPIRES);
    film.round().await?;

    // The second act. The first request with the revoked account discovers it.
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

    let Told { lines, local } = recorded.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let counts = desk::Counts { reports: lines.len(), ..server.desk.counts() };
    let together = server.desk.together();
    let Film { videos, lost, .. } = film;
    Ok(Figures { scenes, counts, open, together, videos, lost, lines, local })
}

/// Returns three accounts, each with its own project.
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

/// The recorded events.
#[derive(Clone, Default)]
struct Told {
    /// Events at level warn or above, which a log shows.
    lines: Vec<String>,
    /// Requests that were answered without a call, because the account was known to be out. They are
    /// reported at level debug: the incident was reported when it occurred.
    local: usize,
}

fn reporter(recorded: Arc<Mutex<Told>>) -> ReporterHandle {
    ReporterHandle::new(move |event: &Event| {
        let mut recorded = recorded.lock().unwrap_or_else(PoisonError::into_inner);
        if event.severity() >= Severity::Warn {
            recorded.lines.push(event.to_string());
        } else {
            recorded.local += usize::from(event.is_failure());
        }
    })
}
