//! Helpers that the client tests share: an upstream on a real socket, and the layers for its
//! client.

mod rig;
mod upstream;

pub use self::{
    rig::{CAP, FILM, Rig, Streaming, client, post, read, streams_both_ways, within_a_minute},
    upstream::{Body, Sent, Upstream, answer, empty, text},
};

/// Builds all separate layers; the method calls after the service set the body strategy of the
/// resending layers.
#[macro_export]
macro_rules! separate {
    ($rig:expr, $service:expr $(, $($keep:tt)*)?) => {
        ::tower::ServiceBuilder::new()
            .layer($rig.dedup())
            .layer($rig.models()$($($keep)*)?)
            .layer($rig.retry()$($($keep)*)?)
            .layer($rig.rotation()$($($keep)*)?)
            .layer($rig.gate())
            .service($service)
    };
}
