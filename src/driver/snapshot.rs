//! The caller's request head, kept as bytes in a reused buffer.
//!
//! Cloning a `HeaderMap` costs two allocations and a reference count for each value; copying names
//! and values as bytes costs neither. The price is a rebuild after a failure, the slow path.
//!
//! The buffer holds the caller's credentials, so it is overwritten before it is reused or freed.

use std::cell::RefCell;

use bytes::Bytes;
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Uri, Version,
    request::{Parts, Request},
};

/// At most this many buffers are kept for each thread.
const KEPT: usize = 64;
/// A buffer that has grown beyond this is freed, not kept.
const LARGEST: usize = 16 * 1024;
/// The top bit of a value's length says that the value is sensitive.
const SENSITIVE: u32 = 1 << 31;

thread_local! {
    static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// See the [module](self).
pub(crate) struct Snapshot {
    version: Version,
    /// The method, the URI, then for each header: two lengths, the name, the value.
    buffer: Vec<u8>,
    /// Where the method ends.
    method: u32,
    /// Where the URI ends.
    uri: u32,
    path: (u32, u32),
    headers: u32,
    extensions: Extensions,
}

impl Snapshot {
    /// Everything that another attempt needs, with or without the extensions.
    #[inline(always)] // Written where it stays: what was just written is slow to move.
    #[allow(clippy::inline_always)]
    pub(crate) fn whole(head: &Parts, bare: bool) -> Self {
        let mut snapshot = Self::start(head);
        // Not in its place: so that the length stays in a register.
        let mut buffer = std::mem::take(&mut snapshot.buffer);
        for (name, value) in &head.headers {
            push(&mut buffer, name.as_str().as_bytes(), value.as_bytes(), value.is_sensitive());
        }
        snapshot.buffer = buffer;
        snapshot.headers = length(head.headers.len());
        if !bare && !head.extensions.is_empty() {
            snapshot.extensions = head.extensions.clone();
        }
        snapshot
    }

    /// Only what a report needs: method, URI, two headers, and whether two others are there.
    ///
    /// One walk over the headers costs less than looking for each of them.
    pub(crate) fn brief(head: &Parts) -> Self {
        let mut snapshot = Self::start(head);
        for (name, value) in &head.headers {
            match name.as_str() {
                name @ ("x-request-id" | "content-type") => {
                    snapshot.push(name, value.as_bytes(), value.is_sensitive());
                }
                name @ ("authorization" | "idempotency-key") => snapshot.push(name, b"", true),
                _ => {}
            }
        }
        snapshot
    }

    #[inline(always)]
    #[allow(clippy::inline_always)]
    fn start(head: &Parts) -> Self {
        let mut buffer = BUFFERS
            .try_with(|buffers| buffers.try_borrow_mut().ok()?.pop())
            .ok()
            .flatten()
            .unwrap_or_else(|| Vec::with_capacity(1024));
        // Room for most heads at once.
        buffer.reserve(64 * (head.headers.len() + 2));
        buffer.extend_from_slice(head.method.as_str().as_bytes());
        let method = length(buffer.len());
        if let Some(scheme) = head.uri.scheme_str() {
            buffer.extend_from_slice(scheme.as_bytes());
            buffer.extend_from_slice(b"://");
        }
        if let Some(authority) = head.uri.authority() {
            buffer.extend_from_slice(authority.as_str().as_bytes());
        }
        let from = length(buffer.len());
        // An authority alone (CONNECT) has no path; "/" would make it another form of target.
        if let Some(path) = head.uri.path_and_query() {
            buffer.extend_from_slice(path.as_str().as_bytes());
        }
        let to = from.saturating_add(length(head.uri.path().len()));
        let uri = length(buffer.len());
        Self {
            version: head.version,
            buffer,
            method,
            uri,
            path: (from, to.min(uri)),
            headers: 0,
            extensions: Extensions::new(),
        }
    }

    fn push(&mut self, name: &str, value: &[u8], sensitive: bool) {
        push(&mut self.buffer, name.as_bytes(), value, sensitive);
        self.headers += 1;
    }

    pub(crate) fn method(&self) -> Method {
        let bytes = self.buffer.get(..self.method as usize).unwrap_or_default();
        // It was a method when it came.
        Method::from_bytes(bytes).unwrap_or_default()
    }

    /// The path without the query.
    pub(crate) fn path(&self) -> &str {
        let bytes = self.buffer.get(self.path.0 as usize..self.path.1 as usize);
        bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// The first value of this header, when it is text.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        std::str::from_utf8(self.value(name)?).ok()
    }

    /// Whether there is such a header.
    pub(crate) fn has(&self, name: &HeaderName) -> bool {
        self.value(name).is_some()
    }

    fn value(&self, name: &HeaderName) -> Option<&[u8]> {
        let mut headers = Headers(self.buffer.get(self.uri as usize..)?);
        headers.find(|(found, _, _)| *found == name.as_str().as_bytes()).map(|(_, value, _)| value)
    }

    /// The caller's request head, as it came.
    pub(crate) fn rebuild(&self) -> Option<Parts> {
        // One copy that all values share.
        let shared = Bytes::copy_from_slice(&self.buffer);
        let uri = shared.get(self.method as usize..self.uri as usize)?;
        let uri = shared.slice_ref(uri);
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = self.method();
        parts.version = self.version;
        parts.uri =
            if uri.is_empty() { Uri::default() } else { Uri::from_maybe_shared(uri).ok()? };
        // Many values of one name are more than a map has room for names.
        let mut headers = HeaderMap::try_with_capacity(self.headers as usize).unwrap_or_default();
        let rest = shared.get(self.uri as usize..)?;
        for (name, value, sensitive) in Headers(rest) {
            let name = HeaderName::from_bytes(name).ok()?;
            let mut value = HeaderValue::from_maybe_shared(shared.slice_ref(value)).ok()?;
            value.set_sensitive(sensitive);
            headers.try_append(name, value).ok()?;
        }
        parts.headers = headers;
        if !self.extensions.is_empty() {
            parts.extensions = self.extensions.clone();
        }
        Some(parts)
    }
}

/// Writes one header down.
#[inline]
fn push(buffer: &mut Vec<u8>, name: &[u8], value: &[u8], sensitive: bool) {
    let sensitive = if sensitive { SENSITIVE } else { 0 };
    let lengths = u64::from(length(name.len())) | u64::from(length(value.len()) | sensitive) << 32;
    buffer.extend_from_slice(&lengths.to_le_bytes());
    buffer.extend_from_slice(name);
    buffer.extend_from_slice(value);
}

struct Headers<'a>(&'a [u8]);

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], &'a [u8], bool);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = self.0.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_first_chunk::<4>()?;
        let (name, value) = (u32::from_le_bytes(*name), u32::from_le_bytes(*value));
        let (name, rest) = rest.split_at_checked(name as usize)?;
        let (bytes, rest) = rest.split_at_checked((value & !SENSITIVE) as usize)?;
        self.0 = rest;
        Some((name, bytes, value & SENSITIVE != 0))
    }
}

