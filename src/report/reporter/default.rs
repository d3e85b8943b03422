//! The reporter of pools and layers that are built without one.

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
