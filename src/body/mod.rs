//! Request bodies that can be resent, and the response body of every layer.
//!
//! Each layer that may resend a request needs its body again. A *strategy* says how it is kept; it is
//! set with `send_once`, `buffered`, `buffered_as` or `body_strategy`.
//!
//! | strategy | request body `B` | inner service's body | resent | with another model in its JSON |
//! | --- | --- | --- | --- | --- |
//! | [`SendOnce`] | any | `B` | never | no |
//! | [`Cloned`] | `Clone` | `B` | yes | no |
//! | [`InMemory`] | `Clone`, `Body<Data = Bytes>`, `From<Bytes>` | `B` | yes | yes |
//! | [`TryCloned`] | with a fallible clone of its own, such as kube's | `B` | where that clone succeeds | with `made_of` |
//! | [`Buffered`] | `Body<Data = Bytes>`, `Unpin` | [`ReplayBody<B>`](ReplayBody) | up to a size | yes |
//! | [`BufferedAs`] | the same | as a function converts it | up to a size | yes |
//!
//! [`InMemory`] is the default of the layers that may change a model (`FailoverLayer`,
//! `ModelFallbackLayer`), [`Cloned`] that of the other layers that resend, and [`SendOnce`] that of
//! the layers that never do.
//!
//! ```
//! use bytes::Bytes;
//! use http_body_util::{BodyExt, Full};
//! use tower_failover::{FailoverLayer, RetryLayer, RetryPolicy, body::{Cloned, ReplayBody}};
//!
//! // A body that is only `Clone`.
//! let layer = FailoverLayer::builder().retry(RetryPolicy::new()).body_strategy(Cloned).build()?;
//! // A body that streams, up to 1 MiB: the inner service is called with a `ReplayBody`.
//! let layer = RetryLayer::default().buffered(1024 * 1024);
//! // The same, for an inner service that takes one type of body.
//! let layer = RetryLayer::default()
//!     .buffered_as(64 * 1024, |body: ReplayBody<Full<Bytes>>| BodyExt::boxed(body));
//! // Every request is sent once: any body, and a service that is not `Clone`.
//! let layer = RetryLayer::default().send_once();
//! # Ok::<(), tower_failover::BuildError>(())
//! ```

pub(crate) mod buffered;
pub(crate) mod filling;
pub(crate) mod keep;
pub(crate) mod peek;
pub(crate) mod replay;
pub(crate) mod response;
pub(crate) mod try_cloned;

pub use self::{
    buffered::{Buffered, BufferedAs},
    keep::{Cloned, InMemory, Keep, SendOnce, Spare},
    replay::ReplayBody,
    response::FailoverBody,
    try_cloned::TryCloned,
};
pub(crate) use self::{
    keep::{Started, Strategy},
    peek::{Peek, PeekLimits},
};
