//! An error of any type, inspected without a bound on the type.

use std::{any::Any, error::Error, fmt, io, iter, sync::Arc};

use super::failure::FailureError;

/// A cast of an error of one type to `dyn Error`.
pub(crate) type Walk = for<'a> fn(&'a (dyn Any + 'static)) -> Option<&'a (dyn Error + 'static)>;

/// The maximum length of a chain of sources: a longer one is taken for a loop.
const MAX_DEPTH: usize = 64;

/// The error of the service below, whatever its type.
///
/// [`downcast_ref`](Self::downcast_ref) tests the error itself, and then walks
/// [`source()`](Error::source) of each type that is known to be an [`Error`]:
///
/// 1. boxed and shared errors (`Box<dyn Error + Send + Sync>`, tower's `BoxError`, and the like);
/// 2. `std::io::Error`, including the error inside, and [`FailureError`];
/// 3. with the feature `hyper`: the errors of hyper, hyper-util's legacy client and h2;
/// 4. with the features `reqwest` and `tonic`: `reqwest::Error`, `tonic::Status`;
/// 5. with the feature `tower`: the `Elapsed` of its `Timeout`;
/// 6. the types given to [`Classifier::walk`](crate::Classifier::walk).
#[derive(Clone, Copy)]
pub struct ErrorRef<'a> {
    any: &'a (dyn Any + 'static),
    walks: &'a [Walk],
}

impl<'a> ErrorRef<'a> {
    pub(crate) fn new<E: 'static>(error: &'a E, walks: &'a [Walk]) -> Self {
        Self { any: error, walks }
    }

    /// Returns the error as a `T`, or the first `T` in its chain of sources.
    pub fn downcast_ref<T: Error + 'static>(&self) -> Option<&'a T> {
        self.any.downcast_ref().or_else(|| self.chain().find_map(as_type))
    }

    /// Returns whether the error, or one in its chain of sources, is a `T`.
    pub fn is<T: Error + 'static>(&self) -> bool {
        self.downcast_ref::<T>().is_some()
    }

    /// Returns the error itself as a `T`, which need not be an [`Error`]. Sources are not walked.
    pub fn downcast_any<T: 'static>(&self) -> Option<&'a T> {
        self.any.downcast_ref()
    }

    /// Returns the error and its sources, outermost first, as far as their types are known.
    pub fn chain(&self) -> impl Iterator<Item = &'a (dyn Error + 'static)> + use<'a> {
        iter::successors(self.root(), |error| inner(*error)).take(MAX_DEPTH)
    }

    fn root(&self) -> Option<&'a (dyn Error + 'static)> {
        if let Some(error) = self.any.downcast_ref::<Box<dyn Error + Send + Sync>>() {
            return Some(&**error);
        }
        if let Some(error) = self.any.downcast_ref::<Box<dyn Error + Send>>() {
            return Some(&**error);
        }
        if let Some(error) = self.any.downcast_ref::<Box<dyn Error>>() {
            return Some(&**error);
        }
        if let Some(error) = self.any.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
            return Some(&**error);
        }
        KNOWN.iter().chain(self.walks).find_map(|see| see(self.any))
    }
}

/// The types that are known without [`Classifier::walk`](crate::Classifier::walk).
const KNOWN: &[Walk] = &[
    see::<io::Error>,
    see::<FailureError>,
    #[cfg(feature = "hyper")]
    see::<hyper::Error>,
    #[cfg(feature = "hyper")]
    see::<hyper_util::client::legacy::Error>,
    #[cfg(feature = "hyper")]
    see::<h2::Error>,
    #[cfg(feature = "reqwest")]
    see::<reqwest::Error>,
    #[cfg(feature = "tonic")]
    see::<tonic::Status>,
    #[cfg(feature = "tower")]
    see::<tower::timeout::error::Elapsed>,
    see::<tokio::time::error::Elapsed>,
];

/// Casts an error of one type, which may be boxed or shared: the [`Walk`] of that type.
pub(crate) fn see<'a, E: Error + 'static>(
    error: &'a (dyn Any + 'static),
) -> Option<&'a (dyn Error + 'static)> {
    let held = error
        .downcast_ref::<E>()
        .or_else(|| error.downcast_ref::<Box<E>>().map(|error| &**error))
        .or_else(|| error.downcast_ref::<Arc<E>>().map(|error| &**error));
    held.map(|error| error as _)
}

/// Casts an error to `T`, including a boxed or shared `T`, which are error types of their own.
pub(crate) fn as_type<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    error
        .downcast_ref()
        .or_else(|| error.downcast_ref::<Box<T>>().map(|error| &**error))
        .or_else(|| error.downcast_ref::<Arc<T>>().map(|error| &**error))
}

/// Returns the next error of the chain.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    // `source()` of these two skips the error that they hold.
    if let Some(held) = as_type::<io::Error>(error).and_then(io::Error::get_ref) {
        return Some(held);
    }
    #[cfg(feature = "hyper")]
    if let Some(held) = as_type::<h2::Error>(error).and_then(h2::Error::get_io) {
        return Some(held);
    }
    error.source()
}

impl fmt::Debug for ErrorRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the text: an inner error may hold a credential.
        f.debug_struct("ErrorRef").field("depth", &self.chain().count()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
