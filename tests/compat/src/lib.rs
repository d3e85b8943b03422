//! What the tests of the clients share: an upstream on a real socket, and the layers to put on a
//! client of it.

mod rig;
mod upstream;

pub use self::{
    rig::{CAP, FILM, Rig, Streaming, client, go, post, read, streams_both_ways},
    upstream::{Body, Sent, Upstream, answer, empty, text},
};
