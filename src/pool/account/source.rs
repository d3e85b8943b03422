//! The source of an account, and the lifetime of its credentials.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::SystemTime,
};

use super::{lifetime::Lifetime, single_flight::Refresh};
use crate::{
    classify::Reason,
    credential::{
        Account, Credential, CredentialError, Expires, SourceSettings, Token, expiry::Validity,
    },
    sync::{Mutex, MutexGuard, lock},
};

/// The source of an account, or the expiry that each of its credentials has.
pub(crate) struct Source {
    pub(crate) minting: Option<SourceSettings>,
    flight: Mutex<Refresh>,
    /// Serialises the calls to the sources of one group.
    #[cfg_attr(all(test, failover_loom), allow(dead_code))]
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
    /// The expiry of each of its credentials, where nothing else sets one.
    lasting: Expires,
}

impl Source {
    /// Returns `None` for an account with neither.
    pub(crate) fn new(account: &Account, turn: Arc<tokio::sync::Mutex<()>>) -> Option<Box<Self>> {
        // A date is that of one credential; so is a lifetime, where there is one to begin with.
        let lasting = match account.expires {
            Expires::Daily(_) | Expires::Never => account.expires,
            Expires::In(_) if !account.credential.is_loaded() => account.expires,
            _ => Expires::Unknown,
        };
        let minting = account.source_settings();
        if minting.is_none() && lasting == Expires::Unknown {
            return None;
        }
        let flight = Mutex::new(Refresh::default());
        Some(Box::new(Self { minting, flight, turn, lasting }))
    }

    pub(crate) fn flight(&self) -> MutexGuard<'_, Refresh> {
        lock(&self.flight)
    }

    /// Returns whether the source may give another credential after `reason`.
    pub(crate) fn can_renew_after(&self, reason: Reason) -> bool {
        // A source that panics is not called.
        let asks = |minting: &SourceSettings| {
            let ask = || minting.source.can_renew_after(reason);
            catch_unwind(AssertUnwindSafe(ask)).unwrap_or(false)
        };
        self.minting.as_ref().is_some_and(asks) && self.flight().over().is_none()
    }
}

/// Returns the validity of a credential that is put in now.
pub(crate) fn life(
    source: Option<&Source>,
    credential: &Credential,
    expires: Expires,
    now: SystemTime,
) -> Validity {
    let lasting = source.map_or(Expires::Unknown, |source| source.lasting);
    expires.or(lasting).validity(credential.token(), now)
}

/// Returns the times at which a credential is renewed and expires.
pub(crate) fn lifetime(
    source: Option<&Source>,
    life: &Validity,
    again: Option<std::time::Duration>,
    now: u64,
) -> Lifetime {
    let minting = source.and_then(|source| source.minting.as_ref());
    let windows = minting.map(|minting| minting.windows).unwrap_or_default();
    let times = windows.schedule(life, again, fastrand::f64());
    Lifetime::new(now, life, times, minting.is_some())
}

/// Builds the credential that carries `token`.
pub(crate) fn credential(
    settings: &SourceSettings,
    token: &Token,
) -> Result<Credential, CredentialError> {
    match &settings.make_credential {
        Some(make) => make(token.expose()),
        None => Credential::bearer(token.expose()),
    }
}
