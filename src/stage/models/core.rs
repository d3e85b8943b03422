//! The stage behind [`ModelFallbackLayer`](crate::ModelFallbackLayer).

use std::sync::Arc;

use http::request::Parts;

use super::{chain::ModelChain, location::ModelAt};
use crate::{
    classify::{ModelFault, Verdict},
    credential::Pool,
    report::NotResent,
    stage::{
        options::RequestOptions,
        stage::{Facts, Next, Stage, sealed::Sealed},
    },
};

/// Falls back to the next model.
#[derive(Clone, Debug)]
pub struct Models {
    pub(crate) chain: ModelChain,
    pub(crate) at: ModelAt,
    /// Models that none of its accounts can serve now are passed over.
    pub(crate) pool: Option<Pool>,
}

/// What is kept of one request.
#[derive(Debug, Default)]
pub struct ModelsState {
    /// The models that were tried, the request's own first. Empty until one failed.
    visited: Vec<Arc<str>>,
    /// The model in place of the request's own.
    current: Option<Arc<str>>,
}

impl Models {
    pub(crate) fn new(chain: ModelChain) -> Self {
        Self { chain, at: ModelAt::default(), pool: None }
    }

    /// Whether another model may serve where this one did not.
    fn helps(facts: &Facts<'_>) -> bool {
        match facts.verdict {
            Verdict::ModelFault { .. } | Verdict::Limited { .. } => true,
            Verdict::Transient { .. } => !facts.local,
            _ => false,
        }
    }

    fn next_model(&self, st: &ModelsState, facts: &mut Facts<'_>) -> Option<Arc<str>> {
        let fault = match facts.verdict {
            Verdict::ModelFault { fault, .. } => Some(fault),
            _ => None,
        };
        let can_serve = |model: &Arc<str>, facts: &mut Facts<'_>| {
            self.pool.as_ref().is_none_or(|pool| pool.can_serve(model, facts.now))
        };
        let candidates = self.chain.after(&st.visited, fault);
        candidates.into_iter().find(|model| can_serve(model, facts))
    }
}

impl Sealed for Models {}

impl Stage for Models {
    type State = ModelsState;

    fn begin(&self, _: &Parts, _: Option<&RequestOptions>, _: bool) -> ModelsState {
        ModelsState::default()
    }

    fn may_resend(&self) -> bool {
        true
    }

    fn model<'a>(&self, st: &'a ModelsState) -> Option<&'a Arc<str>> {
        st.current.as_ref()
    }

    fn next(&self, st: &mut ModelsState, facts: &mut Facts<'_>) -> Next {
        if !Self::helps(facts) {
            return Next::Pass;
        }
        if facts.options.is_some_and(RequestOptions::forbids_fallback) {
            return facts.decline(NotResent::OptedOut);
        }
        if facts.could_double() {
            return facts.decline(NotResent::PerhapsDone);
        }
        if st.visited.is_empty() {
            match facts.wanted.own() {
                Ok(own) => st.visited.push(own),
                Err(why) => return facts.decline(why),
            }
        }
        let Some(model) = self.next_model(st, facts) else {
            return Self::exhausted(facts);
        };
        if !facts.may_act() {
            return Next::Pass;
        }
        if facts.beyond_deadline(std::time::Duration::ZERO) {
            return facts.decline(NotResent::Deadline);
        }
        st.visited.push(model.clone());
        facts.wanted.instead = Some(model.clone());
        st.current = Some(model);
        Next::FallBack
    }

    fn reset(&self, st: &mut ModelsState) {
        *st = ModelsState::default();
    }
}

impl Models {
    /// The reason of the stages inside says more, unless the model itself was the matter.
    fn exhausted(facts: &mut Facts<'_>) -> Next {
        match facts.verdict {
            Verdict::ModelFault { fault: ModelFault::Overloaded, .. }
                if facts.why != NotResent::Final =>
            {
                Next::Pass
            }
            Verdict::ModelFault { .. } => facts.decline(NotResent::NoFallback),
            _ => Next::Pass,
        }
    }
}
