//! A token out of a file.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use zeroize::Zeroizing;

use super::{
    error::SourceError,
    token::Token,
    token_source::{RefreshReason, TokenFuture, TokenSource},
};
use crate::classify::Reason;

/// A token out of a file that others write, such as a projected service account token, without the
/// white space around it.
///
/// 1. It is looked at again every [10 s](Self::check_every), and after each refusal.
/// 2. A file that is changed while it is read is read again; one that stays empty, too large (64 KiB)
///    or not UTF-8 is a transient failure, and the token there is stays in use.
/// 3. It is read where blocking is allowed (`tokio::task::spawn_blocking`).
///
/// [`TokenSource`] has an example.
#[derive(Clone, Debug)]
pub struct FileToken {
    path: Arc<Path>,
    every: Duration,
}

/// The longest token that is read, in bytes.
const MAX_LENGTH: u64 = 64 * 1024;
/// How often a file is read that changes meanwhile.
const MAX_READS: usize = 3;

impl FileToken {
    /// The token in the file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into().into(), every: Duration::from_secs(10) }
    }

    /// How often the file is looked at while its token is in use. Every 10 s by default.
    #[must_use]
    pub const fn check_every(mut self, time: Duration) -> Self {
        self.every = time;
        self
    }
}

impl TokenSource for FileToken {
    fn token(&self, _: RefreshReason) -> TokenFuture<'_> {
        let path = Arc::clone(&self.path);
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || read(&path)).await;
            let text = read.unwrap_or_else(|error| Err(io::Error::other(error)));
            let text = text.map_err(|error| {
                let kind = error.kind();
                let what = format!("the token file {} is not read: {kind}", self.path.display());
                SourceError::transient(what).with_source(error)
            })?;
            Ok(Token::new(text.trim()).refresh_in(self.every))
        })
    }

    /// Whatever was refused, and why: others write the file.
    fn can_renew_after(&self, _: Reason) -> bool {
        true
    }
}

/// What the file holds, once it has held still for as long as it was read.
fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    let mut before = state(path)?;
    for _ in 0..MAX_READS {
        let text = read_once(path)?;
        let after = state(path)?;
        if before == after && !text.trim().is_empty() {
            return Ok(text);
        }
        before = after;
    }
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is empty, or changes while it is read"))
}

fn read_once(path: &Path) -> io::Result<Zeroizing<String>> {
    // Room for all of it at once: what a string leaves behind when it grows is not wiped.
    let mut text =
        Zeroizing::new(String::with_capacity(usize::try_from(MAX_LENGTH).unwrap_or(0) + 1));
    fs::File::open(path)?.take(MAX_LENGTH + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_LENGTH {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large for a token"));
    }
    Ok(text)
}

fn state(path: &Path) -> io::Result<(u64, Option<SystemTime>)> {
    let state = fs::metadata(path)?;
    Ok((state.len(), state.modified().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        path
    }

    #[tokio::test]
    async fn a_file_is_read_anew_and_a_torn_one_is_a_passing_failure() {
        let path = file("token-anew");
        let source = FileToken::new(&path);
        let missing = source.token(RefreshReason::First).await.unwrap_err();
        assert!(!missing.is_terminal(), "{missing}");
        fs::write(&path, "first\n").unwrap();
        assert_eq!(source.token(RefreshReason::First).await.unwrap().expose(), "first");
        // Somebody has just emptied it to write it anew.
        fs::write(&path, "\n").unwrap();
        assert!(!source.token(RefreshReason::Expiring).await.unwrap_err().is_terminal());
        fs::write(&path, "second").unwrap();
        let token = source.token(RefreshReason::Expiring).await.unwrap();
        assert_eq!((token.expose(), token.refresh_in), ("second", Some(Duration::from_secs(10))));
        fs::remove_file(path).unwrap();
    }

    #[tokio::test]
    async fn what_is_no_token_is_not_shown() {
        let path = file("token-rubbish");
        for rubbish in [vec![b'x'; 70_000], vec![0xff; 20]] {
            fs::write(&path, rubbish).unwrap();
            let error = FileToken::new(&path).token(RefreshReason::First).await.unwrap_err();
            assert!(!error.is_terminal());
            assert!(!format!("{error} {error:?}").contains("xxx"));
        }
        fs::remove_file(path).unwrap();
    }
}
