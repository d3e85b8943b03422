//! The origins a credential may go to: the request's URI is checked, default ports dropped.

use http::Uri;

use super::error::{OriginFault, PoolError};

/// The origins of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origins {
    /// All of them.
    Any,
    /// These.
    Listed(Box<[Origin]>),
}

/// Scheme, host and port (RFC 6454 §4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: Box<str>,
    host: Box<str>,
    port: Option<u16>,
    /// Host and port as they were listed: requests mostly spell them the same way.
    authority: Box<str>,
}

impl Origins {
    /// Whether a request to `uri` may carry a credential.
    ///
    /// A URI without an authority may: the client below sends it to where it is connected.
    pub(crate) fn allow(&self, uri: &Uri) -> bool {
        let Self::Listed(origins) = self else {
            return true;
        };
        let (Some(authority), scheme) = (uri.authority(), uri.scheme_str()) else {
            return true;
        };
        let Some(scheme) = scheme else { return false };
        let same =
            |origin: &Origin| *origin.authority == *authority.as_str() && *origin.scheme == *scheme;
        origins.iter().any(same) || Self::allow_spelled(origins, uri, scheme)
    }

    /// The same, however the origin is spelled.
    fn allow_spelled(origins: &[Origin], uri: &Uri, scheme: &str) -> bool {
        let Some(host) = uri.host() else { return true };
        let port = uri.port_u16().or_else(|| default_port(scheme));
        origins.iter().any(|origin| {
            origin.port == port
                && origin.host.eq_ignore_ascii_case(host)
                && origin.scheme.eq_ignore_ascii_case(scheme)
        })
    }
}

impl Origin {
    /// An origin and nothing more.
    pub(crate) fn new(uri: &Uri) -> Result<Self, PoolError> {
        let error = |fault| Err(PoolError::Origin { origin: shown(uri), fault });
        if let Some(fault) = fault(uri) {
            return error(fault);
        }
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return error(OriginFault::NoScheme);
        };
        let port = authority.port_u16().or_else(|| default_port(scheme));
        let host = authority.host().into();
        Ok(Self { scheme: scheme.into(), host, port, authority: authority.as_str().into() })
    }
}

/// Returns the fault that keeps `uri` from being an origin.
pub(crate) fn fault(uri: &Uri) -> Option<OriginFault> {
    let Some(authority) = uri.authority().filter(|_| uri.scheme().is_some()) else {
        return Some(OriginFault::NoScheme);
    };
    if authority.as_str().contains('@') {
        Some(OriginFault::UserInfo)
    } else if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        Some(OriginFault::Path)
    } else {
        None
    }
}

/// `uri` as it may be shown: without what stands before an `@`, and without a query.
pub(crate) fn shown(uri: &Uri) -> Box<str> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match uri.scheme_str() {
        Some(scheme) => format!("{scheme}://{authority}{}", uri.path()).into(),
        None => format!("{authority}{}", uri.path()).into(),
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}
