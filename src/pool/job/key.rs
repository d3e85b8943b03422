//! The key that seals and opens job ids.
//!
//! The MAC covers all sealed bytes, and the mask is derived from the MAC: a synthetic IV (Rogaway and
//! Shrimpton, "Deterministic Authenticated-Encryption", 2006), with HMAC-SHA-256 (RFC 2104) for both.
//! A job has one id for each key. Without the key, two ids do not show whether they belong to the same
//! account.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::sealed::{Sealed, TAG, Tag, VERSION};
use crate::pool::Pool;

/// The pseudorandom function. Its state is wiped when it is dropped.
type Prf = Hmac<Sha256>;

/// See the [module](self).
pub(crate) struct Key {
    tag: Prf,
    mac: Prf,
    mask: Prf,
    known: Mutex<Known>,
}

/// The accounts whose tags were computed.
#[derive(Default)]
struct Known {
    by_tag: HashMap<Tag, Arc<str>>,
    ids: HashSet<Arc<str>>,
}

impl Key {
    pub(crate) fn new(key: &Zeroizing<[u8; 32]>) -> Arc<Self> {
        let root = keyed(key);
        let derived = |purpose: &str| {
            let mut prf = root.clone();
            prf.update(b"tower-failover job id: ");
            prf.update(purpose.as_bytes());
            keyed(&output(prf))
        };
        Arc::new(Self {
            tag: derived("account"),
            mac: derived("mac"),
            mask: derived("mask"),
            known: Mutex::default(),
        })
    }

    pub(crate) fn seal(&self, scope: &str, account: &str, upstream_id: &str) -> Sealed {
        let mut masked = [&self.tag(account), upstream_id.as_bytes()].concat();
        let mac = truncated(self.mac(scope, &masked));
        self.mask(&mac, &mut masked);
        Sealed { mac, masked }
    }

    /// Returns the account's tag and the upstream's id. `None` unless this key sealed exactly that.
    pub(crate) fn unseal(&self, scope: &str, sealed: &Sealed) -> Option<(Tag, String)> {
        let mut plain = sealed.masked.clone();
        self.mask(&sealed.mac, &mut plain);
        // Compares in constant time.
        self.mac(scope, &plain).verify_truncated_left(&sealed.mac).ok()?;
        let (tag, upstream_id) = plain.split_first_chunk::<TAG>()?;
        Some((*tag, String::from_utf8(upstream_id.to_vec()).ok()?))
    }

    /// Returns the account of the pool that has this tag.
    ///
    /// The tag of each account is computed once. Later calls are as fast for 100,000 accounts as for
    /// one.
    pub(crate) fn account(&self, tag: &Tag, pool: &Pool) -> Option<Arc<str>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.by_tag.contains_key(tag) {
            // Removed accounts must not accumulate.
            if known.ids.len() > 2 * pool.len() + 64 {
                *known = Known::default();
            }
            pool.visit_ids(|id| {
                if known.ids.insert(Arc::clone(id)) {
                    known.by_tag.insert(self.tag(id), Arc::clone(id));
                }
            });
        }
        known.by_tag.get(tag).filter(|id| pool.contains(id)).cloned()
    }

    fn tag(&self, account: &str) -> Tag {
        let mut prf = self.tag.clone();
        prf.update(account.as_bytes());
        truncated(prf)
    }

    /// Computes the MAC. `plain` starts with a tag of fixed length, so only the length of the scope is
    /// included.
    fn mac(&self, scope: &str, plain: &[u8]) -> Prf {
        let mut prf = self.mac.clone();
        prf.update(&[VERSION]);
        prf.update(&(scope.len() as u64).to_be_bytes());
        prf.update(scope.as_bytes());
        prf.update(plain);
        prf
    }

    /// Masks or unmasks bytes.
    fn mask(&self, mac: &Tag, bytes: &mut [u8]) {
        for (block, counter) in bytes.chunks_mut(32).zip(0_u32..) {
            let mut prf = self.mask.clone();
            prf.update(mac);
            prf.update(&counter.to_be_bytes());
            let stream = output(prf);
            block.iter_mut().zip(stream.iter()).for_each(|(byte, mask)| *byte ^= mask);
        }
    }
}

fn keyed(key: &[u8; 32]) -> Prf {
    // A key shorter than a block is padded with zeros (RFC 2104 §2).
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key);
    Prf::new((&*block).into())
}

fn output(prf: Prf) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(prf.finalize().into_bytes().into())
}

fn truncated(prf: Prf) -> Tag {
    let mut tag = [0; TAG];
    tag.copy_from_slice(&output(prf)[..TAG]);
    tag
}

#[cfg(test)]
impl Key {
    pub(crate) fn accounts_known(&self) -> usize {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(known.ids.len(), known.by_tag.len());
        known.ids.len()
    }
}
