//! Credentials: checked and encoded once, never printed, wiped with their last clone.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, header::AUTHORIZATION};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use super::check::{CredentialError, FRAMING, check, check_name, check_outline};

#[cfg(test)]
mod tests;

/// A secret that authenticates requests, and the place where it is sent.
///
/// 1. The value is checked when it is built. Copy and paste errors give an error that says what to
///    change, and never shows the value.
/// 2. The header value is encoded once and marked
///    [sensitive](http::HeaderValue::is_sensitive). Each request gets another handle to it.
/// 3. The bytes are wiped when the last handle is dropped. Copies elsewhere (a `String` of the
///    caller, a URI with a key in its query, a TLS buffer) are out of reach.
/// 4. `Debug` shows the place and never the secret.
///
/// ```
/// use tower_failover::{credential::CredentialError, Credential};
///
/// let credential = Credential::bearer("s3cr3t-token")?;
/// assert_eq!(format!("{credential:?}"), "Credential(header `authorization`)");
///
/// let error = Credential::bearer("Bearer s3cr3t-token").unwrap_err();
/// assert_eq!(error, CredentialError::Scheme);
/// assert!(!error.to_string().contains("s3cr3t"));
/// # Ok::<(), CredentialError>(())
/// ```
#[derive(Clone)]
pub struct Credential {
    pub(crate) place: Placement,
    secrets: Secrets,
}

/// The place of a credential in a request.
#[derive(Clone)]
pub(crate) enum Placement {
    /// A header and its encoded value.
    Header(HeaderName, HeaderValue),
    /// A query key, percent-encoded, and the value, percent-encoded.
    Query(Box<str>, Bytes),
}

/// The parts of a credential that must not be shown.
#[derive(Clone)]
enum Secrets {
    /// The value of the placement from this byte on.
    From(u16),
    /// These, and the value of the placement from this byte on.
    Apart(Box<[Bytes]>, u16),
}

impl Credential {
    /// Builds a bearer token (RFC 6750 §2.1): `Authorization: Bearer <token>`.
    ///
    /// # Errors
    ///
    /// See the variants of [`CredentialError`].
    pub fn bearer(token: impl AsRef<[u8]>) -> Result<Self, CredentialError> {
        Self::prefixed("Bearer ", token.as_ref())
    }

    /// Builds a token of another scheme, such as `Token` or `Key`: `Authorization: <name> <token>`.
    ///
    /// # Errors
    ///
    /// See the variants of [`CredentialError`].
    pub fn scheme(name: impl AsRef<str>, token: impl AsRef<[u8]>) -> Result<Self, CredentialError> {
        let name = name.as_ref();
        check_name(name)?;
        Self::prefixed(&format!("{name} "), token.as_ref())
    }

    /// Builds a key in a header of its own, such as `x-api-key`.
    ///
    /// # Errors
    ///
    /// See the variants of [`CredentialError`].
    pub fn header(name: HeaderName, value: impl AsRef<[u8]>) -> Result<Self, CredentialError> {
        let value = value.as_ref();
        check(value)?;
        if FRAMING.contains(&name.as_str()) {
            return Err(CredentialError::Header);
        }
        let value = sensitive(Zeroizing::new(value.to_vec()))?;
        Ok(Self { place: Placement::Header(name, value), secrets: Secrets::From(0) })
    }

    /// Builds a key in the query, such as `?key=...`. It replaces the request's own value of that key.
    ///
    /// The URI then holds the key, and [`Uri`](http::Uri) prints it: log paths without their query.
    ///
    /// # Errors
    ///
    /// See the variants of [`CredentialError`].
    pub fn query(key: impl AsRef<str>, value: impl AsRef<[u8]>) -> Result<Self, CredentialError> {
        let (key, value) = (key.as_ref(), value.as_ref());
        check_name(key)?;
        check(value)?;
        let mut encoded = Zeroizing::new(Vec::with_capacity(value.len() * 3));
        for &byte in value {
            let text = [byte];
            let text = std::str::from_utf8(&text).map_err(|_| CredentialError::NotVisible)?;
            utf8_percent_encode(text, QUERY).for_each(|part| encoded.extend(part.bytes()));
        }
        let raw = Bytes::from_owner(Zeroizing::new(value.to_vec()));
        Ok(Self {
            place: Placement::Query(key.into(), Bytes::from_owner(encoded)),
            secrets: Secrets::Apart(Box::new([raw]), 0),
        })
    }

