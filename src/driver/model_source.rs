//! The source from which the model of a request is read: its head, or its kept body.

use bytes::Bytes;
use http::request::Parts;

use super::scratch::Snapshot;
use crate::{
    report::NotResent,
    stage::{Ledger, Model, model::ModelAt},
};

/// Returns the kept body in one piece; `None` where it is not in memory.
pub(crate) type GetBytes<'a> = &'a dyn Fn() -> Option<Bytes>;

/// The head of the caller's request: in hand, or kept.
#[derive(Clone, Copy)]
pub(crate) enum Head<'a> {
    Parts(&'a Parts),
    Kept(Option<&'a Snapshot>),
}

/// The head and the body of a request, and the place of the model in them.
#[derive(Clone, Copy)]
pub(crate) struct ModelSource<'a> {
    /// The place that this driver's own fallback reads.
    pub(crate) at: Option<&'a ModelAt>,
    /// The ledger, in which an outer fallback may have announced the place.
    pub(crate) ledger: Option<&'a Ledger>,
    pub(crate) head: Head<'a>,
    pub(crate) bytes: GetBytes<'a>,
}

impl ModelSource<'_> {
    /// Reads the model.
    pub(crate) fn read(&self) -> Model {
        let none = Model::Absent(NotResent::NoModel);
        let (at, body) = match (self.at, self.ledger.and_then(Ledger::model_source)) {
            (Some(at), _) => (at, if at.needs_body() { (self.bytes)() } else { None }),
            (None, Some(source)) => (&source.at, source.body.clone()),
            (None, None) => return none,
        };
        match self.head {
            Head::Parts(head) => at.read(head, body.as_ref()),
            Head::Kept(kept) => match kept.and_then(Snapshot::head) {
                Some(head) => at.read(head, body.as_ref()),
                None => none,
            },
        }
    }
}
