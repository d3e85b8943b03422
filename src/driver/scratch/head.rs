//! The caller's request head, kept as bytes in a reused buffer.
//!
//! Cloning a `HeaderMap` costs two allocations and a reference count for each value; copying names
//! and values as bytes costs neither. The price is a rebuild after a failure, the slow path.
//!
//! The buffer holds the caller's credentials, so it is overwritten before it is reused or freed.

use std::sync::OnceLock;

use bytes::Bytes;
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Uri, Version,
    request::{Parts, Request},
};

/// A buffer that has grown beyond this is freed, not used again.
const LARGEST: usize = 16 * 1024;
/// The top bit of a value's length says that the value is sensitive.
const SENSITIVE: u32 = 1 << 31;

/// The caller's request head, or the parts of it that a report needs.
#[derive(Default)]
pub(crate) struct Snapshot {
    version: Version,
    /// The method, the URI, then for each header: two lengths, the name, the value. The rest is zero.
    buffer: Vec<u8>,
    used: usize,
    /// The end of the method; 0 while nothing was taken.
    method: u32,
    /// The end of the URI.
    uri: u32,
    path: (u32, u32),
    headers: u32,
    extensions: Extensions,
    /// The request head, once it was rebuilt.
    rebuilt: OnceLock<Parts>,
}

impl Snapshot {
    /// Takes everything that another attempt needs; `bare` leaves out the extensions.
    #[inline]
    pub(crate) fn keep_whole(&mut self, head: &Parts, bare: bool) {
        self.start(head);
        // Taken out, so that the length stays in a register.
        let (mut buffer, mut used) = (std::mem::take(&mut self.buffer), self.used);
        for (name, value) in &head.headers {
            let (name, value) =
                (name.as_str().as_bytes(), (value.as_bytes(), value.is_sensitive()));
            used = push(&mut buffer, used, name, value);
        }
        (self.buffer, self.used) = (buffer, used);
        self.headers = length(head.headers.len());
        if !bare && !head.extensions.is_empty() {
            self.extensions = head.extensions.clone();
        }
    }

    /// Takes the parts that a report needs: method, URI, two headers, and the presence of two others.
    ///
    /// One walk over the headers costs less than looking for each of them.
    pub(crate) fn keep_brief(&mut self, head: &Parts) {
        self.start(head);
        for (name, value) in &head.headers {
            match name.as_str() {
                name @ ("x-request-id" | "content-type") => {
                    self.push(name, value.as_bytes(), value.is_sensitive());
                }
                name @ ("authorization" | "idempotency-key") => self.push(name, b"", true),
                _ => {}
            }
        }
    }

    #[inline]
    fn start(&mut self, head: &Parts) {
        self.write(head.method.as_str());
        self.method = length(self.used);
        if let Some(scheme) = head.uri.scheme_str() {
            self.write(scheme);
            self.write("://");
        }
        if let Some(authority) = head.uri.authority() {
            self.write(authority.as_str());
        }
        let from = length(self.used);
        // An authority alone (CONNECT) has no path; "/" would make it another form of target.
        if let Some(path) = head.uri.path_and_query() {
            self.write(path.as_str());
        }
        let to = from.saturating_add(length(head.uri.path().len()));
        self.uri = length(self.used);
        self.path = (from, to.min(self.uri));
        self.version = head.version;
        self.headers = 0;
    }

    #[inline]
    fn write(&mut self, text: &str) {
        room(&mut self.buffer, self.used, text.len()).copy_from_slice(text.as_bytes());
        self.used += text.len();
    }

    /// Returns whether anything was taken.
    pub(crate) const fn is_taken(&self) -> bool {
        self.method != 0
    }

    /// Removes the request, and overwrites its bytes: they hold a credential.
    pub(crate) fn wipe(&mut self) {
        if !self.is_taken() {
            return;
        }
        if self.buffer.len() > LARGEST {
            overwrite(&mut self.buffer);
            self.buffer = Vec::new();
        }
        overwrite(self.buffer.get_mut(..self.used).unwrap_or_default());
        self.used = 0;
        self.method = 0;
        self.rebuilt.take();
        if !self.extensions.is_empty() {
            self.extensions = Extensions::new();
        }
    }

    fn push(&mut self, name: &str, value: &[u8], sensitive: bool) {
        self.used = push(&mut self.buffer, self.used, name.as_bytes(), (value, sensitive));
    }

