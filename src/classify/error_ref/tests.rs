use std::{error::Error, fmt, io, sync::Arc};

use http::StatusCode;

use super::{ErrorRef, see};
use crate::classify::{Cause, Code, FailureError};

type BoxError = Box<dyn Error + Send + Sync>;

#[derive(Debug)]
struct Outer<E>(E);

impl<E> fmt::Display for Outer<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("outer")
    }
}

impl<E: Error + 'static> Error for Outer<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

fn failure() -> FailureError {
    FailureError::new(Cause::local(Code::PoolEmpty), StatusCode::UNAUTHORIZED)
}

#[expect(clippy::needless_pass_by_value, reason = "a reference would not coerce to a box")]
fn finds<E: 'static>(error: E) -> bool {
    ErrorRef::new(&error, &[]).is::<FailureError>()
}

#[test]
fn failure_is_found_however_it_is_wrapped() {
    assert!(finds(failure()));
    assert!(finds(io::Error::other(failure())));
    assert!(finds(Box::new(io::Error::other(failure()))));
    assert!(finds(Arc::new(failure())));
    assert!(finds::<BoxError>(Box::new(failure())));
    assert!(finds::<Box<dyn Error>>(Box::new(failure())));
    assert!(finds::<Box<dyn Error + Send>>(Box::new(failure())));
    assert!(finds::<Arc<dyn Error + Send + Sync>>(Arc::new(failure())));
    assert!(finds::<BoxError>(Box::new(Outer(failure()))));
    assert!(finds::<BoxError>(Box::new(Outer(Box::new(failure())))));
    assert!(finds::<BoxError>(Box::new(Outer(Arc::new(failure())))));
    assert!(finds::<BoxError>(Box::new(Outer(io::Error::other(Outer(failure()))))));
    assert!(finds(io::Error::other(io::Error::other(io::Error::other(failure())))));
    assert!(!finds::<BoxError>("text".into()));
    assert!(!finds("no error at all"));
}

#[test]
fn user_type_is_walked_after_it_is_named() {
    let error = Outer(failure());
    assert!(!ErrorRef::new(&error, &[]).is::<FailureError>());
    assert!(ErrorRef::new(&error, &[see::<Outer<FailureError>>]).is::<FailureError>());
    // The error itself needs no naming.
    assert!(ErrorRef::new(&error, &[]).is::<Outer<FailureError>>());
}

#[test]
fn value_that_is_no_error_is_found_by_its_type() {
    let error = ErrorRef::new(&7_u8, &[]);
    assert_eq!(error.downcast_any::<u8>(), Some(&7));
    assert_eq!(error.downcast_any::<u16>(), None);
    assert_eq!(error.chain().count(), 0);
}

#[test]
fn chain_of_an_error_that_is_its_own_source_ends() {
    #[derive(Debug)]
    struct Loop;
    impl fmt::Display for Loop {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("loop")
        }
    }
    impl Error for Loop {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&Loop)
        }
    }
    let error: BoxError = Box::new(Loop);
    assert!(!ErrorRef::new(&error, &[]).is::<FailureError>());
    assert_eq!(ErrorRef::new(&error, &[]).chain().count(), super::MAX_DEPTH);
}

#[test]
fn debug_hides_the_text_of_the_error() {
    let error = io::Error::other("Bearer sk-secret");
    assert!(!format!("{:?}", ErrorRef::new(&error, &[])).contains("secret"));
    assert_eq!(
        failure().to_string(),
        "The pool has no account that could serve this request. (pool_empty) [401]"
    );
}
