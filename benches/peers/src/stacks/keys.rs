//! Hand-written accounts: a list, a cursor, a flag for dead keys.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use http::HeaderValue;

/// The models in their order of fallback.
pub const MODELS: [&str; 3] = ["model-1", "model-2", "model-3"];

/// Returns the token of account `i`, the same in every stack.
pub fn token(i: usize) -> String {
    format!("tok-{i}-0123456789abcdef0123456789")
}

pub struct Keys {
    keys: Vec<(HeaderValue, AtomicBool)>,
    cursor: AtomicUsize,
}

impl Keys {
    pub fn new(n: usize) -> Self {
        let key = |i| {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token(i))).unwrap();
            value.set_sensitive(true);
            (value, AtomicBool::new(false))
        };
        Self { keys: (0..n).map(key).collect(), cursor: AtomicUsize::new(0) }
    }

    /// Returns the next key that is not dead.
    pub fn choose(&self) -> Option<HeaderValue> {
        let start = self.cursor.fetch_add(1, Relaxed);
        let found = (0..self.keys.len())
            .map(|i| &self.keys[(start + i) % self.keys.len()])
            .find(|(_, dead)| !dead.load(Relaxed))?;
        Some(found.0.clone())
    }

    /// Marks a key as rejected.
    pub fn reject(&self, value: &HeaderValue) {
        if let Some((_, dead)) = self.keys.iter().find(|(key, _)| key == value) {
            dead.store(true, Relaxed);
        }
    }

    pub fn revive(&self) {
        for (_, dead) in &self.keys {
            dead.store(false, Relaxed);
        }
    }
}

/// Returns the body with the next model, by way of a JSON tree.
pub fn with_next_model(body: &[u8]) -> Option<Bytes> {
    let mut tree: serde_json::Value = serde_json::from_slice(body).ok()?;
    let model = tree.get_mut("model")?;
    let at = MODELS.iter().position(|one| model == one)?;
    *model = (*MODELS.get(at + 1)?).into();
    Some(serde_json::to_vec(&tree).ok()?.into())
}
