//! Models in locations that the crate does not know.

use bytes::Bytes;
use http::request::Parts;

/// Reads the model from a request, and replaces it, in a location that
/// [`ModelAt`](crate::fallback::ModelAt) does not know.
///
/// ```
/// use bytes::Bytes;
/// use http::request::Parts;
/// use tower_failover::fallback::{ModelAt, ModelAccess, Rewritten};
///
/// /// The model is the host's first label: `large.api.example.com`.
/// struct InHost;
///
/// impl ModelAccess for InHost {
///     fn read(&self, head: &Parts, _: Option<&Bytes>) -> Option<String> {
///         Some(head.uri.host()?.split('.').next()?.to_owned())
///     }
///
///     fn write(&self, head: &mut Parts, _: Option<&Bytes>, model: &str) -> Option<Rewritten> {
///         let rest = head.uri.host()?.split_once('.')?.1;
///         let host = format!("{model}.{rest}");
///         let mut parts = head.uri.clone().into_parts();
///         parts.authority = Some(host.parse().ok()?);
///         head.uri = http::Uri::from_parts(parts).ok()?;
///         Some(Rewritten::SameBody)
///     }
/// }
///
/// let (mut head, ()) = http::Request::get("https://large.api.example.com/").body(())?.into_parts();
/// assert_eq!(InHost.read(&head, None).as_deref(), Some("large"));
/// assert_eq!(InHost.write(&mut head, None, "small"), Some(Rewritten::SameBody));
/// assert_eq!(head.uri.host(), Some("small.api.example.com"));
/// let at = ModelAt::custom(InHost);
/// # Ok::<(), http::Error>(())
/// ```
pub trait ModelAccess: Send + Sync + 'static {
    /// Returns the model that the request names, if it names one.
    ///
    /// `body` is the whole body, or `None` if it is not in memory.
    fn read(&self, head: &Parts, body: Option<&Bytes>) -> Option<String>;

    /// Puts `model` on an attempt. `None` if that is impossible: then the request is not sent again.
    ///
    /// The caller updates `content-length`.
    fn write(&self, head: &mut Parts, body: Option<&Bytes>, model: &str) -> Option<Rewritten>;
}

/// The body after [`ModelAccess::write`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rewritten {
    /// The body is unchanged.
    SameBody,
    /// The body was replaced by this one.
    Body(Bytes),
}
