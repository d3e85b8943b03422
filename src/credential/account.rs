//! Accounts.

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::{
    check::CredentialError,
    credential::Credential,
    expiry::{Expires, RefreshWindows},
    source::TokenSource,
};

/// An account at the upstream: it pays for requests and owns their results.
///
/// It has an id, a credential, and the settings that go with them. They are put on a request together
/// and never mixed with those of another account. The setters may be called in any order.
///
/// ```
/// use http::{HeaderName, HeaderValue, Uri};
/// use tower_failover::{Account, Credential};
///
/// let account = Account::new("azure-eu", Credential::header(
///     HeaderName::from_static("api-key"),
///     "0123456789abcdef",
/// )?)
/// .base_uri(Uri::from_static("https://eu.example.com"))
/// .header(HeaderName::from_static("x-project"), HeaderValue::from_static("p1"))
/// .priority(10)
/// .group("team-a");
/// assert_eq!(account.id(), "azure-eu");
/// # Ok::<(), tower_failover::credential::CredentialError>(())
/// ```
#[derive(Clone)]
pub struct Account {
    pub(crate) id: Arc<str>,
    pub(crate) credential: Credential,
    pub(crate) headers: HeaderMap,
    pub(crate) base_uri: Option<Uri>,
    pub(crate) priority: i32,
    pub(crate) weight: u32,
    pub(crate) group: Option<Arc<str>>,
    pub(crate) models: Option<Vec<Box<str>>>,
    pub(crate) expires: Expires,
    source: Option<Arc<dyn TokenSource>>,
    windows: RefreshWindows,
    make_credential: Option<MakeCredential>,
}

/// An account's source of tokens, with its settings.
#[derive(Clone)]
pub(crate) struct SourceSettings {
    pub(crate) source: Arc<dyn TokenSource>,
    pub(crate) windows: RefreshWindows,
    pub(crate) make_credential: Option<MakeCredential>,
}

/// Turns a token into a credential.
pub(crate) type MakeCredential =
    Arc<dyn Fn(&str) -> Result<Credential, CredentialError> + Send + Sync>;

impl Account {
    /// Builds an account with the id `id` that takes all its tokens from `source`.
    ///
    /// The source is called for the first token when a request or
    /// [`Pool::wait_ready`](crate::Pool::wait_ready) needs it.
    pub fn from_source(id: impl Into<Arc<str>>, source: impl TokenSource) -> Self {
        Self::new(id, Credential::unloaded()).source(source)
    }

    /// Builds an account with the id `id`, which reports and views show.
    pub fn new(id: impl Into<Arc<str>>, credential: Credential) -> Self {
        Self {
            id: id.into(),
            credential,
            headers: HeaderMap::new(),
            base_uri: None,
            priority: 0,
            weight: 1,
            group: None,
            models: None,
            expires: Expires::Unknown,
            source: None,
            windows: RefreshWindows::default(),
            make_credential: None,
        }
    }

    /// Sets the source of the tokens that replace the account's credential when it is rejected or
    /// about to expire.
    #[must_use]
    pub fn source(mut self, source: impl TokenSource) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Sets how a token of the [source](Self::source) becomes a credential. By default with
    /// [`Credential::bearer`].
    ///
    /// ```
    /// use http::HeaderName;
    /// use tower_failover::{credential::EnvToken, Account, Credential};
    ///
    /// let account = Account::from_source("alice", EnvToken::new("API_KEY"))
    ///     .credential_from(|key| Credential::header(HeaderName::from_static("x-api-key"), key));
    /// # drop(account);
    /// ```
    #[must_use]
    pub fn credential_from<F>(mut self, make: F) -> Self
    where
        F: Fn(&str) -> Result<Credential, CredentialError> + Send + Sync + 'static,
    {
        self.make_credential = Some(Arc::new(make));
        self
    }

    /// Sets how long before its expiry a token of the [source](Self::source) is replaced.
    #[must_use]
    pub const fn refresh_windows(mut self, windows: RefreshWindows) -> Self {
        self.windows = windows;
        self
    }

    /// Returns the source with its settings, if the account has one.
    pub(crate) fn source_settings(&self) -> Option<SourceSettings> {
        Some(SourceSettings {
            source: Arc::clone(self.source.as_ref()?),
            windows: self.windows,
            make_credential: self.make_credential.clone(),
        })
    }

