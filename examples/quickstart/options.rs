//! The command line.

/// The text of `--help`.
pub(crate) const HELP: &str = "\
The cost of failures: with a naive retry in three levels, and with tower-failover.

cargo run --example quickstart -- [OPTIONS]

  --scenes N    scenes to make (3); scenario 3 makes at least 2: one before and
                one after the token is replaced
  --models M    models, best first (2)
  --accounts K  accounts, the first one dead in scenario 2, all valid from 4 on (2)
  --dead D      dead tokens in scenario 1 (1)
  --copies C    copies of each scene (1)
  --json        one JSON object a line
  --help        this text

Each number is from 1 to 1000. In each scenario both clients make the same scenes,
each on a server of its own:

  1  D dead tokens, and no other token. Naive: M calls at level 1 and C x M at level 3
     for each scene. Here: one call for each token, at most 3 for one scene.
  2  K accounts, the first one dead. The naive retry has the same list, and uses
     only its first token.
  3  One dead token, replaced at run time, before the last scene.
  4  The first model is overloaded. Both use the second one; here the answer
     names it.
  5  The server is busy for a second: 503, Retry-After: 1. The naive retry does not
     wait. (The clock is advanced, so you do not wait either.)
  6  Every answer is 503. Naive: M + C x M calls for each scene. Here: each model once, at
     most 4 calls for one scene, and 2 retries for the whole film.
  7  The first answer is lost after the work was done. The naive retry has the work
     done, and billed, again.

Exit code: 0; 1 if a result is not the expected one; 2 for bad arguments.
";

/// The size of the scenarios, and the format of the output.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Scenes to make.
    pub(crate) scenes: usize,
    /// Models, best first.
    pub(crate) models: usize,
    /// Accounts in scenario 2, and from 4 on.
    pub(crate) accounts: usize,
    /// Dead tokens in scenario 1.
    pub(crate) dead: usize,
    /// Copies of each scene.
    pub(crate) copies: usize,
    /// Whether to print JSON.
    pub(crate) json: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { scenes: 3, models: 2, accounts: 2, dead: 1, copies: 1, json: false }
    }
}

impl Options {
    /// Parses the arguments. `None` asks for help; an error is a message for the user.
    pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self::default();
        let mut args = args.into_iter();
        while let Some(name) = args.next() {
            let number = match name.as_str() {
                "--scenes" => &mut options.scenes,
                "--models" => &mut options.models,
                "--accounts" => &mut options.accounts,
                "--dead" => &mut options.dead,
                "--copies" => &mut options.copies,
                "--json" => {
                    options.json = true;
                    continue;
                }
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("unknown argument {name:?}")),
            };
            let value = args.next().ok_or_else(|| format!("{name} needs a number"))?;
            *number = match value.parse() {
                Ok(value @ 1..=1000) => value,
                _ => return Err(format!("{name} needs a number from 1 to 1000, not {value:?}")),
            };
        }
        Ok(Some(options))
    }
}
