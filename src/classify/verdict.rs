//! The vocabulary of verdicts. Stages match on these, never on a status code.

use std::{fmt, time::Duration};

use super::reason::Reason;

/// The fault of a model that cannot serve a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ModelFault {
    /// The model does not exist, or not for this account.
    NotFound,
    /// The model has no capacity (529). No work was done.
    Overloaded,
    /// The request exceeds the model's context.
    ContextTooLong,
    /// The model's content policy forbids the request.
    ContentPolicy,
    /// The model does not accept such a request.
    Rejected,
}

/// The state of the work that a request asked for: refused, or perhaps done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// The upstream declined and did no work, or the request provably did not reach it.
    Refused,
    /// The upstream may have done the work: resending may do it, and bill it, twice.
    PerhapsDone,
}

/// The meaning of an answer, or of an error in place of one.
///
/// Returned by the [`Classifier`](crate::Classifier), and by a [`Policy`](crate::Policy).
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
/// // 500 may have done the work, 503 did not.
/// assert_eq!(verdict(500).delivery(), Delivery::PerhapsDone);
/// assert_eq!(verdict(503).delivery(), Delivery::Refused);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The request succeeded (1xx, 2xx, 3xx).
    Success,
    /// The credential was rejected.
    Unauthorized(Reason),
    /// The credential is valid but lacks the permission.
    Forbidden,
    /// Too many requests: the account cools down.
    Limited {
        /// The delay that the server asks for, if it does.
        delay: Option<Duration>,
    },
    /// The account's money or quota is used up: waiting for seconds does not help.
    OutOfQuota {
        /// The delay that the server asks for, if it does.
        delay: Option<Duration>,
    },
    /// The model cannot serve this request; another one may.
    ModelFault {
        /// The fault.
        fault: ModelFault,
        /// The delay that the server asks for, if it does.
        delay: Option<Duration>,
    },
    /// A fault that may not occur again.
    Transient {
        /// The delay that the server asks for, if it does.
        delay: Option<Duration>,
        /// Whether the work may have been done.
        delivery: Delivery,
        /// Whether a timeout on this side of the connection ended the attempt.
        timeout: bool,
    },
    /// The caller's fault: the request is not resent, and no account cools down.
    Rejected,
}

impl Verdict {
    /// Returns a transient fault after which the work may have been done (500, a reset).
    pub const fn transient() -> Self {
        Self::Transient { delay: None, delivery: Delivery::PerhapsDone, timeout: false }
    }

    /// Returns a transient fault before any work was done (503, a refused connection).
    pub const fn unavailable() -> Self {
        Self::Transient { delay: None, delivery: Delivery::Refused, timeout: false }
    }

    /// Returns a timeout, after which the work may have been done.
    pub const fn timed_out() -> Self {
        Self::Transient { delay: None, delivery: Delivery::PerhapsDone, timeout: true }
    }

    /// Returns a limited verdict without a delay.
    pub const fn limited() -> Self {
        Self::Limited { delay: None }
    }

    /// Returns an out-of-quota verdict without a delay.
    pub const fn out_of_quota() -> Self {
        Self::OutOfQuota { delay: None }
    }

    /// Returns a model fault without a delay.
    pub const fn model_fault(fault: ModelFault) -> Self {
        Self::ModelFault { fault, delay: None }
    }

    /// Returns the verdict with this delay, if its kind can have one.
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

    /// Returns the delay that the server asks for, if it does.
    pub const fn delay(&self) -> Option<Duration> {
        match self {
            Self::Limited { delay }
            | Self::OutOfQuota { delay }
            | Self::ModelFault { delay, .. }
            | Self::Transient { delay, .. } => *delay,
            _ => None,
        }
    }

    /// Returns whether the work may have been done.
    ///
    /// That is so for a success, and for a transient fault that is not marked as refused.
    pub const fn delivery(&self) -> Delivery {
        match self {
            Self::Transient { delivery, .. } => *delivery,
            Self::Success => Delivery::PerhapsDone,
            _ => Delivery::Refused,
        }
    }

    /// Returns whether this is [`Verdict::Success`].
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Success)
    }

    /// Returns whether the credential was rejected.
    pub const fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Unauthorized(_))
    }

    /// Returns the stable code for logs and metrics, without the delay.
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
    /// Returns the stable code for logs and metrics.
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
    fn delivery_is_refused_for_all_but_success_and_doubtful_faults() {
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
