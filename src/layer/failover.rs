//! The fused stack, under the names that users know.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::shell::{common_setters, layer_and_service};
use crate::{
    body::{Buffered, BufferedAs, FailoverBody, InMemory, Keep, PeekLimits, SendOnce, Spare},
    classify::{Cause, Classifier},
    driver::{AuthFailureMode, Config, Driver, ResponseFuture, Settings},
    stage::{gate::Gate, models::Models, retry::RetryPolicy, rotation::Rotation},
};

/// The stages of the fused stack, outermost first.
pub type Stages = (Option<Models>, (Option<RetryPolicy>, (Option<Rotation>, Option<Gate>)));

layer_and_service! {
    /// All stages fused into one loop: one snapshot, one budget, one report.
    ///
    /// Built with [`FailoverLayer::builder`]; it shows the same attempts, reports and answers as the
    /// separate layers in the documented order, and costs a fraction.
    ///
    /// # Position
    ///
    /// Right above the client, with a timeout between the two. It promises for itself: a layer *outside*
    /// that sends again starts its budget and its report anew, and only what the pool knows holds across
    /// those. Layers of this crate *below* it share its budget and its report with
    /// [`outermost_of_several`](crate::failover::FailoverBuilder::outermost_of_several).
    ///
    /// The [first page](crate) and [`FailoverBuilder`](crate::failover::FailoverBuilder) have examples.
    layer FailoverLayer,
    /// The service of a [`FailoverLayer`]: one type, whatever is switched on.
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
