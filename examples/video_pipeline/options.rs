//! The command line.

/// The text of `--help`.
pub(crate) const HELP: &str = "\
Videos that belong to the account that made them: three accounts on one API, one
token that expires and one account that is revoked on the way.

cargo run --example video_pipeline -- [OPTIONS]

  --scenes N  scenes of the film, from 6 to 300 (48)
  --json      one JSON object: what the server has counted
  --help      this text

The members of the object:

  scenes                 different scenes that were asked for
  made                   scenes that were finished
  downloaded             finished videos that were fetched
  downloaded_with_owner  those fetched with the account that made them
  refreshes              tokens that were given for a refresh token
  sends_after_refusal    requests that came in with a token after the server had
                         answered 401 to it
  reports                what the reporter was told at level warn or above

Exit code: 0; 1 when something did not come out as promised; 2 for bad arguments.
";

/// The size of the film, and the format of the output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Scenes of the film.
    pub(crate) scenes: usize,
    /// Whether to print JSON.
    pub(crate) json: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { scenes: 48, json: false }
    }
}

impl Options {
    /// Parses the arguments. `None` asks for help; an error is a message for the user.
    pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self::default();
        let mut args = args.into_iter();
        while let Some(name) = args.next() {
            match name.as_str() {
                "--scenes" => {
                    let value = args.next().ok_or("--scenes needs a number")?;
                    options.scenes = match value.parse() {
                        Ok(scenes @ 6..=300) => scenes,
                        _ => {
                            return Err(format!(
                                "--scenes needs a number from 6 to 300, not {value:?}"
                            ));
                        }
                    };
                }
                "--json" => options.json = true,
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("unknown argument {name:?}")),
            }
        }
        Ok(Some(options))
    }
}
