//! The classifier: the floor, the policy and the table, in this order.

use std::{
    error::Error,
    fmt::{self, Write as _},
    sync::Arc,
    time::SystemTime,
};

use http::{StatusCode, response};

use super::{
    answer::{Answer, grpc, server_delay::with_delay, table},
    code::Cause,
    error_ref::ErrorRef,
    floor::Floor,
    non_auth::{NonAuth, NonAuthError},
    policy::Policy,
    reason::Reason,
    verdict::Verdict,
};

/// Determines the [`Verdict`] of an answer, or of an error in place of one.
///
/// Cheap to clone. The default has no policy and no rules. The order is always the same:
///
/// 1. the floor, which no policy can overrule: 401, gRPC 16, a cause set by a layer of this crate, whatever
///    else the generic table calls unauthorized, and the rules given here;
/// 2. the [`Policy`], called for other failures;
/// 3. the generic table.
///
/// Rules must be pure: a rule may be called twice for one answer, before and after its body is read.
///
/// ```
/// use std::time::SystemTime;
/// use http::{Response, StatusCode};
/// use tower_failover::{classify::Answer, Classifier, Reason, Verdict};
///
/// // This upstream answers 200 `{"ok":false,"error":"token_expired"}`.
/// let classifier = Classifier::default().also_unauthorized_body(
///     [StatusCode::OK],
///     |answer: &Answer<'_>| {
///         let expired = answer.body()?.windows(13).any(|w| w == b"token_expired");
///         expired.then_some(Reason::Expired)
///     },
/// );
/// let (head, ()) = Response::new(()).into_parts();
/// let body = br#"{"ok":false,"error":"token_expired"}"#;
/// let verdict = classifier.classify(&head, Some(body), SystemTime::UNIX_EPOCH);
/// assert_eq!(verdict, Verdict::Unauthorized(Reason::Expired));
/// ```
#[derive(Clone, Default, Debug)]
pub struct Classifier {
    custom: Option<Arc<Custom>>,
}

#[derive(Clone, Default)]
struct Custom {
    floor: Floor,
    policy: Option<Arc<dyn Policy>>,
}

static NO_RULES: Floor = Floor::EMPTY;

impl Classifier {
    /// Sets the policy for failures, replacing an earlier one.
    #[must_use]
    pub fn policy(self, policy: impl Policy) -> Self {
        self.with(|custom| custom.policy = Some(Arc::new(policy)))
    }

    /// Adds a rule for every answer, including successes. If it returns a reason, the credential counts as
    /// rejected.
    ///
    /// For a 401 the rule may return a better reason; it cannot lift the rejection.
    #[must_use]
    pub fn also_unauthorized(
        self,
        rule: impl Fn(&Answer<'_>) -> Option<Reason> + Send + Sync + 'static,
    ) -> Self {
        self.with(|custom| custom.floor.add_answer_rule(Arc::new(rule)))
    }

    /// Adds a rule for every answer with one of these statuses. The body is read for it, up to a limit of
    /// size and time.
    #[must_use]
    pub fn also_unauthorized_body(
        self,
        statuses: impl IntoIterator<Item = StatusCode>,
        rule: impl Fn(&Answer<'_>) -> Option<Reason> + Send + Sync + 'static,
    ) -> Self {
        let statuses = statuses.into_iter().collect();
        self.with(|custom| custom.floor.add_body_rule(statuses, Arc::new(rule)))
    }

    /// Adds a rule for every error. If it returns a reason, the credential counts as rejected.
    #[must_use]
    pub fn also_unauthorized_error(
        self,
        rule: impl Fn(&ErrorRef<'_>) -> Option<Reason> + Send + Sync + 'static,
    ) -> Self {
        self.with(|custom| custom.floor.add_error_rule(Arc::new(rule)))
    }

    /// Makes the sources of service errors of type `E` visible.
    ///
    /// Needed only if the service's own error type is `E`, and `E` is not one of those that [`ErrorRef`]
    /// knows.
    #[must_use]
    pub fn walk<E: Error + 'static>(self) -> Self {
        self.with(|custom| custom.floor.add_walk::<E>())
    }

    /// Returns the verdict of an answer, from its head and the given part of its body.
    ///
    /// For unit tests of policies and rules. The layers read a body only if its verdict depends on it.
    pub fn classify(
        &self,
        head: &response::Parts,
        body: Option<&[u8]>,
        now: SystemTime,
    ) -> Verdict {
        self.judge(Answer::new(head, body), || now)
    }

    /// Returns the verdict of an error, which is never [`Verdict::Success`].
    pub fn classify_error<E: 'static>(&self, error: &E) -> Verdict {
        self.error(error)
    }

    /// Returns whether the head alone proves a success: the fast path, without an allocation.
    #[inline]
    pub(crate) fn succeeds(&self, head: &response::Parts) -> bool {
        head.status.as_u16() < 400
            && self.custom.as_ref().is_none_or(|custom| custom.floor.trusts_success())
            && grpc::code(&head.headers).is_none()
            && head.extensions.get::<Cause>().is_none()
    }

    /// Returns the verdict of an answer with this head. None if its body must be read first, for
    /// [`body`](Self::body).
    pub(crate) fn head(
        &self,
        head: &response::Parts,
        now: impl FnOnce() -> SystemTime,
    ) -> Option<Verdict> {
        let wanted = self.floor().wants_body(head.status);
        let answer = match NonAuth::past(self.floor(), Answer::new(head, None)) {
            // A rule may return a better reason from the body.
            Err(reason) => return (!wanted).then_some(Verdict::Unauthorized(reason)),
            Ok(answer) => answer,
        };
        // The body may show that the credential was rejected, so the policy is called after this.
        if wanted || table::reads_body(answer.answer()) {
            return None;
        }
        if answer.generic().is_success() {
            return Some(Verdict::Success);
        }
        if self.user_policy().is_some_and(|policy| policy.wants_body(&answer)) {
            return None;
        }
        Some(self.refine(&answer, now))
    }

    /// Returns the verdict of an answer with this head and this part of its body.
    pub(crate) fn body(&self, head: &response::Parts, body: &[u8], now: SystemTime) -> Verdict {
        self.judge(Answer::new(head, Some(body)), || now)
    }

    /// Returns the verdict of an error, which is never [`Verdict::Success`].
    pub(crate) fn error<E: 'static>(&self, error: &E) -> Verdict {
        self.judge_error(ErrorRef::new(error, self.floor().walks()))
    }

