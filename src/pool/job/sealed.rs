//! The bytes of a job id.
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | the version of this format, 1 |
//! | 16 | the MAC |
//! | 16 | the account's tag, masked |
//! | 1 to 1024 | the upstream's id, masked |
//!
//! As text: base64url without padding (RFC 4648 §5), which each string of bytes has exactly one of.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// What stands for an account, or proves that an id is whole.
pub(crate) type Tag = [u8; TAG];

/// 128 bits.
pub(crate) const TAG: usize = 16;

/// The version of the format, under the MAC as well.
pub(crate) const VERSION: u8 = 1;

/// The longest id of an upstream's, in bytes.
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
    /// `None` when it cannot be one. Takes no longer than a bounded time, whatever the text.
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
