//! Finds secrets in a text, however they are spelled there.
//!
//! The text is indexed once, by the first three bytes that each of its places can be read as, and
//! every secret is looked up in it: the cost grows with the secrets' bytes, not with their product.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use zeroize::Zeroizing;

/// How many bytes of a text give a secret away.
const RUN: usize = 8;
/// How many decoded bytes a place is indexed by.
const GRAM: usize = 3;
/// How many lists the index has: as many as the text may have bytes.
const LISTS: usize = 4096;
/// The end of a list.
const END: u32 = u32::MAX;

/// Who knows the secrets that must not be told.
pub(crate) trait Redact {
    /// Calls `f` with each secret.
    fn visit_secrets(&self, f: &mut dyn FnMut(&[u8]));

    /// Whether there are so many that a failed request must not pay for looking; foreign text is
    /// then withheld.
    fn too_many(&self) -> bool {
        false
    }
}

/// Nobody's secrets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NoSecrets;

impl Redact for NoSecrets {
    fn visit_secrets(&self, _: &mut dyn FnMut(&[u8])) {}
}

/// Which bytes of `text` belong to a secret; empty when there is no secret at all.
pub(super) fn hidden(text: &[u8], secrets: &dyn Redact) -> Vec<bool> {
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
}

/// A place of the text that can be read as three bytes.
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
        };
        for start in 0..text.len() {
            finder.index(start, start, 0, 0);
        }
        finder
    }

    /// Enters every way to read three bytes from `start` on. An escape can be read in two ways:
    /// whatever stands before a secret may make its first bytes look like a part of one.
    fn index(&mut self, start: usize, at: usize, gram: u32, depth: usize) {
        if depth == GRAM {
            self.enter(start, gram);
            return;
        }
        let Some(&byte) = self.text.get(at) else {
            return;
        };
        self.index(start, at + 1, extend(gram, byte), depth + 1);
        if let Some((byte, len)) = escape(self.text, at) {
            self.index(start, at + len, extend(gram, byte), depth + 1);
        }
    }

    fn enter(&mut self, start: usize, gram: u32) {
        let Ok(index) = u32::try_from(self.entries.len()) else {
            return;
        };
        if let Some(newest) = self.lists.get_mut(list(gram)) {
            let older = std::mem::replace(newest, index);
            self.entries.push(Entry { gram, start, older });
        }
    }

    /// Hides a secret in each of its forms.
    fn hide(&mut self, secret: &[u8]) {
        let folded: Zeroizing<Vec<u8>> = Zeroizing::new(secret.iter().copied().map(fold).collect());
        self.hide_form(&folded);
        // What may stand before the secret shifts its bits against the base64 digits.
        let mut shifted = Zeroizing::new(Vec::with_capacity(secret.len() + 2));
        shifted.extend_from_slice(&[0, 0]);
        shifted.extend_from_slice(secret);
        let most = shifted.len().div_ceil(3) * 4;
        let mut digits = Zeroizing::new(vec![0; most]);
        for before in 0..=2 {
            let bytes = shifted.get(2 - before..).unwrap_or_default();
            if STANDARD_NO_PAD.encode_slice(bytes, &mut digits).is_err() {
                continue;
            }
            // Only the digits that the secret alone decides.
            let (first, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
            let form = digits.get(first..end).unwrap_or_default();
            if form.len() >= GRAM {
                self.hide_form(form);
            }
        }
    }

    /// Hides every long enough run of `form`, or all of it when it is short.
    fn hide_form(&mut self, form: &[u8]) {
        if form.len() < GRAM {
            for start in 0..self.text.len() {
                self.hide_at(start, form, true);
            }
            return;
        }
        let whole = form.len() < RUN;
        for from in 0..form.len() {
            let rest = form.get(from..).unwrap_or_default();
            let Some(&[a, b, c]) = rest.first_chunk() else {
                break;
            };
            let gram = extend(extend(extend(0, a), b), c);
            let mut next = self.lists.get(list(gram)).copied().unwrap_or(END);
            while let Some(&entry) = self.entries.get(next as usize) {
                if entry.gram == gram {
                    self.hide_at(entry.start, rest, whole);
                }
                next = entry.older;
            }
            if whole {
                break;
            }
        }
    }

    /// Hides what stands at `start` as far as it reads like `form`, when that is long enough.
    fn hide_at(&mut self, start: usize, form: &[u8], whole: bool) {
        let (end, read) = self.read(start, form);
        let enough = if whole {
            read == form.len()
        } else {
            end - start >= RUN
        };
        if enough && read > 0 {
            let run = self.hidden.get_mut(start..end).unwrap_or_default();
            run.fill(true);
        }
    }

    /// How far the text from `start` on reads like `form`: where that ends, and the bytes read.
    ///
    /// All ways to read it are followed at once, so that the work has a bound: a secret full of
    /// backslashes in a text full of them has very many.
    fn read(&self, start: usize, form: &[u8]) -> (usize, usize) {
        let (mut ends, mut longer) = (vec![start], Vec::new());
        let mut furthest = start;
        for (read, &wanted) in form.iter().enumerate() {
            for &end in &ends {
                let plain = self.text.get(end).map(|&byte| (byte, 1));
                for (byte, len) in [plain, escape(self.text, end)].into_iter().flatten() {
                    if fold(byte) == wanted && !longer.contains(&(end + len)) {
                        longer.push(end + len);
                    }
                }
            }
            let Some(&end) = longer.iter().max() else {
                return (furthest, read);
            };
            furthest = end;
            std::mem::swap(&mut ends, &mut longer);
            longer.clear();
        }
        (furthest, form.len())
    }
}

/// The byte that an escape at `at` stands for, and the escape's length: percent-encoding
/// (RFC 3986 §2.1), of any byte, and what JSON strings may hold for visible ASCII (RFC 8259 §7).
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

/// Both alphabets of base64 (RFC 4648 §4 and §5) are one here.
const fn fold(byte: u8) -> u8 {
    match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    }
}

fn extend(gram: u32, byte: u8) -> u32 {
    gram << 8 | u32::from(fold(byte))
}

const fn list(gram: u32) -> usize {
    // Knuth's multiplicative hash; its top twelve bits.
    (gram.wrapping_mul(0x9e37_79b1) >> 20) as usize
}

#[cfg(test)]
mod tests;
