//! Checks of an account, on its own and beside the others.

use std::collections::HashSet;

use http::{HeaderName, header::AUTHORIZATION};

use crate::{
    credential::{Account, FRAMING, Placement},
    pool::{
        error::PoolError,
        index::Roster,
        origin::{self, Origins},
    },
};

/// Checks an account on its own.
pub(crate) fn check_account(origins: &Origins, account: &Account) -> Result<(), PoolError> {
    let id = || Box::from(&*account.id);
    if account.id.is_empty() {
        return Err(PoolError::EmptyId);
    }
    let framing = account.headers.keys().find(|name| FRAMING.contains(&name.as_str()));
    if let Some(name) = framing {
        return Err(PoolError::HeaderFrames { id: id(), header: name.as_str().into() });
    }
    let Some(uri) = &account.base_uri else {
        return Ok(());
    };
    if let Some(fault) = origin::fault(uri) {
        return Err(PoolError::BaseUri { id: id(), fault });
    }
    if !origins.allow(uri) {
        return Err(PoolError::BaseOrigin { id: id(), origin: origin::shown(uri) });
    }
    Ok(())
}

/// Checks that no header is a credential of one account and a fixed header of another: it would be
/// removed for the one and added for the other.
pub(crate) fn check_collisions(roster: &Roster, accounts: &[Account]) -> Result<(), PoolError> {
    let mut carrying: HashSet<&HeaderName> = roster.places.headers.iter().collect();
    carrying.insert(&AUTHORIZATION);
    carrying.extend(accounts.iter().filter_map(|account| match &account.credential.place {
        Placement::Header(name, _) => Some(name),
        Placement::Query(..) => None,
    }));
    for account in accounts {
        if let Some(name) = account.headers.keys().find(|name| carrying.contains(name)) {
            return Err(collision(&account.id, name));
        }
        if let Placement::Header(name, _) = &account.credential.place {
            if roster.places.fixed.contains_key(name) {
                return Err(collision(&account.id, name));
            }
        }
    }
    Ok(())
}

pub(crate) fn collision(id: &str, name: &HeaderName) -> PoolError {
    PoolError::HeaderCollides { id: id.into(), header: name.as_str().into() }
}
