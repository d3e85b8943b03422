//! A token from a file.

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

/// A token from a file that another program writes, such as a projected service account token,
/// without the white space around it.
///
/// 1. The file is read again every [10 s](Self::check_every), and after each rejection.
/// 2. A file that changes while it is read is read again. A file that is empty, larger than 64 KiB or
///    not UTF-8 is a transient failure, and the current token stays in use.
/// 3. The file is read in `tokio::task::spawn_blocking`.
#[derive(Clone, Debug)]
pub struct FileToken {
    path: Arc<Path>,
    every: Duration,
}

/// The largest token file, in bytes.
const MAX_LENGTH: u64 = 64 * 1024;
/// The number of reads of a file that changes meanwhile.
const MAX_READS: usize = 3;

impl FileToken {
    /// Reads the token from the file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into().into(), every: Duration::from_secs(10) }
    }

    /// Sets how often the file is read while its token is in use (10 s).
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

    /// Returns `true` for every reason: the file may be changed from outside.
    fn can_renew_after(&self, _: Reason) -> bool {
        true
    }
}

/// Reads the file, and again if it changed during the read.
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
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is empty, or changed while it was read"))
}

fn read_once(path: &Path) -> io::Result<Zeroizing<String>> {
    // The whole capacity at once, because a string that grows leaves copies that are not wiped.
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
    async fn file_is_read_again_and_an_empty_one_is_a_transient_failure() {
        let path = file("token-anew");
        let source = FileToken::new(&path);
        let missing = source.token(RefreshReason::First).await.unwrap_err();
        assert!(!missing.is_terminal(), "{missing}");
        fs::write(&path, "first\n").unwrap();
        assert_eq!(source.token(RefreshReason::First).await.unwrap().expose(), "first");
        // The writer has truncated the file, and has not written it yet.
        fs::write(&path, "\n").unwrap();
        assert!(!source.token(RefreshReason::Expiring).await.unwrap_err().is_terminal());
        fs::write(&path, "second").unwrap();
        let token = source.token(RefreshReason::Expiring).await.unwrap();
        assert_eq!((token.expose(), token.refresh_in), ("second", Some(Duration::from_secs(10))));
        fs::remove_file(path).unwrap();
    }

    #[tokio::test]
    async fn bad_file_content_is_not_shown() {
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
