//! The results, their expected values, and the output.

use std::{collections::BTreeMap, fmt::Write as _};

use bytes::Bytes;
use tower_failover::{Code, ServedBy};

use super::{
    desk::{self, Counts},
    film::Job,
    play::{EXPIRES, REVOKED},
};

/// The results of a run.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// Requested scenes.
    pub(crate) scenes: usize,
    pub(crate) counts: Counts,
    /// Unfinished scenes of the account whose token expired.
    pub(crate) open: usize,
    /// Requests that met the expired token together.
    pub(crate) together: usize,
    /// The downloaded videos.
    pub(crate) videos: Vec<(Job, Bytes)>,
    /// The jobs that were lost with the revoked account, and the codes.
    pub(crate) lost: Vec<(Job, Code)>,
    /// Events at level warn or above.
    pub(crate) lines: Vec<String>,
    /// Requests that were answered without a call.
    pub(crate) local: usize,
}

impl Figures {
    /// Describes each result that is not the expected one.
    pub(crate) fn broken(&self) -> Vec<String> {
        let Self { scenes, counts, open, together, videos, lost, local, .. } = self;
        let mut broken = Vec::new();
        let mut expect = |name: &str, expected: usize, got: usize| {
            if expected != got {
                broken.push(format!("expected {expected} {name}, but got {got}"));
            }
        };
        expect("scenes requested", *scenes, counts.scenes);
        expect("scenes made", *scenes, counts.made);
        expect("videos downloaded", *scenes, counts.downloaded);
        expect("videos downloaded with their owner", *scenes, counts.downloaded_with_owner);
        expect("requests with an expired token", *open, *together);
        expect("refreshes", 1, counts.refreshes);
        expect("sends after a rejection", 0, counts.sends_after_refusal);
        expect("reports", 1, counts.reports);
        // The results of the program agree with those of the server.
        let right = videos.iter().filter(|(job, video)| *video == desk::video(job.scene));
        let mut numbers: Vec<usize> = right.map(|(job, _)| job.scene).collect();
        numbers.sort_unstable();
        numbers.dedup();
        expect("different scenes in the film", *scenes, numbers.len());
        expect("lost scenes", 1, lost.len().min(1));
        expect("polls answered without a call", lost.len(), *local);
        broken
    }

    /// Returns one object, on one line.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(&self.counts).unwrap_or_default() + "\n"
    }

    pub(crate) fn person(&self) -> String {
        let Self { scenes, counts, together, lost, lines, local, .. } = self;
        let again = self.again();
        let mut text = format!(
            "A film of {scenes} scenes, made by three accounts in turn; each polls and downloads its own.\n\
             \n\
             The token of {EXPIRES} expires: {together} polls meet that together, and {} refresh serves them all.\n\
             {REVOKED} is revoked: {} unfinished scenes are lost with it, and made again by others ({}).\n\
             No other account is used to poll them: {local} polls are answered without a call ({}).\n\
             \n\
             Scenes by account (* made again):\n",
            counts.refreshes,
            lost.len(),
            tally(again.iter().map(|job| &job.by)),
            lost.first().map_or("", |(_, code)| code.as_str()),
        );
        for (account, jobs) in by_account(self.jobs()) {
            let scene = |job: &&Job| {
                let mark =
                    if again.iter().any(|other| other.scene == job.scene) { "*" } else { "" };
                format!("{}{mark}", job.scene)
            };
            let scenes: Vec<String> = jobs.iter().map(scene).collect();
            let _ = writeln!(text, "  {account:<6} {:>3}: {}", jobs.len(), scenes.join(" "));
        }
        let _ = writeln!(text, "\nReported:");
        for line in lines {
            let _ = writeln!(text, "  {line}");
        }
        let _ = writeln!(text, "\nCounted by the server, and the reports by the reporter:");
        let counted = serde_json::to_value(counts).unwrap_or_default();
        for (name, n) in counted.as_object().into_iter().flatten() {
            let _ = writeln!(text, "  {:<22}{n:>4}", name.replace('_', " "), n = n.to_string());
        }
        text
    }

    fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.videos.iter().map(|(job, _)| job)
    }

    /// Returns the jobs that were made again, with the account that made them at last.
    fn again(&self) -> Vec<&Job> {
        let was_lost = |job: &&Job| self.lost.iter().any(|(lost, _)| lost.scene == job.scene);
        self.jobs().filter(was_lost).collect()
    }
}

fn by_account<'a>(jobs: impl Iterator<Item = &'a Job>) -> BTreeMap<&'a str, Vec<&'a Job>> {
    let mut by: BTreeMap<&str, Vec<&Job>> = BTreeMap::new();
    for job in jobs {
        by.entry(account(&job.by)).or_default().push(job);
    }
    for jobs in by.values_mut() {
        jobs.sort_unstable_by_key(|job| job.scene);
    }
    by
}

/// Returns the number for each account, such as `alice 3, bob 3`.
fn tally<'a>(served: impl Iterator<Item = &'a ServedBy>) -> String {
    let mut by: BTreeMap<&str, usize> = BTreeMap::new();
    for served in served {
        *by.entry(account(served)).or_default() += 1;
    }
    let each: Vec<String> = by.iter().map(|(account, n)| format!("{account} {n}")).collect();
    each.join(", ")
}

fn account(by: &ServedBy) -> &str {
    by.account.as_deref().unwrap_or("none")
}
