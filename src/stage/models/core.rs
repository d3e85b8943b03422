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
        stage::{Facts, Next, Stage, Stamp, sealed::Sealed},
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

/// What is kept of one request. Empty until a model failed.
pub type ModelsState = Option<Box<Visited>>;

/// The models that were tried.
#[allow(unnameable_types)] // It is nobody's but this stage's.
#[derive(Debug)]
pub struct Visited {
    /// The request's own first; the last one is the present one.
    models: Vec<Arc<str>>,
    /// The last one is of a fallback that may yet be called off.
    asked: bool,
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

    fn next_model(&self, visited: &[Arc<str>], facts: &mut Facts<'_>) -> Option<Arc<str>> {
        let fault = match facts.verdict {
            Verdict::ModelFault { fault, .. } => Some(fault),
            _ => None,
        };
        let can_serve = |model: &Arc<str>, facts: &mut Facts<'_>| {
            self.pool.as_ref().is_none_or(|pool| pool.can_serve(model, facts.now))
        };
        let candidates = self.chain.after(visited, fault);
        candidates.into_iter().find(|model| can_serve(model, facts))
    }
}

impl Sealed for Models {}

impl Stage for Models {
    type State = ModelsState;

    fn begin(&self, _: &Parts, _: Option<&RequestOptions>, _: Option<&Stamp>) -> ModelsState {
        None
    }

    fn may_resend(&self) -> bool {
        true
    }

    fn model<'a>(&self, st: &'a ModelsState) -> Option<&'a Arc<str>> {
        st.as_deref()?.models.get(1..)?.last()
    }

    fn learn(&self, st: &mut ModelsState, _: &mut Facts<'_>) {
        if let Some(visited) = st {
            visited.asked = false;
        }
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
        let visited = match st {
            Some(visited) => visited,
            None => match facts.wanted.own() {
                Ok(own) => st.insert(Box::new(Visited { models: vec![own], asked: false })),
                Err(why) => return facts.decline(why),
            },
        };
        let Some(model) = self.next_model(&visited.models, facts) else {
            return Self::exhausted(facts);
        };
        if !facts.may_act() {
            return Next::Pass;
        }
        if facts.beyond_deadline(std::time::Duration::ZERO) {
            return facts.decline(NotResent::Deadline);
        }
        visited.models.push(model.clone());
        visited.asked = true;
        facts.wanted.instead = Some(model);
        Next::FallBack
    }

    fn cancel(&self, st: &mut ModelsState) {
        if let Some(visited) = st.as_deref_mut().filter(|visited| visited.asked) {
            visited.models.pop();
            visited.asked = false;
        }
    }

    fn reset(&self, st: &mut ModelsState) {
        *st = None;
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
