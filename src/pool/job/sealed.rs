//! The bytes of a job id.
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | the version of this format, 1 |
//! | 16 | the MAC |
//! | 16 | the account's tag, masked |
//! | 1 to 1024 | the upstream's id, masked |
//!
//! The text is base64url without padding (RFC 4648 §5), so each id has exactly one spelling.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// The tag of an account, or the MAC of an id.
pub(crate) type Tag = [u8; TAG];

/// The length of a tag: 128 bits.
pub(crate) const TAG: usize = 16;

/// The version of the format, which the MAC covers too.
pub(crate) const VERSION: u8 = 1;

/// The longest upstream id, in bytes.
pub(crate) const MAX_UPSTREAM_ID: usize = 1024;

const HEAD: usize = 1 + TAG;
const MAX_TEXT: usize = ((HEAD + TAG + MAX_UPSTREAM_ID) * 4).div_ceil(3);

/// See the [module](self).
pub(crate) struct Sealed {
    pub(crate) mac: Tag,
    /// The tag and the upstream's id.
    pub(crate) masked: Vec<u8>,
}

impl Sealed {
    /// Decodes an id. `None` if the text cannot be one. Takes bounded time for any text.
    pub(crate) fn read(text: &str) -> Option<Self> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (version, rest) = bytes.split_first()?;
        let (mac, masked) = rest.split_first_chunk()?;
        let fits = *version == VERSION && masked.len() > TAG;
        fits.then(|| Self { mac: *mac, masked: masked.to_vec() })
    }

    pub(crate) fn write(&self) -> String {
        let mut bytes = Vec::with_capacity(HEAD + self.masked.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.mac);
        bytes.extend_from_slice(&self.masked);
        URL_SAFE_NO_PAD.encode(bytes)
    }
}
