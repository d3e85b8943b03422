//! Putting an account's credential, headers and base URI on a request.

use http::{
    HeaderMap, Uri,
    header::{AUTHORIZATION, HOST},
    request::Parts,
    uri::PathAndQuery,
};
use percent_encoding::percent_decode_str;

use super::lease::Lease;
use crate::{
    classify::Code,
    credential::{Credential, Placement},
    pool::{
        account::{Base, PooledAccount},
        index::Places,
        shared::Shared,
    },
};

impl Lease {
    /// Puts the account's credential, fixed headers and base URI on a request.
    ///
    /// 1. Headers and query keys that accounts of this pool use are removed first, and so is a
    ///    credential of the caller: any `Authorization`.
    /// 2. A base URI is not removed: pass the caller's own URI each time.
    ///
    /// # Errors
    ///
    /// The request's origin is not one of the pool's, or the request has no place for a query key. It
    /// is then unchanged.
    pub(crate) fn apply(&self, shared: &Shared, parts: &mut Parts) -> Result<(), Code> {
        let account = &self.generation.account;
        let credential = &self.generation.credential;
        let base = account.extras.as_deref().and_then(|extras| extras.base.as_ref());
        // A base URI was checked when the account was inserted.
        if base.is_none() && !shared.settings.origins.allow(&parts.uri) {
            return Err(Code::OriginNotAllowed);
        }
        if let (true, None, Placement::Header(name, value)) =
            (self.is_one_header(), &account.extras, &credential.place)
        {
            if *name != AUTHORIZATION {
                parts.headers.remove(AUTHORIZATION);
            }
            parts.headers.insert(name, value.clone());
            return Ok(());
        }
        let roster = shared.roster.load();
        if let Some(uri) = new_uri(&parts.uri, base, &roster.places, credential)? {
            parts.uri = uri;
        }
        take_off(&mut parts.headers, &roster.places, credential);
        put_on(&mut parts.headers, base, account, credential);
        Ok(())
    }
}

/// Returns whether the request carries a credential of the caller.
pub(crate) fn carries_own(shared: &Shared, parts: &Parts) -> bool {
    let roster = shared.roster.load();
    let places = &roster.places;
    parts.headers.contains_key(AUTHORIZATION)
        || places.headers.iter().any(|name| parts.headers.contains_key(name))
        || parts.uri.query().is_some_and(|query| {
            query.split('&').any(|pair| places.keys.iter().any(|key| names(pair, key)))
        })
}

fn take_off(headers: &mut HeaderMap, places: &Places, credential: &Credential) {
    let own = match &credential.place {
        Placement::Header(name, _) => Some(name),
        Placement::Query(..) => None,
    };
    // The account's own header is replaced anyway.
    for name in places.headers.iter().filter(|name| Some(*name) != own) {
        headers.remove(name);
    }
    if own != Some(&AUTHORIZATION) {
        headers.remove(AUTHORIZATION);
    }
    for (name, values) in &places.fixed {
        // The account's own values are put on again.
        if headers.get_all(name).iter().all(|value| values.contains(value)) {
            headers.remove(name);
        }
    }
}

fn put_on(
    headers: &mut HeaderMap,
    base: Option<&Base>,
    account: &PooledAccount,
    credential: &Credential,
) {
    if let Placement::Header(name, value) = &credential.place {
        headers.insert(name, value.clone());
    }
    if let Some(fixed) = account.headers() {
        for name in fixed.keys() {
            headers.remove(name);
        }
        for (name, value) in fixed {
            headers.append(name, value.clone());
        }
    }
    if let Some(base) = base {
        if let Some(host) = headers.get_mut(HOST) {
            *host = base.host.clone();
        }
    }
}

/// Returns the URI with the account's authority and query key, and without other accounts' keys;
/// `None` if that changes nothing.
fn new_uri(
    uri: &Uri,
    base: Option<&Base>,
    places: &Places,
    credential: &Credential,
) -> Result<Option<Uri>, Code> {
    let foreign = |pair: &str| places.keys.iter().any(|key| names(pair, key));
    let key = match &credential.place {
        Placement::Query(key, value) => Some((key, value)),
        Placement::Header(..) => None,
    };
    let strip =
        !places.keys.is_empty() && uri.query().is_some_and(|query| query.split('&').any(foreign));
    if base.is_none() && key.is_none() && !strip {
        return Ok(None);
    }
    // A URI without room for the key cannot carry a credential: `*`, or one that is too long.
    let reject = Code::CredentialMissing;
    // Versions of `http` before 1.5 take `*` with a query.
    if key.is_some() && uri.path() == "*" {
        return Err(reject);
    }
    let mut parts = uri.clone().into_parts();
    if key.is_some() || strip {
        let mut text = String::from(uri.path());
        let kept = uri.query().unwrap_or_default().split('&').filter(|pair| {
            let own = key.is_some_and(|(key, _)| names(pair, key));
            !pair.is_empty() && !own && !foreign(pair)
        });
        let mut between = '?';
        for pair in kept {
            text.push(between);
            text.push_str(pair);
            between = '&';
        }
        if let Some((key, value)) = key {
            text.push(between);
            text.push_str(key);
            text.push('=');
            text.push_str(std::str::from_utf8(value).map_err(|_| reject)?);
        }
        parts.path_and_query = Some(PathAndQuery::try_from(text).map_err(|_| reject)?);
    }
    if let Some(base) = base {
        parts.scheme = Some(base.scheme.clone());
        parts.authority = Some(base.authority.clone());
        parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    }
    Uri::from_parts(parts).map(Some).map_err(|_| reject)
}

/// Returns whether the `key=value` of a query is for `key`, however it is escaped.
fn names(pair: &str, key: &str) -> bool {
    let name = pair.split('=').next().unwrap_or_default();
    percent_decode_str(name).eq(key.bytes())
}
