//! The layer that reports failed requests.

use std::time::Duration;

use super::{build_error::BuildError, shell::layer_and_service};
use crate::{
    body::SendOnce,
    driver::Settings,
    pool::Pool,
    report::{Coalesce, Reporter},
};

layer_and_service! {
    /// Reports every failed request exactly once, with all of its attempts.
    ///
    /// With [`coalesce`](ErrorDedupLayer::coalesce), a failure like one that was reported shortly
    /// before is counted instead.
    ///
    /// # Position
    ///
    /// Outside of all layers that resend. Two in one stack report once. One *inside* a layer that
    /// resends reports once for each request that it sees.
    ///
    /// ```
    /// use tower::ServiceBuilder;
    /// use tower_failover::{ErrorDedupLayer, Event, RetryLayer};
    ///
    /// # fn stack<S: Clone>(client: S) {
    /// let stack = ServiceBuilder::new()
    ///     .layer(ErrorDedupLayer::new(|event: &Event| eprintln!("{event}")))
    ///     .layer(RetryLayer::default())
    ///     .service(client);
    /// # }
    /// ```
    layer ErrorDedupLayer,
    /// The service of an [`ErrorDedupLayer`].
    service ErrorDedup,
    stages (), keep SendOnce
}

impl ErrorDedupLayer {
    /// Reports failed requests to `reporter`: a closure, a [`Reporter`] or a
    /// [`ReporterHandle`](crate::report::ReporterHandle) that is shared with others.
    pub fn new(reporter: impl Reporter) -> Self {
        let reporter = Some(reporter.into_handle());
        let settings = Settings { reporter, ..Settings::default() };
        Self { stages: (), keep: SendOnce, settings }
    }
}

impl<K> ErrorDedupLayer<K> {
    /// Sets whether requests that succeeded after failed attempts are reported too. Default: `false`.
    pub fn report_recovered(mut self, report: bool) -> Self {
        self.settings.recovered = report;
        self
    }

    /// Reports the first of like failures within this window, and then the number of the others.
    ///
    /// To remember more fingerprints than by default, give a [`Coalesce`] to [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// When the window is zero or longer than 24 h.
    pub fn coalesce(mut self, window: Duration) -> Result<Self, BuildError> {
        let reporter = self.settings.reporter.take().ok_or(BuildError::NoReporter)?;
        self.settings.reporter = Some(Coalesce::handle(reporter, window)?);
        Ok(self)
    }

    /// Removes the secrets of this pool from all reported text.
    pub fn redact(mut self, pool: &Pool) -> Self {
        self.settings.secrets = Some(pool.clone());
        self
    }
}
