//! A scanner that checks every byte of a JSON text and builds nothing.

use std::str;

use super::nesting::Nesting;

/// The block size for long strings.
const BLOCK: usize = 64;
/// The number of words after which a string counts as long.
const SHORT: usize = 4;
const WORD: usize = size_of::<u64>();
/// A one in every byte of a word.
const ONES: u64 = u64::MAX / 255;
/// The high bits: set where a byte is not ASCII.
const HIGH: u64 = ONES << 7;

/// Scans one JSON text (RFC 8259), front to back, without recursion.
///
/// Why not `serde_json`? It scans strings a word at a time, and prompts are long strings. With vectors, this scanner
/// takes half to a quarter of its time on ASCII prose, three quarters on other prose, and the same on dense JSON.
///
/// 1. A method returns `None` for text that is not JSON, which ends the scan.
/// 2. White space before a token belongs to the token.
/// 3. UTF-8 is checked once, at the end, and only if a byte was not ASCII: no byte of a longer sequence equals
///    one of JSON's own.
/// 4. As with `serde_json::de::IgnoredAny`, a `\u` escape may be half of a surrogate pair (the grammar allows it,
///    §8.2, and JavaScript produces it), and a number may have any size.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    /// The bytes of all strings so far, or-ed: the high bit says that one was not ASCII.
    seen: u64,
}

/// A string as written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written<'a> {
    /// Quotes included.
    pub(super) text: &'a [u8],
    /// The position of the opening quote.
    pub(super) start: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, seen: 0 }
    }

    /// Returns the next byte that is not white space, without taking it. Zero, which is never valid, at the end.
    #[inline]
    pub(super) fn peek(&mut self) -> u8 {
        loop {
            match self.text.get(self.at) {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                Some(byte) => return *byte,
                None => return 0,
            }
        }
    }

    /// Takes `byte` if it is the next one.
    #[inline]
    pub(super) fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek() == byte).then(|| self.at += 1)
    }

    /// Takes a string.
    #[inline]
    pub(super) fn string(&mut self) -> Option<Written<'a>> {
        self.take(b'"')?;
        let start = self.at - 1;
        self.string_rest()?;
        Some(Written { text: self.text.get(start..self.at)?, start })
    }

    /// Takes the name of a member and the colon after it.
    #[inline]
    pub(super) fn key(&mut self) -> Option<&'a [u8]> {
        let key = self.string()?;
        self.take(b':')?;
        Some(key.text)
    }

    /// Takes a whole value, however deep.
    pub(super) fn value(&mut self) -> Option<()> {
        let mut open = Nesting::default();
        loop {
            match self.peek() {
                b'"' => _ = self.string()?,
                b'-' | b'0'..=b'9' => self.number()?,
                b't' => self.word(b"true")?,
                b'f' => self.word(b"false")?,
                b'n' => self.word(b"null")?,
                bracket @ (b'{' | b'[') => {
                    self.at += 1;
                    let object = bracket == b'{';
                    if self.take(closing(object)).is_none() {
                        open.push(object);
                        self.element(object)?;
                        continue;
                    }
                }
                _ => return None,
            }
            loop {
                let Some(object) = open.innermost() else { return Some(()) };
                if self.take(b',').is_some() {
                    self.element(object)?;
                    break;
                }
                self.take(closing(object))?;
                open.pop();
            }
        }
    }

    /// Checks that only white space is left, and that the text is UTF-8.
    pub(super) fn end(mut self) -> Option<()> {
        self.peek();
        let ascii = self.seen & HIGH == 0;
        let whole = self.at == self.text.len();
        (whole && (ascii || str::from_utf8(self.text).is_ok())).then_some(())
    }

    /// Takes what stands before the value of an element: the name, if it is in an object.
    #[inline]
    fn element(&mut self, object: bool) -> Option<()> {
        if object { self.key().map(drop) } else { Some(()) }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        let rest = self.text.get(self.at..)?;
        rest.starts_with(word).then(|| self.at += word.len())
    }

    /// Takes a number (RFC 8259 §6).
    fn number(&mut self) -> Option<()> {
        self.at += usize::from(self.here() == b'-');
        if self.here() == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.here() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.here(), b'e' | b'E') {
            self.at += 1;
            self.at += usize::from(matches!(self.here(), b'+' | b'-'));
            self.digits()?;
        }
        Some(())
    }

    /// Takes one digit or more.
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.here().is_ascii_digit() {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    #[inline]
    fn here(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    /// Takes the rest of a string after its opening quote, closing quote included.
    #[inline]
    fn string_rest(&mut self) -> Option<()> {
        loop {
            self.plain();
            match self.here() {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.escape()?,
                // A control character (§7), or the end.
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        match self.text.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            b'u' => {
                let digits = self.text.get(self.at + 2..self.at + 6)?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                self.at += 6;
            }
            _ => return None,
        }
        Some(())
    }

    /// Skips to the next byte with a meaning in a string: a quote, a backslash, a control character.
    ///
    /// Names in dense JSON are short and prose is long, so words come first and blocks after them.
    #[inline]
    fn plain(&mut self) {
        for _ in 0..SHORT {
            if self.plain_word() {
                return;
            }
        }
        self.plain_blocks();
        while !self.plain_word() {}
    }

    /// Skips a word of plain bytes. Returns whether it reached a byte that is not plain, or the end.
    #[inline]
    fn plain_word(&mut self) -> bool {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let Some(word) = rest.first_chunk::<WORD>() else {
            return self.plain_bytes(rest);
        };
        let word = u64::from_le_bytes(*word);
        // Below 0x20, or zero, gives a high bit to its byte. A borrow spoils only the bytes above the first that
        // was found. (Mycroft; serde_json does the same.)
        let below = |word: u64, least: u64| word.wrapping_sub(ONES * least) & !word;
        let quote = word ^ (ONES * u64::from(b'"'));
        let backslash = word ^ (ONES * u64::from(b'\\'));
        let found = (below(word, 0x20) | below(quote, 1) | below(backslash, 1)) & HIGH;
        self.seen |= word;
        if found == 0 {
            self.at += WORD;
            return false;
        }
        self.at += found.trailing_zeros() as usize / 8;
        true
    }

    #[cold]
    fn plain_bytes(&mut self, rest: &[u8]) -> bool {
        for byte in rest {
            if matches!(byte, b'"' | b'\\' | 0..0x20) {
                break;
            }
            self.seen |= u64::from(*byte);
            self.at += 1;
        }
        true
    }

    /// Skips whole blocks of plain bytes, in a form that the compiler turns into vector code.
    fn plain_blocks(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let (mut seen, mut blocks) = ([0_u8; BLOCK], 0);
        for block in rest.chunks_exact(BLOCK) {
            let mut found = 0_u8;
            for (byte, seen) in block.iter().zip(&mut seen) {
                // Flipping this bit moves the quote (0x22) down to 0x20, next to the control characters, and
                // nothing else: one comparison finds both.
                found |= u8::from(byte ^ 2 <= 0x20) | u8::from(*byte == b'\\');
                *seen |= byte;
            }
            if found != 0 {
                break;
            }
            blocks += 1;
        }
        self.at += blocks * BLOCK;
        self.seen |= u64::from(seen.iter().fold(0, |all, byte| all | byte));
    }
}

#[inline]
fn closing(object: bool) -> u8 {
    if object { b'}' } else { b']' }
}
