//! Shared by the tests of the clients: an upstream on a real socket, and the layers for a client
//! of it.

mod rig;
mod upstream;

pub use self::{
    rig::{CAP, FILM, Rig, Streaming, client, post, read, streams_both_ways, within_a_minute},
    upstream::{Body, Sent, Upstream, answer, empty, text},
};

/// Stacks the separate layers; the tokens behind the service are body strategies of the layers that
/// resend.
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
