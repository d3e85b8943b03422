//! Finds a string member of a JSON body, and replaces its value.

mod nesting;
mod scan;

use std::{borrow::Cow, ops::Range, str};

use bytes::Bytes;

use self::scan::{Scanner, Written};

/// The result of a search for a string member.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// The position of the member's value, and the value unescaped.
    Member(Span, Cow<'a, str>),
    /// The object has no such member.
    Missing,
    /// The value is not text: it has another type, or holds half of a surrogate pair.
    NotAString,
    /// The body is JSON, but not an object.
    NotAnObject,
    /// Two members have that name. Which of them counts depends on the reader (RFC 8259 §4).
    Ambiguous,
    /// The body is not JSON.
    Invalid,
}

/// The position of a value in its body, quotes included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span(Range<usize>);

/// The values of the matching members so far.
enum Matches<'a> {
    None,
    Text(Written<'a>),
    Other,
    Several,
}

/// Finds the member with that name, in one pass over the whole body.
///
/// 1. Names are compared after unescaping, and with case.
/// 2. Only the members of the outermost object count.
/// 3. Every byte is checked, also those after the member: a body that is not JSON from end to end is
///    [`Found::Invalid`] in any case.
/// 4. Half of a surrogate pair and a number of any size are accepted, since the grammar allows both.
/// 5. Any depth is safe. Only values with escapes, and more than 64 levels, allocate.
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
    let mut found = Matches::None;
    let mut more = json.take(b'}').is_none();
    while more {
        let named = is_named(json.key()?, member);
        let value = if json.peek() == b'"' {
            Matches::Text(json.string()?)
        } else {
            json.value()?;
            Matches::Other
        };
        if named {
            found = if matches!(found, Matches::None) { value } else { Matches::Several };
        }
        more = json.take(b',').is_some();
        if !more {
            json.take(b'}')?;
        }
    }
    json.end()?;
    Some(match found {
        Matches::None => Found::Missing,
        Matches::Other => Found::NotAString,
        Matches::Several => Found::Ambiguous,
        Matches::Text(Written { text, start }) => match unescape(text) {
            Some(value) => Found::Member(Span(start..start + text.len()), value),
            None => Found::NotAString,
        },
    })
}

/// Returns whether a name as written equals this one.
fn is_named(key: &[u8], member: &str) -> bool {
    // A byte takes at most six to write, and the quotes are two more: a longer name cannot be equal.
    key.len() <= 6 * member.len() + 2 && unescape(key).is_some_and(|name| name == member)
}

/// Unescapes a string as written, quotes included. `None` if it holds half of a surrogate pair.
fn unescape(written: &[u8]) -> Option<Cow<'_, str>> {
    if written.contains(&b'\\') {
        return serde_json::from_slice(written).ok().map(Cow::Owned);
    }
    let text = written.get(1..written.len().saturating_sub(1))?;
    str::from_utf8(text).ok().map(Cow::Borrowed)
}

/// Returns the body with another string at that position: one buffer, each byte copied once.
///
/// `span` must be of this body.
pub(crate) fn splice(body: &[u8], span: &Span, value: &str) -> Bytes {
    let before = body.get(..span.0.start).unwrap_or_default();
    let after = body.get(span.0.end..).unwrap_or_default();
    // The exact length, since a full buffer becomes `Bytes` without another allocation.
    let len = before.len() + written_len(value) + after.len();
    let mut whole = Vec::with_capacity(len);
    whole.extend_from_slice(before);
    // Writing a string to a vector cannot fail.
    let _: Result<(), _> = serde_json::to_writer(&mut whole, value);
    whole.extend_from_slice(after);
    debug_assert_eq!(whole.len(), len, "the length of a string is known before it is written");
    whole.into()
}

/// Returns the number of bytes that `serde_json` writes for a string, quotes included.
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