    /// Returns the bytes in use.
    fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.used).unwrap_or_default()
    }

    /// Returns the method.
    pub(crate) fn method(&self) -> Method {
        let bytes = self.bytes().get(..self.method as usize).unwrap_or_default();
        // The bytes were taken from a method.
        Method::from_bytes(bytes).unwrap_or_default()
    }

    /// Returns the path without the query.
    pub(crate) fn path(&self) -> &str {
        let bytes = self.bytes().get(self.path.0 as usize..self.path.1 as usize);
        bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// Returns the first value of this header, when it is text.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        std::str::from_utf8(self.value(name)?).ok()
    }

    /// Returns whether there is such a header.
    pub(crate) fn has(&self, name: &HeaderName) -> bool {
        self.value(name).is_some()
    }

    fn value(&self, name: &HeaderName) -> Option<&[u8]> {
        let mut headers = Headers(self.bytes().get(self.uri as usize..)?);
        headers.find(|(found, _, _)| *found == name.as_str().as_bytes()).map(|(_, value, _)| value)
    }

    /// Returns the caller's request head; rebuilds it when it is first needed.
    pub(crate) fn head(&self) -> Option<&Parts> {
        if let Some(rebuilt) = self.rebuilt.get() {
            return Some(rebuilt);
        }
        let rebuilt = self.rebuild()?;
        Some(self.rebuilt.get_or_init(|| rebuilt))
    }

    /// Returns a head to be sent; `last` says that none is needed after it.
    pub(crate) fn next_head(&mut self, last: bool) -> Option<Parts> {
        if last { self.rebuilt.take().or_else(|| self.rebuild()) } else { self.head().cloned() }
    }

    fn rebuild(&self) -> Option<Parts> {
        // All values share one copy.
        let shared = Bytes::copy_from_slice(self.bytes());
        let uri = shared.get(self.method as usize..self.uri as usize)?;
        let uri = shared.slice_ref(uri);
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = self.method();
        parts.version = self.version;
        parts.uri =
            if uri.is_empty() { Uri::default() } else { Uri::from_maybe_shared(uri).ok()? };
        // The capacity of a map counts names, and one name may have many values: a hint.
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

/// Returns the `len` bytes after the `used` first ones of a buffer, which it grows. They are zeros.
#[inline]
fn room(buffer: &mut Vec<u8>, used: usize, len: usize) -> &mut [u8] {
    if buffer.len() < used + len {
        grow(buffer, used + len);
    }
    buffer.get_mut(used..used + len).unwrap_or_default()
}

#[cold]
fn grow(buffer: &mut Vec<u8>, len: usize) {
    let mut larger = vec![0; len.next_power_of_two().max(1024)];
    if let Some(start) = larger.get_mut(..buffer.len()) {
        start.copy_from_slice(buffer);
    }
    // It holds a credential.
    overwrite(buffer);
    *buffer = larger;
}

fn overwrite(bytes: &mut [u8]) {
    bytes.fill(0);
    // Keeps the compiler from leaving the write out.
    std::hint::black_box(bytes);
}

/// Writes one header, and returns the new length in use.
#[inline]
fn push(buffer: &mut Vec<u8>, used: usize, name: &[u8], (value, secret): (&[u8], bool)) -> usize {
    let secret = if secret { SENSITIVE } else { 0 };
    let lengths = u64::from(length(name.len())) | u64::from(length(value.len()) | secret) << 32;
    let len = 8 + name.len() + value.len();
    let room = room(buffer, used, len);
    if let Some((to_lengths, rest)) = room.split_first_chunk_mut::<8>() {
        *to_lengths = lengths.to_le_bytes();
        let (to_name, to_value) = rest.split_at_mut(name.len());
        to_name.copy_from_slice(name);
        to_value.copy_from_slice(value);
    }
    used + len
}

/// Converts a length: `HeaderMap` and `Uri` are far below 2 GiB.
fn length(length: usize) -> u32 {
    debug_assert!(length < SENSITIVE as usize, "a request head of 2 GiB");
    u32::try_from(length).unwrap_or(0)
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
        fn rebuilt_head_equals_the_original(head in head()) {
            let mut snapshot = Snapshot::default();
            snapshot.keep_whole(&head, false);
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
    fn brief_snapshot_has_what_reports_need_and_no_credential() {
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
        let mut brief = Snapshot::default();
        brief.keep_brief(&head);
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
        let mut none = Snapshot::default();
        none.keep_brief(&Request::new(()).into_parts().0);
        assert!(!none.has(&HeaderName::from_static("authorization")));
    }

    #[test]
    fn wiped_buffer_holds_nothing_of_the_request_before() {
        let mut head = Request::new(()).into_parts().0;
        head.headers.insert("authorization", HeaderValue::from_static("Bearer SECRET-SECRET"));
        let mut snapshot = Snapshot::default();
        snapshot.keep_whole(&head, false);
        assert!(snapshot.is_taken());
        snapshot.wipe();
        assert!(!snapshot.is_taken());
        assert_eq!(snapshot.used, 0);
        assert!(!snapshot.buffer.is_empty());
        assert!(snapshot.buffer.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn head_is_rebuilt_once_for_all_attempts() {
        let (mut head, ()) = Request::new(()).into_parts();
        head.headers.insert("x-a", HeaderValue::from_static("value"));
        let mut snapshot = Snapshot::default();
        snapshot.keep_whole(&head, false);
        // Clones of one head share the bytes of its values; a head that was made anew has others.
        let at = |head: &Parts| head.headers["x-a"].as_bytes().as_ptr();
        let first = snapshot.next_head(false).unwrap();
        assert_eq!(at(snapshot.head().unwrap()), at(&first));
        let second = snapshot.next_head(false).unwrap();
        assert_eq!(at(&second), at(&first));
        let last = snapshot.next_head(true).unwrap();
        assert_eq!(at(&last), at(&first));
    }

    #[test]
    fn large_buffer_is_freed() {
        let mut head = Request::new(()).into_parts().0;
        let large = HeaderValue::from_bytes(&vec![b'a'; 2 * LARGEST]).unwrap();
        head.headers.insert("x-large", large);
        let mut snapshot = Snapshot::default();
        snapshot.keep_whole(&head, false);
        snapshot.wipe();
        assert_eq!(snapshot.buffer.capacity(), 0);
    }
}
