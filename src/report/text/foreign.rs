//! Text that others wrote, made fit for an event.

use super::{filter::Redact, line::is_unprintable, redact::hidden};

/// The most characters of a foreign text that enter an event.
const SHOWN: usize = 200;
/// The most bytes of a foreign text that are looked at; what follows is as if it were not there.
const LOOKED_AT: usize = 4096;
/// What stands for a secret.
const REDACTED: &str = "[redacted]";
/// What stands for a text in which more secrets would have to be looked for than is sensible.
const WITHHELD: &str = "[withheld: too many secrets to look for]";

/// `text`, which a stranger wrote, as it may stand in an event.
///
/// 1. A run of 8 or more bytes that also stands in a secret is replaced, be the secret there as it
///    is, percent-encoded or base64-encoded; a shorter secret is replaced where all of it stands.
/// 2. Control characters are escaped, and so are those that break a line or change the direction
///    of writing (U+2028, U+2029, the bidi controls).
/// 3. What is left is shortened to 200 characters, the ellipsis included; no escape is cut.
///
/// In this order: a secret that is cut or escaped first would not be recognised. Only the first
/// 4 KiB are looked at, and only what was looked at is shown.
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
        // A run of a secret that is no UTF-8 may start or end inside a character.
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
    /// The length in bytes up to which the text leaves room for the ellipsis.
    keep: usize,
}

impl Line {
    /// Adds what must not be cut apart; `false`, and nothing added, when it does not fit.
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

/// The longest start of `text` with at most `most` bytes.
fn head(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
