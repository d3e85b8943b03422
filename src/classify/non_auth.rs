//! The arguments of a policy: failures that do not reject a credential.

use std::{fmt, ops::Deref};

use http::{HeaderMap, StatusCode, response};

use super::{
    answer::{Answer, ErrorBody, table},
    error_ref::ErrorRef,
    floor::Floor,
    reason::Reason,
    transport,
    verdict::Verdict,
};

/// An answer that does not reject the credential.
///
/// It cannot be constructed from a 401, from gRPC 16, from an answer that the generic table calls
/// unauthorized (Google's 400 "API key not valid", AWS's 403 `ExpiredTokenException`), or from one that a
/// rule of the [`Classifier`](crate::Classifier) calls so. A policy is never called for any of these.
///
/// ```
/// # use http::Response;
/// use tower_failover::classify::NonAuth;
///
/// let (head, ()) = Response::builder().status(404).body(())?.into_parts();
/// assert!(NonAuth::try_new(&head, None).is_some());
///
/// let (head, ()) = Response::builder().status(401).body(())?.into_parts();
/// assert!(NonAuth::try_new(&head, None).is_none());
/// # Ok::<(), http::Error>(())
/// ```
///
/// Its fields are private:
///
/// ```compile_fail,E0451
/// # use tower_failover::{classify::NonAuth, Verdict};
/// fn forge(known: NonAuth<'_>) -> NonAuth<'_> {
///     NonAuth { generic: Verdict::Success, ..known }
/// }
/// ```
///
/// ```
/// # use tower_failover::classify::NonAuth;
/// fn pass(known: NonAuth<'_>) -> NonAuth<'_> {
///     known
/// }
/// ```
///
/// Nothing converts into it:
///
/// ```compile_fail,E0308
/// # use tower_failover::classify::NonAuth;
/// let (head, ()) = http::Response::new(()).into_parts();
/// let answer = NonAuth::from(&head);
/// ```
///
/// ```
/// # use tower_failover::classify::NonAuth;
/// let (head, ()) = http::Response::new(()).into_parts();
/// let answer = NonAuth::try_new(&head, None);
/// ```
///
/// The constructor that the classifier uses checks the floor, and is private:
///
/// ```compile_fail,E0624
/// # use tower_failover::classify::NonAuth;
/// let make = NonAuth::past;
/// ```
///
/// ```
/// # use tower_failover::classify::NonAuth;
/// let make = NonAuth::try_new;
/// ```
pub struct NonAuth<'a> {
    answer: Answer<'a>,
    error: ErrorBody,
    generic: Verdict,
}

impl<'a> NonAuth<'a> {
    /// Creates an answer with this head and the part of its body that was read, for a unit test of a
    /// policy.
    ///
    /// None if the generic table calls it unauthorized.
    pub fn try_new(head: &'a response::Parts, body: Option<&'a [u8]>) -> Option<Self> {
        Self::past(&Floor::EMPTY, Answer::new(head, body)).ok()
    }

    /// Creates the value if the floor lets the answer through. This is the only constructor.
    pub(crate) fn past(floor: &Floor, answer: Answer<'a>) -> Result<Self, Reason> {
        let json = answer.body().filter(|_| answer.is_json());
        let error = json.map(ErrorBody::parse).unwrap_or_default();
        let generic = table::verdict(&answer, &error);
        match floor.rejection(&answer, generic) {
            Some(reason) => Err(reason),
            None => Ok(Self { answer, error, generic }),
        }
    }

    /// Returns the answer's status.
    pub const fn status(&self) -> StatusCode {
        self.answer.status()
    }

    /// Returns the answer's headers.
    pub const fn headers(&self) -> &'a HeaderMap {
        self.answer.headers()
    }

    /// Returns the part of the body that was read, which may be cut anywhere; `None` if none was read.
    pub const fn body(&self) -> Option<&'a [u8]> {
        self.answer.body()
    }

    /// Returns the error code of a JSON body that was read: `error.code`, else Google's reason, else
    /// `error.type`, else `error.status`, else the body's own members of these names.
    pub fn error_code(&self) -> Option<&str> {
        self.error.codes().next()
    }

    /// Returns `error.message` or `message` of a JSON body that was read.
    pub fn error_message(&self) -> Option<&str> {
        self.error.message()
    }

    /// Returns the verdict of the generic table, without the server's delay.
    pub const fn generic(&self) -> Verdict {
        self.generic
    }

    pub(crate) const fn answer(&self) -> &Answer<'a> {
        &self.answer
    }

    pub(crate) const fn error(&self) -> &ErrorBody {
        &self.error
    }
}

impl fmt::Debug for NonAuth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NonAuth")
            .field("answer", &self.answer)
            .field("generic", &self.generic)
            .finish_non_exhaustive()
    }
}

/// An error that does not reject the credential. It dereferences to [`ErrorRef`].
///
/// It cannot be constructed from an error that holds a 401 or a gRPC 16, from a [`FailureError`] of a
/// credential, or from an error that a rule of the [`Classifier`](crate::Classifier) calls unauthorized.
///
/// [`FailureError`]: crate::classify::FailureError
///
/// ```
/// use http::StatusCode;
/// use tower_failover::{classify::{FailureError, NonAuthError}, Cause, Code};
///
/// let rejected = FailureError::new(Cause::local(Code::PoolEmpty), StatusCode::UNAUTHORIZED);
/// assert!(NonAuthError::try_new(&rejected).is_none());
/// assert!(NonAuthError::try_new(&std::io::Error::other("reset")).is_some());
/// ```
///
/// Its fields are private:
///
/// ```compile_fail,E0451
/// # use tower_failover::classify::{ErrorRef, NonAuthError};
/// fn forge<'a>(error: ErrorRef<'a>, known: NonAuthError<'a>) -> NonAuthError<'a> {
///     NonAuthError { error, ..known }
/// }
/// ```
///
/// ```
/// # use tower_failover::classify::{ErrorRef, NonAuthError};
/// fn pass<'a>(_error: ErrorRef<'a>, known: NonAuthError<'a>) -> NonAuthError<'a> {
///     known
/// }
/// ```
pub struct NonAuthError<'a> {
    error: ErrorRef<'a>,
    generic: Verdict,
}

impl<'a> NonAuthError<'a> {
    /// Creates an error for a unit test of a policy; `None` if it rejects the credential.
    pub fn try_new<E: 'static>(error: &'a E) -> Option<Self> {
        Self::past(&Floor::EMPTY, ErrorRef::new(error, &[])).ok()
    }

    /// Creates the value if the floor lets the error through. This is the only constructor.
    pub(crate) fn past(floor: &Floor, error: ErrorRef<'a>) -> Result<Self, Reason> {
        let generic = transport::verdict(&error);
        match floor.error_rejection(&error, generic) {
            Some(reason) => Err(reason),
            None => Ok(Self { error, generic }),
        }
    }

    /// Returns the verdict of the generic table.
    pub const fn generic(&self) -> Verdict {
        self.generic
    }
}

impl<'a> Deref for NonAuthError<'a> {
    type Target = ErrorRef<'a>;

    fn deref(&self) -> &ErrorRef<'a> {
        &self.error
    }
}

impl fmt::Debug for NonAuthError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NonAuthError").field("generic", &self.generic).finish_non_exhaustive()
    }
}
