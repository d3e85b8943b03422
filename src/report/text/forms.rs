//! The forms of a secret to search for: raw and base64 (percent-escapes are read by `redact`).

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use zeroize::Zeroizing;

/// The number of consecutive bytes that reveal a secret.
pub(crate) const RUN: usize = 8;
/// The least number of base64 digits that reveal anything.
const LEAST: usize = 3;

/// Calls `f` with each form of a secret: raw, and the base64 digits that depend on the secret alone,
/// for each of the three alignments.
pub(crate) fn forms(secret: &[u8], f: &mut dyn FnMut(&[u8])) {
    let folded: Zeroizing<Vec<u8>> = Zeroizing::new(secret.iter().copied().map(fold).collect());
    f(&folded);
    // The bytes before the secret shift its bits against the base64 digits.
    let mut shifted = Zeroizing::new(Vec::with_capacity(secret.len() + 2));
    shifted.extend_from_slice(&[0, 0]);
    shifted.extend_from_slice(secret);
    let most = shifted.len().div_ceil(3) * 4;
    let mut digits = Zeroizing::new(vec![0; most]);
    for before in 0..=2 {
        let bytes = shifted.get(2 - before..).unwrap_or_default();
        if STANDARD_NO_PAD.encode_slice(bytes, &mut digits).is_err() {
            continue;
        }
        // Only the digits that depend on the secret alone.
        let (first, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        let form = digits.get(first..end).unwrap_or_default();
        if form.len() >= LEAST {
            f(form);
        }
    }
}

/// Maps the URL-safe alphabet of base64 to the standard one (RFC 4648 §4 and §5).
pub(crate) const fn fold(byte: u8) -> u8 {
    match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    }
}
