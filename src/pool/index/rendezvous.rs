//! Rendezvous hashing for sticky requests: the account with the highest hash of key and id serves, so
//! that an account that comes or goes moves only its own requests.
//!
//! The hash is written out here because it must be the same in every process and release.

/// FNV-1a, 64 bits.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Returns the draw of a key for an account, from the hashes of both.
pub(crate) const fn draw(key: u64, id: u64) -> u64 {
    mix(key ^ mix(id))
}

/// The finalizer of splitmix64: every bit depends on every other.
pub(crate) const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
