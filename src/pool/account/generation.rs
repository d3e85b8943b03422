//! One credential of an account, with its state.

use std::{fmt, sync::Arc};

use super::{
    account::PooledAccount, lifetime::Lifetime, model_cooldowns::ModelCooldowns,
    state::GenerationState,
};
use crate::{
    credential::{Credential, RefreshReason},
    sync::{AtomicU64, Mutex, Ordering, lock},
};

/// One credential of an account, from when it was put in until it is replaced.
pub(crate) struct Generation {
    /// From 1; 0 is an account whose source has not given its first credential.
    pub(crate) number: u64,
    /// The last generation that an operator put in; those after it are renewals by the source.
    pub(crate) set_at: u64,
    pub(crate) credential: Credential,
    pub(crate) account: Arc<PooledAccount>,
    pub(crate) lifetime: Lifetime,
    state: AtomicU64,
    model_cooldowns: Mutex<Option<Box<ModelCooldowns>>>,
}

// === impl Generation ===

impl Generation {
    pub(crate) fn new(
        number: u64,
        credential: Credential,
        account: Arc<PooledAccount>,
        lifetime: Lifetime,
        state: GenerationState,
    ) -> Self {
        let state = AtomicU64::new(state.bits());
        let model_cooldowns = Mutex::new(None);
        Self { number, set_at: number, credential, account, lifetime, state, model_cooldowns }
    }

    pub(crate) fn state(&self) -> GenerationState {
        GenerationState::from_bits(self.state.load(Ordering::Acquire))
    }

    /// Changes the state in one step. Returns the states before and after; `None` if nothing changed.
    ///
    /// # Ordering
    ///
    /// The compare-and-swap is `SeqCst`: it pairs with the fences in `Shared::sync_index` and
    /// `Shared::publish`, so that the state or the roster is seen by the other side. Its `Acquire` loads
    /// pair with it.
    pub(crate) fn update(
        &self,
        f: impl Fn(GenerationState) -> Option<GenerationState>,
    ) -> Option<(GenerationState, GenerationState)> {
        let mut old = self.state.load(Ordering::Acquire);
        loop {
            let next = f(GenerationState::from_bits(old))?;
            let swapped = self.state.compare_exchange_weak(
                old,
                next.bits(),
                Ordering::SeqCst,
                Ordering::Acquire,
            );
            match swapped {
                Ok(_) => return Some((GenerationState::from_bits(old), next)),
                Err(newer) => old = newer,
            }
        }
    }

    /// Returns whether the credential may still be sent at `now`.
    pub(crate) fn is_good(&self, now: u64) -> bool {
        let state = self.state();
        state.may_be_sent() && !state.is_closed() && !self.lifetime.is_expired(now)
    }

    /// Returns why the source is called for another credential.
    pub(crate) fn refresh_reason(&self) -> RefreshReason {
        let state = self.state();
        if !self.credential.is_loaded() {
            RefreshReason::First
        } else if state.was_rejected() {
            RefreshReason::Rejected(state.reason())
        } else {
            RefreshReason::Expiring
        }
    }

    /// Reads or changes the model cooldowns, and updates the flag in the state.
    pub(crate) fn model_cooldowns<R>(&self, f: impl FnOnce(&mut ModelCooldowns) -> R) -> R {
        let mut table = lock(&self.model_cooldowns);
        let mut models = table.take().unwrap_or_default();
        let result = f(&mut models);
        let some = !models.is_empty();
        // Under the lock, so that flag and table change together.
        self.update(|state| state.with_model_cooldowns(some));
        *table = some.then_some(models);
        result
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation")
            .field("account", &self.account.id)
            .field("number", &self.number)
            .field("credential", &self.credential)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
