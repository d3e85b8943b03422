//! The floor, the policy and the table, in this order.

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

/// Says what an answer, or an error in place of one, means.
///
/// Cheap to clone. The default has no policy and no rules. The order is always the same:
///
/// 1. the floor, which no policy can lift: 401, gRPC 16, what this crate's own layers refused, what the
///    generic table calls unauthorized, and the rules given here;
/// 2. the [`Policy`], asked about other failures;
/// 3. the generic table.
///
/// Rules must be pure: one answer may be shown to a rule twice, before and after its body is read.
///
/// ```
/// use std::time::SystemTime;
/// use http::{Response, StatusCode};
/// use tower_failover::{classify::Answer, Classifier, Reason, Verdict};
///
/// // This upstream says 200 `{"ok":false,"error":"token_expired"}`.
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
    /// Asks this policy what failures mean, in place of an earlier one.
    #[must_use]
    pub fn policy(self, policy: impl Policy) -> Self {
        self.with(|custom| custom.policy = Some(Arc::new(policy)))
    }

    /// Asks this rule about every answer, successes included: a reason means that the credential was refused.
    ///
    /// For a 401 the rule may give a better reason; it cannot lift the refusal.
    #[must_use]
    pub fn also_unauthorized(
        self,
        rule: impl Fn(&Answer<'_>) -> Option<Reason> + Send + Sync + 'static,
    ) -> Self {
        self.with(|custom| custom.floor.add_answer_rule(Arc::new(rule)))
    }

    /// Asks this rule about every answer with one of these statuses, whose body is read for it, up to a limit
    /// of size and of time.
    #[must_use]
    pub fn also_unauthorized_body(
        self,
        statuses: impl IntoIterator<Item = StatusCode>,
        rule: impl Fn(&Answer<'_>) -> Option<Reason> + Send + Sync + 'static,
    ) -> Self {
        let statuses = statuses.into_iter().collect();
        self.with(|custom| custom.floor.add_body_rule(statuses, Arc::new(rule)))
    }

    /// Asks this rule about every error: a reason means that the credential was refused.
    #[must_use]
    pub fn also_unauthorized_error(
        self,
        rule: impl Fn(&ErrorRef<'_>) -> Option<Reason> + Send + Sync + 'static,
    ) -> Self {
        self.with(|custom| custom.floor.add_error_rule(Arc::new(rule)))
    }

    /// Looks into errors of this type: the sources of a service error of type `E` are walked.
    ///
    /// Needed only where the service's own error type is `E`; see [`ErrorRef`] for those that are known.
    #[must_use]
    pub fn walk<E: Error + 'static>(self) -> Self {
        self.with(|custom| custom.floor.add_walk::<E>())
    }

    /// What an answer means, judged from its head and as much of its body as there is.
    ///
    /// For unit tests of policies and rules; the layers of this crate read the body only where it is needed.
    pub fn classify(
        &self,
        head: &response::Parts,
        body: Option<&[u8]>,
        now: SystemTime,
    ) -> Verdict {
        self.judge(Answer::new(head, body), || now)
    }

    /// What an error means. Never [`Verdict::Success`].
    pub fn classify_error<E: 'static>(&self, error: &E) -> Verdict {
        self.error(error)
    }

    /// Whether this is a success beyond doubt: the short way, without an allocation.
    #[inline]
    pub(crate) fn succeeds(&self, head: &response::Parts) -> bool {
        head.status.as_u16() < 400
            && self.custom.as_ref().is_none_or(|custom| custom.floor.trusts_success())
            && grpc::code(&head.headers).is_none()
            && head.extensions.get::<Cause>().is_none()
    }

    /// What an answer with this head means; `None`: its body must be read first, for [`body`](Self::body).
    pub(crate) fn head(
        &self,
        head: &response::Parts,
        now: impl FnOnce() -> SystemTime,
    ) -> Option<Verdict> {
        let wanted = self.floor().wants_body(head.status);
        let answer = match NonAuth::past(self.floor(), Answer::new(head, None)) {
            // A rule may have a better reason when it sees the body.
            Err(reason) => return (!wanted).then_some(Verdict::Unauthorized(reason)),
            Ok(answer) => answer,
        };
        // The body may still tell that the credential was refused, so the policy comes after these.
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

    /// What an answer with this head and these first bytes of a body means.
    pub(crate) fn body(&self, head: &response::Parts, body: &[u8], now: SystemTime) -> Verdict {
        self.judge(Answer::new(head, Some(body)), || now)
    }

    /// What an error means. Never [`Verdict::Success`].
    pub(crate) fn error<E: 'static>(&self, error: &E) -> Verdict {
        self.judge_error(ErrorRef::new(error, self.floor().walks()))
    }

    /// What an error says, and its sources after it. Text of others: to be made harmless first.
    pub(crate) fn describe<E: 'static>(&self, error: &E) -> String {
        let error = ErrorRef::new(error, self.floor().walks());
        let mut text = String::new();
        // A chain of errors can be endless; its first links say enough.
        for link in error.chain().take(8) {
            // Not `to_string`, which panics when an error cannot be shown.
            let mut said = String::new();
            let _ = write!(said, "{link}");
            // Many errors repeat their source's text in their own.
            if !text.contains(&said) {
                if !text.is_empty() {
                    text.push_str(": ");
                }
                text.push_str(&said);
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
        let said = self.user_policy().and_then(|policy| policy.answer(answer));
        let verdict = said.unwrap_or_else(|| answer.generic());
        with_delay(verdict, answer.headers(), answer.error(), now)
    }

    fn judge_error(&self, error: ErrorRef<'_>) -> Verdict {
        let error = match NonAuthError::past(self.floor(), error) {
            Err(reason) => return Verdict::Unauthorized(reason),
            Ok(error) => error,
        };
        match self.user_policy().and_then(|policy| policy.error(&error)) {
            // There is no answer that the caller could be given.
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
