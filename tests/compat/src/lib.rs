//! What the tests of the clients share: an upstream on a real socket, and the layers to put on a
//! client of it.

mod rig;
mod upstream;

pub use self::{
    rig::{CAP, FILM, Rig, Streaming, client, go, post, read, streams_both_ways},
    upstream::{Body, Sent, Upstream, answer, empty, text},
};

/// The layers with everything on, one by one; what stands behind the service keeps bodies in those
/// that send again.
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
