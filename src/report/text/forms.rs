//! The forms in which a secret may stand in a text.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use zeroize::Zeroizing;

/// How many bytes of a text give a secret away.
pub(crate) const RUN: usize = 8;
/// Fewer digits of base64 than these say nothing.
const LEAST: usize = 3;

/// Gives each form of a secret: as it is, and the digits of its base64 that it alone decides, for
/// each of the three ways in which it may lie between its neighbours.
pub(crate) fn forms(secret: &[u8], f: &mut dyn FnMut(&[u8])) {
    let folded: Zeroizing<Vec<u8>> = Zeroizing::new(secret.iter().copied().map(fold).collect());
    f(&folded);
    // What may stand before the secret shifts its bits against the base64 digits.
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
        // Only the digits that the secret alone decides.
        let (first, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        let form = digits.get(first..end).unwrap_or_default();
        if form.len() >= LEAST {
            f(form);
        }
    }
}

/// Both alphabets of base64 (RFC 4648 §4 and §5) are one here.
pub(crate) const fn fold(byte: u8) -> u8 {
    match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    }
}
