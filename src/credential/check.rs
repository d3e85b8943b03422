//! The checks of credentials at build: empty, white space, quotes, a scheme word, bytes outside ASCII.

/// The reason why a value cannot be a credential.
///
/// No message shows the value.
///
/// ```
/// use tower_failover::{credential::CredentialError, Credential};
///
/// let bad = |token| Credential::bearer(token).unwrap_err();
/// assert_eq!(bad("tok-alice\n"), CredentialError::WhiteSpace);
/// assert_eq!(bad("Bearer tok-alice"), CredentialError::Scheme);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// The value is empty.
    #[error("the credential is empty: check that the variable or file it comes from is set")]
    Empty,
    /// The value starts or ends with white space.
    #[error(
        "the credential starts or ends with white space: trim it (a file often ends with a newline)"
    )]
    WhiteSpace,
    /// The value is in quotation marks.
    #[error("the credential has quotation marks around it: give it without them")]
    Quoted,
    /// The value starts with a scheme.
    #[error(
        "the credential starts with a scheme such as `Bearer`: give the token alone, \
         or use `Credential::scheme` for a scheme of your own"
    )]
    Scheme,
    /// The value holds a character that a header or query cannot carry.
    #[error(
        "the credential holds a character that is not visible ASCII (a space, a newline, an accent): \
         copy it again"
    )]
    NotVisible,
    /// The user name holds a colon (RFC 7617 §2).
    #[error("the user name holds a `:`, which ends it: give user and password as two values")]
    Colon,
    /// The query key or the scheme's name is empty, or holds more than letters, digits, `-`, `.` and `_`.
    #[error("the name of the query key or scheme may hold only letters, digits, `-`, `.` and `_`")]
    Name,
    /// The header frames or routes the message.
    #[error(
        "a credential cannot go into this header, which frames or routes the message: \
         name the header that the upstream documents"
    )]
    Header,
}

/// Headers that frame or route a message (RFC 9110 §7.6.1, §8.6, §7.2).
pub(crate) const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Scheme names that are often copied along with a token.
const SCHEMES: [&str; 7] =
    ["bearer", "basic", "token", "digest", "apikey", "authorization:", "bearer:"];

/// Checks a value that goes into a header or query as it is.
pub(super) fn check(value: &[u8]) -> Result<(), CredentialError> {
    check_outline(value)?;
    if value.iter().all(u8::is_ascii_graphic) { Ok(()) } else { Err(CredentialError::NotVisible) }
}

/// Checks what holds for every value: it is not empty, quoted, padded or prefixed.
pub(super) fn check_outline(value: &[u8]) -> Result<(), CredentialError> {
    let (Some(first), Some(last)) = (value.first(), value.last()) else {
        return Err(CredentialError::Empty);
    };
    if first.is_ascii_whitespace() || last.is_ascii_whitespace() {
        return Err(CredentialError::WhiteSpace);
    }
    if value.len() > 1 && first == last && b"\"'`".contains(first) {
        return Err(CredentialError::Quoted);
    }
    let word = value.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    if SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme.as_bytes())) {
        return Err(CredentialError::Scheme);
    }
    Ok(())
}

/// Checks the name of a query key or scheme.
pub(super) fn check_name(name: &str) -> Result<(), CredentialError> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if name.is_empty() || name.len() > 256 || !name.bytes().all(good) {
        return Err(CredentialError::Name);
    }
    Ok(())
}
