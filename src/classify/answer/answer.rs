//! An answer of an upstream, the argument of the user's rules.

use std::fmt;

use http::{Extensions, HeaderMap, StatusCode, header::CONTENT_TYPE, response};

use super::content;

/// An answer: its head, and the part of its body that was read.
///
/// The argument of the rules of [`Classifier::also_unauthorized`](crate::Classifier::also_unauthorized). A
/// [`Policy`](crate::Policy) receives a [`NonAuth`](crate::classify::NonAuth) instead.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    head: &'a response::Parts,
    body: Option<&'a [u8]>,
}

impl<'a> Answer<'a> {
    pub(crate) const fn new(head: &'a response::Parts, body: Option<&'a [u8]>) -> Self {
        Self { head, body }
    }

    /// Returns the answer's status.
    pub const fn status(&self) -> StatusCode {
        self.head.status
    }

    /// Returns the answer's headers.
    pub const fn headers(&self) -> &'a HeaderMap {
        &self.head.headers
    }

    /// Returns the part of the body that was read, which may be cut anywhere; `None` if none was read.
    pub const fn body(&self) -> Option<&'a [u8]> {
        self.body
    }

    /// Returns whether the content type is JSON.
    pub(crate) fn is_json(&self) -> bool {
        let content_type = self.headers().get(CONTENT_TYPE);
        content_type.is_some_and(|value| content::is_json(value.as_bytes()))
    }

    pub(crate) const fn extensions(&self) -> &'a Extensions {
        &self.head.extensions
    }
}

/// Shows neither headers nor body: an upstream may repeat a credential in either.
impl fmt::Debug for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status())
            .field("body_len", &self.body.map(<[u8]>::len))
            .finish_non_exhaustive()
    }
}
