//! Finds a member of a JSON body, and puts another string in its place.

mod nesting;
mod scan;

use std::{borrow::Cow, ops::Range, str};

use bytes::Bytes;

use self::scan::{Scanner, Written};

/// Where a string member stands in the object that a body is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// Here, and this is the text, unescaped.
    Member(Span, Cow<'a, str>),
    /// The object has no such member.
    Missing,
    /// What the member holds is no text: another type, or a string with half of a surrogate pair.
    NotAString,
    /// The body is JSON, and no object.
    NotAnObject,
    /// Two members have that name: which of them counts is the reader's choice (RFC 8259 §4).
    Ambiguous,
    /// The body is not JSON.
    Invalid,
}

/// The place of a value in the body that it was found in, quotes included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span(Range<usize>);

/// What the members of the name that is looked for hold, so far.
enum Held<'a> {
    Nothing,
    Text(Written<'a>),
    Other,
    Two,
}

/// Finds the member of that name, in one pass over the whole body.
///
/// 1. Names are compared as they are after unescaping, and case counts.
/// 2. Only the members of the body itself count, not those of objects in it.
/// 3. Every byte is checked, those behind the member too: a body that is not JSON from end to end is
///    [`Found::Invalid`], whatever it begins with. That outweighs everything else.
/// 4. Half of a surrogate pair and a number of any size are left for the body's reader to judge; the grammar
///    allows both.
/// 5. Depth is no danger. Nothing is allocated but for what is written with escapes, and for more than 64 levels.
pub(crate) fn find<'a>(body: &'a [u8], member: &str) -> Found<'a> {
    walk(body, member).unwrap_or(Found::Invalid)
}

/// `None`: not JSON.
fn walk<'a>(body: &'a [u8], member: &str) -> Option<Found<'a>> {
    let mut json = Scanner::new(body);
    if json.peek() != b'{' {
        json.value()?;
        json.end()?;
        return Some(Found::NotAnObject);
    }
    json.take(b'{')?;
    let mut found = Held::Nothing;
    let mut more = json.take(b'}').is_none();
    while more {
        let named = is_named(json.key()?, member);
        let held = if json.peek() == b'"' {
            Held::Text(json.string()?)
        } else {
            json.value()?;
            Held::Other
        };
        if named {
            found = if matches!(found, Held::Nothing) { held } else { Held::Two };
        }
        more = json.take(b',').is_some();
        if !more {
            json.take(b'}')?;
        }
    }
    json.end()?;
    Some(match found {
        Held::Nothing => Found::Missing,
        Held::Other => Found::NotAString,
        Held::Two => Found::Ambiguous,
        Held::Text(Written { text, start }) => match unescape(text) {
            Some(value) => Found::Member(Span(start..start + text.len()), value),
            None => Found::NotAString,
        },
    })
}

/// Whether a name, as it is written, is this one.
fn is_named(key: &[u8], member: &str) -> bool {
    // One byte is written with six at most, and the quotes are two more: nothing longer is worth unescaping.
    key.len() <= 6 * member.len() + 2 && unescape(key).is_some_and(|name| name == member)
}

/// The text of a string as it is written, quotes included; `None`: half of a surrogate pair stands in it.
fn unescape(written: &[u8]) -> Option<Cow<'_, str>> {
    if written.contains(&b'\\') {
        return serde_json::from_slice(written).ok().map(Cow::Owned);
    }
    let text = written.get(1..written.len().saturating_sub(1))?;
    str::from_utf8(text).ok().map(Cow::Borrowed)
}

/// The body with another string in that place: one buffer, each byte copied once.
///
/// `span` is of this body.
pub(crate) fn splice(body: &[u8], span: &Span, value: &str) -> Bytes {
    let before = body.get(..span.0.start).unwrap_or_default();
    let after = body.get(span.0.end..).unwrap_or_default();
    // To the byte: a buffer that is full becomes `Bytes` without another allocation.
    let len = before.len() + written_len(value) + after.len();
    let mut whole = Vec::with_capacity(len);
    whole.extend_from_slice(before);
    // A string can be written, and a vector takes it.
    let _: Result<(), _> = serde_json::to_writer(&mut whole, value);
    whole.extend_from_slice(after);
    debug_assert_eq!(whole.len(), len, "the length of a string is known before it is written");
    whole.into()
}

/// How many bytes `serde_json` writes for a string, quotes included.
fn written_len(value: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | 0x08 | b'\t' | b'\n' | 0x0c | b'\r' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    value.bytes().map(escaped).sum::<usize>() + 2
}

#[cfg(test)]
mod tests;
