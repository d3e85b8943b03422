//! Foreign text for an event: secrets redacted, then escaped, then shortened to 200 characters.

use super::{filter::Redact, line::is_unprintable, redact::hidden};

/// The maximum number of characters of a foreign text in an event.
const SHOWN: usize = 200;
/// The maximum number of bytes of a foreign text that are read; the rest is ignored.
const LOOKED_AT: usize = 4096;
/// The replacement of a secret.
const REDACTED: &str = "[redacted]";
/// The replacement of a text if there are too many secrets to search for.
const WITHHELD: &str = "[withheld: too many secrets to look for]";

/// Prepares a foreign text for an event.
///
/// 1. Each run of 8 or more bytes of a secret is replaced, whether raw, percent-encoded or
///    base64-encoded. A shorter secret is replaced where it occurs as a whole.
/// 2. Control characters are escaped, and so are those that break a line or change the direction
///    of writing (U+2028, U+2029, the bidi controls).
/// 3. The result is shortened to 200 characters, including the ellipsis. No escape is cut.
///
/// The order matters: a secret that is cut or escaped first would not be recognised. Only the first
/// 4 KiB are read and shown.
pub(crate) fn foreign(text: &str, secrets: &dyn Redact) -> Box<str> {
    if text.is_empty() {
        return Box::default();
    }
    if secrets.too_many() {
        return WITHHELD.into();
    }
    let seen = head(text, LOOKED_AT);
    let held = secrets.filter().is_none_or(|filter| filter.may_hold(seen.as_bytes()));
    if !held && text.len() <= SHOWN && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.into();
    }
    let hidden = if held { hidden(seen.as_bytes(), secrets) } else { Vec::new() };
    let mut line = Line::default();
    let mut redacting = false;
    for (at, char) in seen.char_indices() {
        // A run of a secret that is not UTF-8 may start or end inside a character.
        let bytes = hidden.get(at..at + char.len_utf8()).unwrap_or_default();
        let redact = bytes.contains(&true);
        let fits = match (redact, redacting) {
            (true, true) => true,
            (true, false) => line.push(REDACTED.chars()),
            (false, _) if is_unprintable(char) => line.push(char.escape_default()),
            (false, _) => line.push([char]),
        };
        if !fits {
            return line.shortened();
        }
        redacting = redact;
    }
    if seen.len() < text.len() {
        return line.shortened();
    }
    line.text.into()
}

/// A text that grows up to [`SHOWN`] characters.
#[derive(Default)]
struct Line {
    text: String,
    chars: usize,
    /// The length in bytes at which the ellipsis still fits.
    keep: usize,
}

impl Line {
    /// Adds a piece that must not be cut. Returns `false`, and adds nothing, if it does not fit.
    fn push(&mut self, piece: impl IntoIterator<Item = char, IntoIter: Clone>) -> bool {
        let piece = piece.into_iter();
        let chars = self.chars + piece.clone().count();
        if chars > SHOWN {
            return false;
        }
        self.text.extend(piece);
        self.chars = chars;
        if chars < SHOWN {
            self.keep = self.text.len();
        }
        true
    }

    fn shortened(mut self) -> Box<str> {
        self.text.truncate(self.keep);
        self.text.push('…');
        self.text.into()
    }
}

/// Returns the longest start of `text` with at most `most` bytes.
fn head(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
