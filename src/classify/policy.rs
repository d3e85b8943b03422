//! The user's policy: how failures are classified.

use super::{
    non_auth::{NonAuth, NonAuthError},
    verdict::Verdict,
};

/// A policy of the user that refines the verdicts of failures, except of rejected credentials.
///
/// 1. It is called for failures only, never for a success.
/// 2. It is never called for a rejected credential: its argument types cannot be constructed from one.
/// 3. `None` keeps the verdict of the generic table, which is [`NonAuth::generic`].
/// 4. The returned verdict is used. [`Verdict::Unauthorized`] is allowed: it adds to the rejections. If the
///    verdict can have a delay and has none, the server's delay is filled in.
/// 5. An error cannot become a success, since there is no answer to return: [`Verdict::Success`] for an
///    error is taken as [`Verdict::Rejected`].
///
/// A closure `|answer: &NonAuth<'_>| -> Option<Verdict>` is a policy for answers.
///
/// ```
/// use http::StatusCode;
/// use tower_failover::{classify::NonAuth, Classifier, Verdict};
///
/// // This upstream answers 409 while another request holds a lock.
/// let classifier = Classifier::default().policy(|answer: &NonAuth<'_>| {
///     (answer.status() == StatusCode::CONFLICT).then_some(Verdict::unavailable())
/// });
/// # let (head, ()) = http::Response::builder().status(409).body(())?.into_parts();
/// # let now = std::time::SystemTime::UNIX_EPOCH;
/// assert_eq!(classifier.classify(&head, None, now), Verdict::unavailable());
/// # Ok::<(), http::Error>(())
/// ```
pub trait Policy: Send + Sync + 'static {
    /// Returns whether [`answer`](Self::answer) needs the body of this answer. The body is then read, up to
    /// a limit of size and time.
    fn wants_body(&self, answer: &NonAuth<'_>) -> bool {
        let _ = answer;
        false
    }

    /// Returns the verdict of this answer; `None` for that of the generic table.
    fn answer(&self, answer: &NonAuth<'_>) -> Option<Verdict> {
        let _ = answer;
        None
    }

    /// Returns the verdict of this error; `None` for that of the generic table.
    fn error(&self, error: &NonAuthError<'_>) -> Option<Verdict> {
        let _ = error;
        None
    }
}

impl<F> Policy for F
where
    F: Fn(&NonAuth<'_>) -> Option<Verdict> + Send + Sync + 'static,
{
    fn answer(&self, answer: &NonAuth<'_>) -> Option<Verdict> {
        self(answer)
    }
}
