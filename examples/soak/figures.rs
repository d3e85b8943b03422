//! The printed figures.

use std::fmt::Write as _;

use serde::Serialize;

use super::{book::Sums, options::Options};

/// The figures of a round.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Figures {
    pub(crate) requests: u64,
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    pub(crate) reports: u64,
    pub(crate) incidents: u64,
    pub(crate) sends_after_refusal: u64,
    pub(crate) hung: u64,
    pub(crate) rss_before: Option<u64>,
    pub(crate) rss_after: Option<u64>,
    /// Further figures for a person.
    #[serde(skip)]
    pub(crate) cut: u64,
    #[serde(skip)]
    pub(crate) dropped: u64,
    #[serde(skip)]
    pub(crate) sums: Sums,
    #[serde(skip)]
    pub(crate) seconds: f64,
    /// The faults.
    #[serde(skip)]
    pub(crate) broken: Vec<String>,
}

impl Figures {
    /// Returns one object.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// Returns a text for a person.
    pub(crate) fn person(&self, options: &Options) -> String {
        let megabytes = |bytes: Option<u64>| match bytes {
            Some(bytes) => format!("{} MiB", bytes >> 20),
            None => "unknown".to_owned(),
        };
        let mut text = format!(
            "{} concurrent requests, {} accounts, seed {}: {:.1} s\n\n",
            self.requests, options.accounts, options.seed, self.seconds
        );
        let rows = [
            ("ok", self.ok.to_string()),
            ("failed", format!("{}, {} of them reported", self.failed, self.reports)),
            (
                "dropped",
                format!("{}, {} after a failed attempt", self.dropped, self.sums.abandoned),
            ),
            ("answers cut", self.cut.to_string()),
            ("recovered", self.sums.recovered.to_string()),
            ("hung", self.hung.to_string()),
            ("sends", format!("{}, {} of them rejected", self.sums.sends, self.sums.rejected)),
            ("incidents", self.incidents.to_string()),
            (
                "sends after",
                format!("{} with a token that was known to be rejected", self.sends_after_refusal),
            ),
            (
                "probes",
                format!("{}, {} of them healed an account", self.sums.probes, self.sums.healed),
            ),
            (
                "memory",
                format!("{}, before {}", megabytes(self.rss_after), megabytes(self.rss_before)),
            ),
        ];
        for (name, figure) in rows {
            let _ = writeln!(text, "  {name:<13}{figure}");
        }
        text
    }
}
