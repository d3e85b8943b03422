//! The reporter of pools and layers that were given none.

use super::reporter::ReporterHandle;
#[cfg(feature = "tracing")]
use super::tracing::TracingReporter;

impl Default for ReporterHandle {
    fn default() -> Self {
        #[cfg(feature = "tracing")]
        return Self::new(TracingReporter::new());
        #[cfg(not(feature = "tracing"))]
        Self::none()
    }
}
