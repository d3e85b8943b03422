//! The command line.

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Ten thousand requests at once, over real sockets, while things go wrong.

cargo run --release --example soak -- [OPTIONS]

  --requests N  requests, all in flight together, in each of three rounds (10000)
  --accounts K  accounts in the pool (50)
  --seed S      another run: which requests, what goes wrong and when (1)
  --json        one JSON object
  --help        this text

The first two rounds warm up; the figures are of the last one.

  requests             what was asked for
  ok                   answered with 2xx, and the whole body came
  failed               ended with an error, or with another status
  reports              failed requests that were told of
  incidents            tokens that the pool told to be out
  sends_after_refusal  sends of a token that began after that was told, the
                       pool's one probe when the time is up excepted; and sends
                       of a token to whose refusal the same request was answered
  hung                 requests that did not end
  rss_before           bytes in memory after the warm-up, null without /proc
  rss_after            and after the last round

What is neither ok nor failed was dropped by its caller, or cut in the body of
a good answer.

Exit code: 0; 1 when something promised does not hold; 2 for bad arguments.
";

/// What is run, and how it is printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// How many requests are in flight together.
    pub(crate) requests: u64,
    /// Accounts in the pool.
    pub(crate) accounts: usize,
    /// Of everything random.
    pub(crate) seed: u64,
    /// For machines.
    pub(crate) json: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { requests: 10_000, accounts: 50, seed: 1, json: false }
    }
}

impl Options {
    /// `None` when only help is wanted; the message says what is wrong.
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
