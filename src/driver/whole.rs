//! A body that was read whole.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

/// Data in order; cheap to clone.
#[derive(Clone, Debug)]
pub(super) enum Chunks {
    None,
    One(Bytes),
    Many(Arc<[Bytes]>),
}

/// A whole body, kept for another attempt.
#[derive(Clone, Debug)]
pub struct WholeBody {
    pub(super) chunks: Chunks,
    pub(super) trailers: Option<Trailers>,
}

#[derive(Clone, Debug)]
pub(super) struct Trailers {
    pub(super) fields: Arc<HeaderMap>,
    /// Whether the body said how long it is.
    pub(super) known: bool,
}

impl Chunks {
    pub(super) fn as_slice(&self) -> &[Bytes] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl WholeBody {
    /// These bytes, with the trailers of this body.
    pub(super) fn with(&self, bytes: Bytes) -> Self {
        Self { chunks: Chunks::One(bytes), trailers: self.trailers.clone() }
    }

    /// All data in one piece.
    pub(super) fn bytes(&self) -> Bytes {
        match &self.chunks {
            Chunks::None => Bytes::new(),
            Chunks::One(one) => one.clone(),
            Chunks::Many(many) => {
                let mut all = BytesMut::with_capacity(many.iter().map(Bytes::len).sum());
                many.iter().for_each(|chunk| all.extend_from_slice(chunk));
                all.freeze()
            }
        }
    }
}
