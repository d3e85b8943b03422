//! The words for what an answer means. Stages match on these, never on a status code.

use std::{fmt, time::Duration};

use super::reason::Reason;

/// What is wrong with the model that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ModelFault {
    /// No such model, or not for this account.
    NotFound,
    /// The model has no capacity now (529). No work was done.
    Overloaded,
    /// The request is longer than the model's context.
    ContextTooLong,
    /// The model's content policy forbids the request.
    ContentPolicy,
    /// The model does not take such a request.
    Rejected,
}

/// Whether the upstream may have done the work it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// The upstream said no and did no work, or the request provably never reached it.
    Refused,
    /// The upstream may have done the work: sending again may do, and bill, it twice.
    PerhapsDone,
}

/// What an answer, or an error in place of one, means.
///
/// Made by the [`Classifier`](crate::Classifier); a [`Policy`](crate::Policy) may make one too.
///
/// ```
/// use std::time::SystemTime;
/// use http::Response;
/// use tower_failover::{classify::Delivery, Classifier, Reason, Verdict};
///
/// let verdict = |status: u16| {
///     let (head, ()) = Response::builder().status(status).body(()).unwrap().into_parts();
///     Classifier::default().classify(&head, None, SystemTime::now())
/// };
/// assert_eq!(verdict(401), Verdict::Unauthorized(Reason::Invalid));
/// assert_eq!(verdict(429), Verdict::Limited { delay: None });
/// // 500 may have done the work, 503 has not.
/// assert_eq!(verdict(500).delivery(), Delivery::PerhapsDone);
/// assert_eq!(verdict(503).delivery(), Delivery::Refused);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The upstream did what it was asked for (1xx, 2xx, 3xx).
    Success,
    /// The credential was refused.
    Unauthorized(Reason),
    /// The credential is fine, and may not do this.
    Forbidden,
    /// Too many requests: the account must rest.
    Limited {
        /// How long the server wants to be left alone, when it says so.
        delay: Option<Duration>,
    },
    /// The account has no money or no quota left: waiting seconds does not help.
    OutOfQuota {
        /// How long the server wants to be left alone, when it says so.
        delay: Option<Duration>,
    },
    /// The model cannot serve this request; another one may.
    ModelFault {
        /// What is wrong with the model.
        fault: ModelFault,
        /// How long the server wants to be left alone, when it says so.
        delay: Option<Duration>,
    },
    /// A fault that may be gone the next time.
    Transient {
        /// How long the server wants to be left alone, when it says so.
        delay: Option<Duration>,
        /// Whether the work may have been done.
        delivery: Delivery,
        /// No answer came in time, on this side of the connection.
        timeout: bool,
    },
    /// The caller's own fault: nothing is sent again, and nobody rests.
    Rejected,
}

impl Verdict {
    /// A transient fault after which the work may have been done (500, a reset).
    pub const fn transient() -> Self {
        Self::Transient { delay: None, delivery: Delivery::PerhapsDone, timeout: false }
    }

    /// A transient fault before any work was done (503, a refused connection).
    pub const fn unavailable() -> Self {
        Self::Transient { delay: None, delivery: Delivery::Refused, timeout: false }
    }

    /// No answer came in time; the work may have been done.
    pub const fn timed_out() -> Self {
        Self::Transient { delay: None, delivery: Delivery::PerhapsDone, timeout: true }
    }

    /// Too many requests, with no hint for how long.
    pub const fn limited() -> Self {
        Self::Limited { delay: None }
    }

    /// Out of quota, with no hint for how long.
    pub const fn out_of_quota() -> Self {
        Self::OutOfQuota { delay: None }
    }

    /// A fault of the model, with no hint for how long.
    pub const fn model_fault(fault: ModelFault) -> Self {
        Self::ModelFault { fault, delay: None }
    }

    /// The same verdict with the server's delay, where the verdict has room for one.
    #[must_use]
    pub const fn with_delay(self, delay: Option<Duration>) -> Self {
        match self {
            Self::Limited { .. } => Self::Limited { delay },
            Self::OutOfQuota { .. } => Self::OutOfQuota { delay },
            Self::ModelFault { fault, .. } => Self::ModelFault { fault, delay },
            Self::Transient { delivery, timeout, .. } => {
                Self::Transient { delay, delivery, timeout }
            }
            other => other,
        }
    }

    /// How long the server wants to be left alone, when it says so.
    pub const fn delay(&self) -> Option<Duration> {
        match self {
            Self::Limited { delay }
            | Self::OutOfQuota { delay }
            | Self::ModelFault { delay, .. }
            | Self::Transient { delay, .. } => *delay,
            _ => None,
        }
    }

    /// Whether the work may have been done.
    ///
    /// Everything but a transient fault that says otherwise, and success, is a refusal.
    pub const fn delivery(&self) -> Delivery {
        match self {
            Self::Transient { delivery, .. } => *delivery,
            Self::Success => Delivery::PerhapsDone,
            _ => Delivery::Refused,
        }
    }

    /// Whether this is [`Verdict::Success`].
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Success)
    }

    /// Whether the credential was refused.
    pub const fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Unauthorized(_))
    }

    /// A stable word for logs and metrics, without the delay.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Unauthorized(reason) => reason.as_str(),
            Self::Forbidden => "forbidden",
            Self::Limited { .. } => "limited",
            Self::OutOfQuota { .. } => "out_of_quota",
            Self::ModelFault { fault, .. } => fault.as_str(),
            Self::Transient { timeout: true, .. } => "timeout",
            Self::Transient { .. } => "transient",
            Self::Rejected => "rejected",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        match self.delay() {
            Some(delay) => write!(f, " (for {delay:?})"),
            None => Ok(()),
        }
    }
}

impl ModelFault {
    /// A stable word for logs and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NotFound => "model_not_found",
            Self::Overloaded => "model_overloaded",
            Self::ContextTooLong => "context_too_long",
            Self::ContentPolicy => "content_policy",
            Self::Rejected => "model_rejected",
        }
    }
}

impl fmt::Display for ModelFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::{Delivery, Verdict};

    #[test]
    fn only_what_was_refused_can_be_sent_anew_without_being_done_twice() {
        for (verdict, wanted) in [
            (Verdict::Success, Delivery::PerhapsDone),
            (Verdict::transient(), Delivery::PerhapsDone),
            (Verdict::timed_out(), Delivery::PerhapsDone),
            (Verdict::unavailable(), Delivery::Refused),
            (Verdict::limited(), Delivery::Refused),
            (Verdict::Forbidden, Delivery::Refused),
            (Verdict::Rejected, Delivery::Refused),
        ] {
            assert_eq!(verdict.delivery(), wanted, "{verdict}");
        }
    }
}
