//! The command line.

/// The text of `--help`.
pub(crate) const HELP: &str = "\
Ten thousand concurrent requests over real sockets, with all kinds of failures.

cargo run --release --example soak -- [OPTIONS]

  --requests N  requests, all in flight together, in each of three rounds (10000)
  --accounts K  accounts in the pool (50)
  --seed S      another run: other requests, failures and times (1)
  --json        one JSON object
  --help        this text

The first two rounds warm up; the figures are of the last one.

  requests             requests that were made
  ok                   answered with a 2xx and its whole body
  failed               ended with an error, or with another status
  reports              failed requests that were reported
  incidents            tokens that the pool reported to be out
  sends_after_refusal  sends of a token that began after that report, except
                       the pool's one probe at the end of the quarantine; and
                       sends of a token that the same request saw rejected
  hung                 requests that did not end
  rss_before           bytes in memory after the warm-up, null without /proc
  rss_after            and after the last round

Requests that are neither ok nor failed were dropped by their caller, or cut in
the body of a 2xx.

Exit code: 0; 1 if a guarantee is broken; 2 for bad arguments.
";

/// The size of the run, and the format of the output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Concurrent requests.
    pub(crate) requests: u64,
    /// Accounts in the pool.
    pub(crate) accounts: usize,
    /// The seed of all random numbers.
    pub(crate) seed: u64,
    /// Whether to print JSON.
    pub(crate) json: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { requests: 10_000, accounts: 50, seed: 1, json: false }
    }
}

impl Options {
    /// Parses the arguments. `None` asks for help; an error is a message for the user.
    pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self::default();
        let mut args = args.into_iter();
        while let Some(name) = args.next() {
            match name.as_str() {
                "--requests" => options.requests = number(&name, args.next(), 100..=100_000)?,
                "--accounts" => {
                    let accounts = number(&name, args.next(), 2..=1000)?;
                    options.accounts = usize::try_from(accounts).unwrap_or(usize::MAX);
                }
                "--seed" => options.seed = number(&name, args.next(), 0..=u64::MAX)?,
                "--json" => options.json = true,
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("unknown argument {name:?}")),
            }
        }
        Ok(Some(options))
    }
}

fn number(
    name: &str,
    value: Option<String>,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u64, String> {
    let value = value.ok_or_else(|| format!("{name} needs a number"))?;
    let (low, high) = (range.start(), range.end());
    match value.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("{name} needs a number from {low} to {high}, not {value:?}")),
    }
}
