//! Any answer of an upstream, as the user's rules see it.

use std::fmt;

use http::{Extensions, HeaderMap, StatusCode, header::CONTENT_TYPE, response};

use super::content;

/// An answer: its head, and its body as far as it was read.
///
/// This is what the rules of [`Classifier::also_unauthorized`](crate::Classifier::also_unauthorized) are
/// asked about. A [`Policy`](crate::Policy) sees a [`NonAuth`](crate::classify::NonAuth) instead.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    head: &'a response::Parts,
    body: Option<&'a [u8]>,
}

impl<'a> Answer<'a> {
    pub(crate) const fn new(head: &'a response::Parts, body: Option<&'a [u8]>) -> Self {
        Self { head, body }
    }

    /// The answer's status.
    pub const fn status(&self) -> StatusCode {
        self.head.status
    }

    /// The answer's headers.
    pub const fn headers(&self) -> &'a HeaderMap {
        &self.head.headers
    }

    /// The first bytes of the body; `None` when it was not read. It may be cut off anywhere.
    pub const fn body(&self) -> Option<&'a [u8]> {
        self.body
    }

    /// Whether the head says that the body is JSON.
    pub(crate) fn is_json(&self) -> bool {
        let content_type = self.headers().get(CONTENT_TYPE);
        content_type.is_some_and(|value| content::is_json(value.as_bytes()))
    }

    pub(crate) const fn extensions(&self) -> &'a Extensions {
        &self.head.extensions
    }
}

/// Without headers and body: an upstream may repeat a credential in either.
impl fmt::Debug for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status())
            .field("body_len", &self.body.map(<[u8]>::len))
            .finish_non_exhaustive()
    }
}