    /// Builds a user and a password (RFC 7617).
    ///
    /// Either may be empty, but not both: some APIs take their key as the user, others as the
    /// password. A password may hold spaces and any letter, and is sent as UTF-8.
    ///
    /// # Errors
    ///
    /// See the variants of [`CredentialError`].
    pub fn basic(
        user: impl AsRef<str>,
        password: impl AsRef<str>,
    ) -> Result<Self, CredentialError> {
        let (user, password) = (user.as_ref(), password.as_ref());
        if user.is_empty() && password.is_empty() {
            return Err(CredentialError::Empty);
        }
        for part in [user, password] {
            if !part.is_empty() {
                check_outline(part.as_bytes())?;
            }
            if part.chars().any(char::is_control) {
                return Err(CredentialError::NotVisible);
            }
        }
        if user.contains(':') {
            return Err(CredentialError::Colon);
        }
        let both = Zeroizing::new([user, ":", password].concat());
        let mut value = Zeroizing::new(vec![0; 6 + both.len().div_ceil(3) * 4]);
        value[..6].copy_from_slice(b"Basic ");
        // The slice has exactly the length of the encoded text.
        let _ = STANDARD.encode_slice(both.as_bytes(), &mut value[6..]);
        let value = sensitive(value)?;
        let secret = if password.is_empty() { user } else { password };
        let raw = Bytes::from_owner(Zeroizing::new(secret.as_bytes().to_vec()));
        Ok(Self {
            place: Placement::Header(AUTHORIZATION, value),
            secrets: Secrets::Apart(Box::new([raw]), 6),
        })
    }

    fn prefixed(prefix: &str, token: &[u8]) -> Result<Self, CredentialError> {
        check(token)?;
        let mut value = Zeroizing::new(Vec::with_capacity(prefix.len() + token.len()));
        value.extend_from_slice(prefix.as_bytes());
        value.extend_from_slice(token);
        let from = u16::try_from(prefix.len()).map_err(|_| CredentialError::Name)?;
        let place = Placement::Header(AUTHORIZATION, sensitive(value)?);
        Ok(Self { place, secrets: Secrets::From(from) })
    }

    /// Builds the placeholder for a credential that was not loaded yet. It is never sent.
    pub(crate) fn unloaded() -> Self {
        let value = HeaderValue::from_static("");
        Self { place: Placement::Header(AUTHORIZATION, value), secrets: Secrets::From(0) }
    }

    /// Returns whether the credential was loaded.
    pub(crate) fn is_loaded(&self) -> bool {
        !self.token().is_empty()
    }

    /// Returns the token, key or password as the user gave it.
    pub(crate) fn token(&self) -> &[u8] {
        match &self.secrets {
            Secrets::From(from) => self.value().get(usize::from(*from)..).unwrap_or_default(),
            Secrets::Apart(apart, _) => apart.first().map_or(&[][..], |raw| raw),
        }
    }

    /// Returns whether both are sent in the same place with the same value.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let same_place = match (&self.place, &other.place) {
            (Placement::Header(one, _), Placement::Header(two, _)) => one == two,
            (Placement::Query(one, _), Placement::Query(two, _)) => one == two,
            _ => false,
        };
        same_place && self.value() == other.value()
    }

    fn value(&self) -> &[u8] {
        match &self.place {
            Placement::Header(_, value) => value.as_bytes(),
            Placement::Query(_, value) => value,
        }
    }

    /// Calls `f` with each secret that must not be shown.
    pub(crate) fn visit_secrets(&self, f: &mut dyn FnMut(&[u8])) {
        let (apart, from): (&[Bytes], u16) = match &self.secrets {
            Secrets::From(from) => (&[], *from),
            Secrets::Apart(apart, from) => (apart, *from),
        };
        for secret in apart {
            f(secret);
        }
        if let Some(value) = self.value().get(usize::from(from)..) {
            f(value);
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Placement::Header(name, _) => write!(f, "Credential(header `{name}`)"),
            Placement::Query(key, _) => write!(f, "Credential(query key `{key}`)"),
        }
    }
}

/// The characters that need no encoding in a query value (RFC 3986 §2.3).
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn sensitive(value: Zeroizing<Vec<u8>>) -> Result<HeaderValue, CredentialError> {
    // `HeaderValue` keeps this `Bytes` without a copy, which would not be wiped.
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(value))
        .map_err(|_| CredentialError::NotVisible)?;
    value.set_sensitive(true);
    Ok(value)
}
