//! The model that an attempt is for: read from the request once, and only for whoever asks.

use std::{fmt, sync::Arc};

use super::json::Span;
use crate::report::NotResent;

/// What is known of the model that the caller's request names.
#[derive(Clone, Debug, Default)]
pub(crate) enum Model {
    /// Nobody has asked.
    #[default]
    Unread,
    /// Its name, and where it stands when that is in a JSON body.
    Named(Arc<str>, Option<Span>),
    /// The request names none that could be read or changed.
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

    /// The attempt's model.
    pub(crate) fn get(&mut self) -> Result<Arc<str>, NotResent> {
        match &self.replacement {
            Some(model) => Ok(model.clone()),
            None => self.own(),
        }
    }

    /// The model of the caller's own request.
    pub(crate) fn own(&mut self) -> Result<Arc<str>, NotResent> {
        if matches!(self.own, Model::Unread) {
            *self.own = (self.read)();
        }
        match &*self.own {
            Model::Named(model, _) => Ok(model.clone()),
            Model::Absent(why) => Err(*why),
            Model::Unread => Err(NotResent::NoModel),
        }
    }

    /// The model of the caller's own request, where that is asked for.
    pub(crate) fn own_if(&mut self, asked: bool) -> Option<Arc<str>> {
        if asked { self.own().ok() } else { None }
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
