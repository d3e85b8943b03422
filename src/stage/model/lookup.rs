//! The lookup of an attempt's model: read from the request at most once, and only when needed.

use std::{fmt, sync::Arc};

use super::json::Span;
use crate::report::NotResent;

/// The model that the caller's request names, as far as it is known.
#[derive(Clone, Debug, Default)]
pub(crate) enum Model {
    /// It was not read yet.
    #[default]
    Unread,
    /// Its name, and its position if it was found in a JSON body.
    Named(Arc<str>, Option<Span>),
    /// The request names no model that can be read or replaced.
    Absent(NotResent),
}

/// See the [module](self).
pub(crate) struct ModelLookup<'a> {
    /// The model that the attempt names in place of the caller's.
    pub(crate) replacement: Option<Arc<str>>,
    own: &'a mut Model,
    read: &'a mut dyn FnMut() -> Model,
}

impl<'a> ModelLookup<'a> {
    pub(crate) fn new(
        replacement: Option<Arc<str>>,
        own: &'a mut Model,
        read: &'a mut dyn FnMut() -> Model,
    ) -> Self {
        Self { replacement, own, read }
    }

    /// Returns the attempt's model.
    pub(crate) fn get(&mut self) -> Result<Arc<str>, NotResent> {
        match &self.replacement {
            Some(model) => Ok(model.clone()),
            None => self.own(),
        }
    }

    /// Returns the model of the caller's own request.
    pub(crate) fn own(&mut self) -> Result<Arc<str>, NotResent> {
        if matches!(self.own, Model::Unread) {
            *self.own = (self.read)();
        }
        match &*self.own {
            Model::Named(model, _) => Ok(model.clone()),
            Model::Absent(reason) => Err(*reason),
            Model::Unread => Err(NotResent::NoModel),
        }
    }

    /// Returns the model of the caller's own request if `wanted`; reads nothing otherwise.
    pub(crate) fn own_if(&mut self, wanted: bool) -> Option<Arc<str>> {
        if wanted { self.own().ok() } else { None }
    }
}

impl fmt::Debug for ModelLookup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelLookup")
            .field("replacement", &self.replacement)
            .field("own", &self.own)
            .finish_non_exhaustive()
    }
}
