//! The user's say in what a failure means.

use super::{
    non_auth::{NonAuth, NonAuthError},
    verdict::Verdict,
};

/// Refines what failures mean, all but refused credentials.
///
/// 1. It is asked about failures only, never about a success.
/// 2. It is never asked about a refused credential: what it receives cannot be made from one.
/// 3. `None` leaves the verdict to the generic table, whose word is in [`NonAuth::generic`].
/// 4. What it returns is honoured. [`Verdict::Unauthorized`] adds to what refuses a credential. The server's
///    delay is filled in where the verdict has room for one and names none.
/// 5. One thing is not: an error cannot be a success, as there is no answer to give.
///    [`Verdict::Success`] for an error counts as [`Verdict::Rejected`].
///
/// A closure `|answer: &NonAuth<'_>| -> Option<Verdict>` is a policy for answers.
///
/// ```
/// use http::StatusCode;
/// use tower_failover::{classify::NonAuth, Classifier, Verdict};
///
/// // This upstream says 409 while another request holds a lock.
/// let classifier = Classifier::default().policy(|answer: &NonAuth<'_>| {
///     (answer.status() == StatusCode::CONFLICT).then_some(Verdict::unavailable())
/// });
/// # let (head, ()) = http::Response::builder().status(409).body(())?.into_parts();
/// # let now = std::time::SystemTime::UNIX_EPOCH;
/// assert_eq!(classifier.classify(&head, None, now), Verdict::unavailable());
/// # Ok::<(), http::Error>(())
/// ```
pub trait Policy: Send + Sync + 'static {
    /// Whether [`answer`](Self::answer) needs the body of this answer, which then is read up to a limit of
    /// size and of time.
    fn wants_body(&self, answer: &NonAuth<'_>) -> bool {
        let _ = answer;
        false
    }

    /// What this answer means; `None`: what the generic table says.
    fn answer(&self, answer: &NonAuth<'_>) -> Option<Verdict> {
        let _ = answer;
        None
    }

    /// What this error means; `None`: what the generic table says.
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