    /// Sets when the account's tokens expire, if neither they nor their source say so.
    ///
    /// A date ([`At`](Expires::At)) or a lifetime ([`In`](Expires::In)) applies to the credential that
    /// the account starts with. If it [starts with none](Account::from_source), a lifetime applies to
    /// each token.
    ///
    /// ```
    /// use tower_failover::{credential::Expires, Account, Credential};
    ///
    /// // Every token of this service expires at 03:30 in India.
    /// let account = Account::new("upstox", Credential::bearer("s3cr3t")?)
    ///     .expires(Expires::Daily("03:30+05:30".parse()?));
    /// # drop(account);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn expires(mut self, expires: Expires) -> Self {
        self.expires = expires;
        self
    }

    /// Returns the account's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Adds a header that is sent with the credential, such as an organization's id. It replaces the
    /// request's own header of that name.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Sets the base URI, which replaces the scheme and authority of each request.
    ///
    /// A path other than `/` is an error when the pool is built.
    #[must_use]
    pub fn base_uri(mut self, uri: Uri) -> Self {
        self.base_uri = Some(uri);
        self
    }

    /// Sets the priority (0). An account serves only if no account with a higher priority can.
    #[must_use]
    pub const fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// Sets the share under [`Selection::Weighted`](crate::pool::Selection::Weighted) (1).
    ///
    /// An account with weight 0 serves only if no other of its priority can. The other strategies
    /// ignore the weight.
    #[must_use]
    pub const fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Sets the group: the owner or OAuth client that it shares with other accounts. See
    /// [`Cascade`](crate::pool::Cascade).
    #[must_use]
    pub fn group(mut self, id: impl Into<Arc<str>>) -> Self {
        self.group = Some(id.into());
        self
    }

    /// Sets the models that the account serves. Without this, it serves all models.
    ///
    /// A request whose model is unknown goes to any account.
    #[must_use]
    pub fn models<M: Into<Box<str>>>(mut self, models: impl IntoIterator<Item = M>) -> Self {
        self.models = Some(models.into_iter().map(Into::into).collect());
        self
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A fixed header may hold a secret without being marked as sensitive.
        f.debug_struct("Account")
            .field("id", &self.id)
            .field("credential", &self.credential)
            .field("headers", &self.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>())
            .field("base_uri", &self.base_uri)
            .field("priority", &self.priority)
            .field("weight", &self.weight)
            .field("group", &self.group)
            .field("models", &self.models)
            .field("expires", &self.expires)
            .field("source", &self.source.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::credential::source::fixed::FixedToken;

    type Setter = fn(Account) -> Account;

    const WINDOWS: RefreshWindows =
        RefreshWindows::fixed(Duration::from_secs(30), Duration::from_secs(5));

    const SETTERS: [Setter; 4] = [
        |account| account.source(FixedToken::new("t1")),
        |account| account.credential_from(|token| Credential::scheme("Key", token)),
        |account| account.refresh_windows(WINDOWS),
        |account| account.expires(Expires::Never),
    ];

    #[test]
    fn setters_hold_in_any_order() {
        let mut orders = 0;
        for order in 0..4usize.pow(4) {
            let order = [order % 4, order / 4 % 4, order / 16 % 4, order / 64];
            if (0..4).any(|setter| !order.contains(&setter)) {
                continue;
            }
            orders += 1;
            let account = Account::new("alice", Credential::bearer("t0").unwrap());
            let account = order.iter().fold(account, |account, at| SETTERS[*at](account));
            let settings = account.source_settings().unwrap();
            assert_eq!(settings.windows, WINDOWS, "{order:?}");
            assert_eq!(account.expires, Expires::Never, "{order:?}");
            let credential = settings.make_credential.unwrap()("t1").unwrap();
            assert!(credential.is_same(&Credential::scheme("Key", "t1").unwrap()), "{order:?}");
        }
        assert_eq!(orders, 24);
    }

    #[test]
    fn source_replaced_by_a_later_one_keeps_the_settings() {
        let account = Account::from_source("alice", FixedToken::new("t1"));
        let account = account.refresh_windows(WINDOWS).source(FixedToken::new("t2"));
        assert_eq!(account.source_settings().unwrap().windows, WINDOWS);
        let sourceless = Account::new("bob", Credential::bearer("t0").unwrap());
        assert!(sourceless.refresh_windows(WINDOWS).source_settings().is_none());
    }
}
