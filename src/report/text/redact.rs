//! The search for secrets in a text: raw, percent-encoded and base64.
//!
//! The text is indexed once, by the first three bytes that each position can be read as, and each
//! secret is looked up in the index: the cost grows with the sum of the bytes of secrets and text, not
//! with their product. A text crafted to cost more is hidden as a whole.

use super::{
    filter::Redact,
    forms::{RUN, fold, forms},
};

/// The number of decoded bytes by which a position is indexed.
const GRAM: usize = 3;
/// The number of lists of the index: the maximum length of the text.
const LISTS: usize = 4096;
/// The maximum number of entries and bytes compared for one text; a few milliseconds.
const WORK: usize = 1 << 20;
/// The end of a list.
const END: u32 = u32::MAX;

/// Returns for each byte of `text` whether it belongs to a secret. Empty if there are no secrets.
pub(crate) fn hidden(text: &[u8], secrets: &dyn Redact) -> Vec<bool> {
    let mut finder: Option<Finder<'_>> = None;
    secrets.visit_secrets(&mut |secret| {
        let finder = finder.get_or_insert_with(|| Finder::new(text));
        finder.hide(secret);
    });
    finder.map(|finder| finder.hidden).unwrap_or_default()
}

struct Finder<'t> {
    text: &'t [u8],
    hidden: Vec<bool>,
    /// The newest entry of each list.
    lists: Vec<u32>,
    entries: Vec<Entry>,
    /// The rest of [`WORK`].
    work: usize,
}

/// A position of the text that can be read as three bytes.
#[derive(Clone, Copy)]
struct Entry {
    gram: u32,
    start: usize,
    older: u32,
}

impl<'t> Finder<'t> {
    fn new(text: &'t [u8]) -> Self {
        let mut finder = Self {
            text,
            hidden: vec![false; text.len()],
            lists: vec![END; LISTS],
            entries: Vec::with_capacity(text.len()),
            work: WORK,
        };
        for start in 0..text.len() {
            finder.index(start, start, 0, 0);
        }
        finder
    }

    /// Enters every way to read three bytes from `start` on. An escape can be read in two ways, since
    /// the bytes before a secret may make its first bytes look like a part of an escape.
    fn index(&mut self, start: usize, at: usize, gram: u32, depth: usize) {
        if depth == GRAM {
            self.enter(start, gram);
            return;
        }
        for (byte, len) in readings(self.text, at) {
            self.index(start, at + len, extend(gram, byte), depth + 1);
        }
    }

    fn enter(&mut self, start: usize, gram: u32) {
        let Ok(index) = u32::try_from(self.entries.len()) else {
            return;
        };
        if let Some(newest) = self.lists.get_mut(list(gram)) {
            let known = self.entries.get(*newest as usize);
            if known.is_some_and(|known| known.gram == gram && known.start == start) {
                return;
            }
            let older = std::mem::replace(newest, index);
            self.entries.push(Entry { gram, start, older });
        }
    }

    /// Hides a secret in each of its forms.
    fn hide(&mut self, secret: &[u8]) {
        forms(secret, &mut |form| self.hide_form(form));
    }
}

impl Finder<'_> {
    /// Hides every run of `form` that is long enough, or the whole form if it is short.
    fn hide_form(&mut self, form: &[u8]) {
        if form.len() < GRAM {
            for start in 0..self.text.len() {
                self.hide_at(start, form, 0);
            }
            return;
        }
        for (from, window) in form.windows(GRAM).enumerate() {
            let gram = window.iter().fold(0, |gram, &byte| extend(gram, byte));
            let mut next = self.lists.get(list(gram)).copied().unwrap_or(END);
            while let Some(&entry) = self.entries.get(next as usize) {
                if !self.spend(1) {
                    return;
                }
                if entry.gram == gram && !self.continues(entry.start, form, from) {
                    self.hide_at(entry.start, form, from);
                }
                next = entry.older;
            }
            if form.len() < RUN {
                return;
            }
        }
    }

    /// Counts work. Returns `false`, and hides the whole text, when the limit is reached.
    fn spend(&mut self, work: usize) -> bool {
        if let Some(left) = self.work.checked_sub(work) {
            self.work = left;
            return true;
        }
        self.work = 0;
        self.hidden.fill(true);
        false
    }

    /// Returns whether a run of `form` that is at `from` at `start` began earlier, and so was followed
    /// before.
    fn continues(&self, start: usize, form: &[u8], from: usize) -> bool {
        let Some(&wanted) = from.checked_sub(1).and_then(|before| form.get(before)) else {
            return false;
        };
        [1, 2, 3, 6].into_iter().any(|len| {
            let before = start.checked_sub(len);
            let mut readings = before.into_iter().flat_map(|at| readings(self.text, at));
            readings.any(|reading| reading == (wanted, len))
        })
    }

    /// Hides the text at `start` as far as it reads like `form` from `from` on, if that is long enough:
    /// a run, or the whole of a short form.
    fn hide_at(&mut self, start: usize, form: &[u8], from: usize) {
        let rest = form.get(from..).unwrap_or_default();
        let (end, read) = self.read(start, rest);
        let enough = if form.len() < RUN { read == form.len() } else { end - start >= RUN };
        if enough {
            let run = self.hidden.get_mut(start..end).unwrap_or_default();
            run.fill(true);
        }
    }

    /// Follows `form` in the text from `start` on. Returns the end, and the number of bytes of the form.
    ///
    /// All ways to read the text are followed at once, since a text full of escapes has very many.
    fn read(&mut self, start: usize, form: &[u8]) -> (usize, usize) {
        let (mut ends, mut longer) = (vec![start], Vec::new());
        let mut furthest = start;
        for (read, &wanted) in form.iter().enumerate() {
            for &end in &ends {
                for (byte, len) in readings(self.text, end) {
                    if byte == wanted && !longer.contains(&(end + len)) {
                        longer.push(end + len);
                    }
                }
                if !self.spend(1 + longer.len()) {
                    return (furthest, read);
                }
            }
            let Some(&end) = longer.iter().max() else {
                return (furthest, read);
            };
            furthest = furthest.max(end);
            std::mem::swap(&mut ends, &mut longer);
            longer.clear();
        }
        (furthest, form.len())
    }
}

/// Returns the bytes that the position `at` can be read as, folded, each with its length: a plain byte,
/// or an escape.
fn readings(text: &[u8], at: usize) -> impl Iterator<Item = (u8, usize)> {
    let plain = text.get(at).map(|&byte| (byte, 1));
    let all = [plain, escape(text, at)].into_iter().flatten();
    all.map(|(byte, len)| (fold(byte), len))
}

/// Decodes an escape at `at`. Returns its byte and its length: percent-encoding (RFC 3986 §2.1) of any
/// byte, and the escapes of JSON strings for visible ASCII (RFC 8259 §7).
fn escape(text: &[u8], at: usize) -> Option<(u8, usize)> {
    match text.get(at..)? {
        [b'%', high, low, ..] => Some((hex(*high, *low)?, 3)),
        [b'\\', byte @ (b'/' | b'\\' | b'"'), ..] => Some((*byte, 2)),
        [b'\\', b'u', b'0', b'0', high, low, ..] => Some((hex(*high, *low)?, 6)),
        _ => None,
    }
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

fn extend(gram: u32, byte: u8) -> u32 {
    gram << 8 | u32::from(byte)
}

const fn list(gram: u32) -> usize {
    // The top twelve bits of Knuth's multiplicative hash.
    (gram.wrapping_mul(0x9e37_79b1) >> 20) as usize
}

#[cfg(test)]
mod tests;
