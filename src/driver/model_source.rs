//! What a request's model is read from.

use http::request::Parts;

use super::{exchange::GetBytes, scratch::Snapshot};
use crate::{
    report::NotResent,
    stage::{Ledger, Model, model::ModelAt},
};

/// The head of the caller's request, as far as it is at hand.
#[derive(Clone, Copy)]
pub(crate) enum Head<'a> {
    Parts(&'a Parts),
    Kept(Option<&'a Snapshot>),
}

/// See the [module](self).
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    /// Where this driver's own fallback finds the model.
    pub(crate) at: Option<&'a ModelAt>,
    /// What an outer fallback has said of it.
    pub(crate) ledger: Option<&'a Ledger>,
    pub(crate) head: Head<'a>,
    pub(crate) bytes: GetBytes<'a>,
}

impl Source<'_> {
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