    /// Returns the text of an error and of its sources. It is foreign text, to be redacted before use.
    pub(crate) fn describe<E: 'static>(&self, error: &E) -> String {
        let error = ErrorRef::new(error, self.floor().walks());
        let mut text = String::new();
        // A chain of errors can be endless: its first links are enough.
        for link in error.chain().take(8) {
            // Not `to_string`, which panics if `Display` returns an error.
            let mut shown = String::new();
            let _ = write!(shown, "{link}");
            // Many errors repeat their source's text in their own.
            if !text.contains(&shown) {
                if !text.is_empty() {
                    text.push_str(": ");
                }
                text.push_str(&shown);
            }
        }
        if text.is_empty() {
            text.push_str(std::any::type_name::<E>());
        }
        text
    }

    fn judge(&self, answer: Answer<'_>, now: impl FnOnce() -> SystemTime) -> Verdict {
        match NonAuth::past(self.floor(), answer) {
            Err(reason) => Verdict::Unauthorized(reason),
            Ok(answer) if answer.generic().is_success() => Verdict::Success,
            Ok(answer) => self.refine(&answer, now),
        }
    }

    fn refine(&self, answer: &NonAuth<'_>, now: impl FnOnce() -> SystemTime) -> Verdict {
        let refined = self.user_policy().and_then(|policy| policy.answer(answer));
        let verdict = refined.unwrap_or_else(|| answer.generic());
        with_delay(verdict, answer.headers(), answer.error(), now)
    }

    fn judge_error(&self, error: ErrorRef<'_>) -> Verdict {
        let error = match NonAuthError::past(self.floor(), error) {
            Err(reason) => return Verdict::Unauthorized(reason),
            Ok(error) => error,
        };
        match self.user_policy().and_then(|policy| policy.error(&error)) {
            // There is no answer to return to the caller.
            Some(Verdict::Success) => Verdict::Rejected,
            Some(verdict) => verdict,
            None => error.generic(),
        }
    }

    fn floor(&self) -> &Floor {
        self.custom.as_ref().map_or(&NO_RULES, |custom| &custom.floor)
    }

    fn user_policy(&self) -> Option<&dyn Policy> {
        self.custom.as_ref()?.policy.as_deref()
    }

    fn with(mut self, change: impl FnOnce(&mut Custom)) -> Self {
        change(Arc::make_mut(self.custom.get_or_insert_default()));
        self
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custom")
            .field("floor", &self.floor)
            .field("policy", &self.policy.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests;