/// Lengths of heads fit: `HeaderMap` and `Uri` are far below 2 GiB.
fn length(length: usize) -> u32 {
    debug_assert!(length < SENSITIVE as usize, "a request head of 2 GiB");
    u32::try_from(length).unwrap_or(0)
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.fill(0);
        // Not to be optimised away: the bytes are somebody's credential.
        std::hint::black_box(buffer.as_mut_slice());
        if buffer.capacity() > LARGEST {
            return;
        }
        buffer.clear();
        let _ = BUFFERS.try_with(|buffers| {
            if let Ok(mut buffers) = buffers.try_borrow_mut() {
                if buffers.len() < KEPT {
                    buffers.push(buffer);
                }
            }
        });
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("method", &self.method())
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head() -> impl Strategy<Value = Parts> {
        let uri = prop_oneof![
            Just("/"),
            Just("*"),
            Just("/a/b?c=d"),
            Just("http://example.com"),
            Just("https://user@example.com:8443/v1/x?q=1&r"),
            Just("example.com:443"),
        ];
        let name = prop_oneof![
            Just("authorization".to_owned()),
            Just("accept".to_owned()),
            "[a-z][a-z0-9-]{0,20}",
        ];
        let value = ("[ -~]{0,40}", any::<bool>());
        (uri, proptest::collection::vec((name, value), 0..12)).prop_map(|(uri, headers)| {
            let mut builder = Request::builder().method("PATCH").uri(uri).version(Version::HTTP_10);
            for (name, (value, sensitive)) in headers {
                let mut value = HeaderValue::from_str(&value).unwrap();
                value.set_sensitive(sensitive);
                builder = builder.header(name, value);
            }
            builder.body(()).unwrap().into_parts().0
        })
    }

    proptest! {
        #[test]
        fn a_rebuilt_head_is_the_head_that_came(head in head()) {
            let snapshot = Snapshot::whole(&head, false);
            let rebuilt = snapshot.rebuild().unwrap();
            prop_assert_eq!(&rebuilt.method, &head.method);
            prop_assert_eq!(rebuilt.version, head.version);
            prop_assert_eq!(&rebuilt.uri, &head.uri);
            prop_assert_eq!(rebuilt.uri.scheme(), head.uri.scheme());
            prop_assert_eq!(rebuilt.uri.authority(), head.uri.authority());
            let pairs = |head: &Parts| head.headers.iter()
                .map(|(n, v)| (n.clone(), v.as_bytes().to_vec(), v.is_sensitive()))
                .collect::<Vec<_>>();
            prop_assert_eq!(pairs(&rebuilt), pairs(&head));
            prop_assert_eq!(snapshot.path(), head.uri.path());
        }
    }

    #[test]
    fn a_brief_snapshot_knows_what_reports_ask_for_and_keeps_no_credential() {
        let mut head = Request::post("https://example.com/a?b").body(()).unwrap().into_parts().0;
        let pairs = [
            ("content-type", "application/grpc"),
            ("authorization", "Bearer SECRET-SECRET"),
            ("x-request-id", "first"),
            ("x-request-id", "second"),
            ("idempotency-key", "SECRET-SECRET"),
            ("x-other", "SECRET-SECRET"),
        ];
        for (name, value) in pairs {
            head.headers.append(name, HeaderValue::from_static(value));
        }
        let brief = Snapshot::brief(&head);
        let header = |name: &'static str| brief.header(&HeaderName::from_static(name));
        assert_eq!(
            (header("content-type"), header("x-request-id")),
            (Some("application/grpc"), Some("first"))
        );
        for (name, known) in
            [("authorization", true), ("idempotency-key", true), ("x-other", false)]
        {
            assert_eq!(brief.has(&HeaderName::from_static(name)), known, "{name}");
        }
        assert!(!brief.buffer.windows(6).any(|window| window == b"SECRET"));
        assert_eq!((brief.method(), brief.path()), (Method::POST, "/a"));
        let none = Snapshot::brief(&Request::new(()).into_parts().0);
        assert!(!none.has(&HeaderName::from_static("authorization")));
    }

    #[test]
    fn a_reused_buffer_holds_nothing_of_the_request_before() {
        let mut head = Request::new(()).into_parts().0;
        head.headers.insert("authorization", HeaderValue::from_static("Bearer SECRET-SECRET"));
        drop(Snapshot::whole(&head, false));
        let buffer = BUFFERS.with(|buffers| buffers.borrow_mut().pop()).unwrap();
        assert!(buffer.is_empty());
        // What lies between the length and the capacity is zeros: growing into it shows them.
        let mut buffer = buffer;
        let capacity = buffer.capacity();
        buffer.resize(capacity, 0);
        assert!(!buffer.windows(6).any(|window| window == b"SECRET"));
    }

    #[test]
    fn buffers_are_bounded_in_number_and_size() {
        let mut head = Request::new(()).into_parts().0;
        let many: Vec<_> = (0..KEPT + 20).map(|_| Snapshot::whole(&head, false)).collect();
        drop(many);
        assert_eq!(BUFFERS.with(|buffers| buffers.borrow().len()), KEPT);
        BUFFERS.with(|buffers| buffers.borrow_mut().clear());
        let large = HeaderValue::from_bytes(&vec![b'a'; 2 * LARGEST]).unwrap();
        head.headers.insert("x-large", large);
        drop(Snapshot::whole(&head, false));
        assert_eq!(BUFFERS.with(|buffers| buffers.borrow().len()), 0);
    }
}
