//! The parser of JSON error bodies, which may be cut.

use std::{fmt, time::Duration};

use serde_core::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::classify::delay::protobuf_duration;

/// The maximum number of reasons that are kept.
const MAX_REASONS: usize = 8;

/// The members of an error body that decide its verdict.
///
/// A cut body yields the members before the cut. Deep nesting is harmless: `serde_json` skips other members
/// in a loop, and its recursion stops at a depth of 128.
#[derive(Debug, Default)]
pub(crate) struct ErrorBody {
    /// `error`, or `detail`: an object, or a string that is taken as the code.
    pub(crate) error: Scope,
    /// The body's own members.
    pub(crate) top: Scope,
    /// `error.details[].reason` (google.rpc.ErrorInfo).
    pub(crate) reasons: Vec<Box<str>>,
    /// `error.details[].retryDelay` (google.rpc.RetryInfo).
    pub(crate) retry_delay: Option<Duration>,
}

/// The strings of an error object. Members of other types are not kept.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    pub(crate) code: Option<Box<str>>,
    /// `type`, or `__type` (AWS).
    pub(crate) kind: Option<Box<str>>,
    pub(crate) status: Option<Box<str>>,
    pub(crate) message: Option<Box<str>>,
}

impl ErrorBody {
    pub(crate) fn parse(body: &[u8]) -> Self {
        let mut read = Self::default();
        let mut json = serde_json::Deserializer::from_slice(body);
        // The error means that the body is cut, or is not JSON from here on. The members read before count.
        let _: Result<(), _> = Place::Top(&mut read).deserialize(&mut json);
        read
    }

    /// Returns all codes, the most specific first.
    pub(crate) fn codes(&self) -> impl Iterator<Item = &str> {
        let Scope { code, kind, status, .. } = &self.error;
        let top = [&self.top.code, &self.top.kind, &self.top.status];
        code.iter()
            .chain(&self.reasons)
            .chain([kind, status].into_iter().flatten())
            .chain(top.into_iter().flatten())
            .map(AsRef::as_ref)
    }

    pub(crate) fn message(&self) -> Option<&str> {
        self.error.message.as_deref().or(self.top.message.as_deref())
    }
}

impl Scope {
    fn place(&mut self, key: &str) -> Option<Place<'_>> {
        let text = match key {
            "code" => &mut self.code,
            "type" | "__type" => &mut self.kind,
            "status" => &mut self.status,
            "message" | "Message" => &mut self.message,
            _ => return None,
        };
        Some(Place::Text(text))
    }
}

/// A position in the body, and the place for the values found there.
enum Place<'a> {
    Top(&'a mut ErrorBody),
    Error(&'a mut ErrorBody),
    Details(&'a mut ErrorBody),
    Detail(&'a mut ErrorBody),
    Text(&'a mut Option<Box<str>>),
    Reason(&'a mut Vec<Box<str>>),
    Delay(&'a mut Option<Duration>),
}

impl Place<'_> {
    /// Returns the place of the member `key` of an object here; `None` to skip it.
    fn member(&mut self, key: &str) -> Option<Place<'_>> {
        match self {
            Self::Top(body) => match key {
                "error" | "detail" => Some(Place::Error(body)),
                _ => body.top.place(key),
            },
            Self::Error(body) => match key {
                "details" => Some(Place::Details(body)),
                _ => body.error.place(key),
            },
            Self::Detail(body) => match key {
                "reason" => Some(Place::Reason(&mut body.reasons)),
                "retryDelay" => Some(Place::Delay(&mut body.retry_delay)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns the place of an element of an array here; `None` to skip it.
    fn element(&mut self) -> Option<Place<'_>> {
        match self {
            // Gemini's streaming endpoints put the error object into an array.
            Self::Top(body) => Some(Place::Top(body)),
            Self::Details(body) => Some(Place::Detail(body)),
            _ => None,
        }
    }

    fn text(self, text: &str) {
        match self {
            Self::Text(slot) => _ = slot.get_or_insert_with(|| text.into()),
            // `{"error": "invalid_grant"}`, RFC 6749 §5.2.
            Self::Error(body) => _ = body.error.code.get_or_insert_with(|| text.into()),
            Self::Reason(reasons) if reasons.len() < MAX_REASONS => reasons.push(text.into()),
            Self::Delay(slot) => *slot = slot.or_else(|| protobuf_duration(text)),
            _ => {}
        }
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

/// Accepts any value: a member of the wrong type is skipped.
impl<'de> Visitor<'de> for Place<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Box<str>>()? {
            match self.member(&key) {
                Some(place) => map.next_value_seed(place)?,
                None => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        loop {
            let more = match self.element() {
                Some(place) => seq.next_element_seed(place)?.is_some(),
                None => seq.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                return Ok(());
            }
        }
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.text(text);
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
