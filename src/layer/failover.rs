//! The fused stack.

use super::shell::layer_and_service;
use crate::{
    body::InMemory,
    stage::{gate::Gate, models::Models, retry::RetryPolicy, rotation::Rotation},
};

/// The stages of the fused stack, outermost first.
pub type Stages = (Option<Models>, (Option<RetryPolicy>, (Option<Rotation>, Option<Gate>)));

layer_and_service! {
    /// All layers fused into one loop: one copy of the request, one budget, one report.
    ///
    /// Built with [`FailoverLayer::builder`]. Attempts, reports and answers are those of the separate
    /// layers in the documented order, at a fraction of the cost.
    ///
    /// # Position
    ///
    /// Directly above the client, with a timeout between the two. A layer *outside* that resends
    /// starts a new budget and a new report with each of its requests; only the pool's state holds
    /// across them. Layers of this crate *below* share its budget and its report with
    /// [`outermost_of_several`](crate::failover::FailoverBuilder::outermost_of_several).
    layer FailoverLayer,
    /// The service of a [`FailoverLayer`]: one type for any set of stages.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http_body_util::Full;
    /// use hyper_util::client::legacy::{Client, connect::HttpConnector};
    /// use tower_failover::Failover;
    ///
    /// struct App {
    ///     upstream: Failover<Client<HttpConnector, Full<Bytes>>>,
    /// }
    /// ```
    service Failover,
    stages Stages, keep InMemory
}
