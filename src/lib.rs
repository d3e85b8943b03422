//! Tower layers for token-authenticated HTTP APIs.
#![allow(dead_code, unused_imports)]

pub mod classify {
    //! What an answer means.
    mod code;
    mod verdict;
    pub use self::{code::*, verdict::*};
}
mod clock;
pub mod credential;
pub mod report {
    //! Who is told what.
    mod attempt;
    mod event;
    pub use self::{attempt::*, event::*};

    /// Stands in until the real one is merged.
    pub trait Reporter: Send + Sync + 'static {
        /// Takes note of `event`.
        fn report(&self, event: &Event);
    }
    impl<F: Fn(&Event) + Send + Sync + 'static> Reporter for F {
        fn report(&self, event: &Event) {
            self(event);
        }
    }
    /// Stands in until the real one is merged.
    #[derive(Clone, Default)]
    pub struct ReporterHandle(Option<std::sync::Arc<dyn Reporter>>);
    impl std::fmt::Debug for ReporterHandle {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("ReporterHandle")
        }
    }
    impl ReporterHandle {
        /// Tells `reporter`.
        pub fn new(reporter: impl Reporter) -> Self {
            Self(Some(std::sync::Arc::new(reporter)))
        }
        /// Tells nobody.
        pub const fn none() -> Self {
            Self(None)
        }
        /// Tells.
        pub fn tell(&self, event: &Event) {
            if let Some(reporter) = &self.0 {
                reporter.report(event);
            }
        }
    }
    /// Who knows the secrets that must not be told.
    pub(crate) trait Redact {
        /// Calls `f` with each secret.
        fn visit_secrets(&self, f: &mut dyn FnMut(&[u8]));
        /// Whether there are too many to look for.
        fn too_many(&self) -> bool {
            false
        }
    }
}
