//! Whether to fall back to another model, and to which.

use std::sync::Arc;

use http::request::Parts;

use super::chain::ModelChain;
use crate::{
    classify::{Cause, ModelFault, Verdict},
    pool::Pool,
    report::NotResent,
    stage::{
        Chosen, Draft, Facts, Next, RequestOptions, Stage, Stamp, model::ModelAt,
        resend::could_duplicate_work,
    },
};

/// The stage that sends the request again with the next model.
#[derive(Clone, Debug)]
pub struct Models {
    pub(crate) chain: ModelChain,
    pub(crate) at: ModelAt,
    /// The pool whose accounts must be able to serve a model; others are skipped.
    pub(crate) pool: Option<Pool>,
}

/// The fallback's state of one request. Empty until a model failed.
#[derive(Debug, Default)]
pub(crate) struct ModelsState(Option<Box<Visited>>);

/// The models that were tried.
#[derive(Debug)]
struct Visited {
    /// The tried models, the request's own first.
    models: Vec<Arc<str>>,
    /// The index of the attempt's model.
    current: usize,
    /// The index before the last fallback, until its attempt is sent.
    before: Option<usize>,
}

impl Models {
    pub(crate) fn new(chain: ModelChain) -> Self {
        Self { chain, at: ModelAt::default(), pool: None }
    }

    /// Returns whether another model may succeed after this verdict.
    fn applies_to(facts: &Facts<'_>) -> bool {
        match facts.verdict {
            Verdict::ModelFault { .. } | Verdict::Limited { .. } => true,
            Verdict::Transient { .. } => !facts.local,
            _ => false,
        }
    }

    /// Returns the next model of the chain that this request has not tried and an account can serve.
    fn next_model(&self, visited: &[Arc<str>], facts: &mut Facts<'_>) -> Option<Arc<str>> {
        let fault = match facts.verdict {
            Verdict::ModelFault { fault, .. } => Some(fault),
            _ => None,
        };
        let can_serve = |model: &Arc<str>, facts: &mut Facts<'_>| {
            self.pool.as_ref().is_none_or(|pool| pool.can_serve(model, facts.now))
        };
        let candidates = self.chain.after(visited, fault);
        // Another fallback of the same stack may have tried the model.
        let ledger = facts.ledger;
        let fresh = |model: &Arc<str>| ledger.is_none_or(|ledger| !ledger.is_visited(model));
        candidates.into_iter().find(|model| fresh(model) && can_serve(model, facts))
    }
}

impl Stage for Models {
    type State = ModelsState;

    #[inline]
    fn begin(&self, _: &Parts, _: Option<&RequestOptions>, _: Option<&Stamp>) -> ModelsState {
        ModelsState::default()
    }

    fn may_resend(&self) -> bool {
        true
    }

    #[inline]
    fn chosen<'a>(&'a self, st: &'a ModelsState) -> Chosen<'a> {
        Chosen { model: st.0.as_deref().and_then(Visited::replacement), ..Chosen::default() }
    }

    fn next(&self, st: &mut ModelsState, facts: &mut Facts<'_>) -> Next {
        if !Self::applies_to(facts) {
            return Next::Pass;
        }
        if facts.options.is_some_and(RequestOptions::forbids_fallback) {
            return facts.decline(NotResent::OptedOut);
        }
        if could_duplicate_work(&facts.verdict, facts.repeatable) {
            return facts.decline(NotResent::PerhapsDone);
        }
        let visited = match &mut st.0 {
            Some(visited) => visited,
            None => match facts.model.own() {
                Ok(own) => st.0.insert(Box::new(Visited::new(own))),
                Err(why) => return facts.decline(why),
            },
        };
        if let (Some(ledger), Ok(failed)) = (facts.ledger, facts.model.get()) {
            ledger.note_visited(&failed);
        }
        let Some(model) = self.next_model(&visited.models, facts) else {
            return Self::exhausted(facts);
        };
        if !facts.may_act() {
            return Next::Pass;
        }
        if facts.is_past_deadline(std::time::Duration::ZERO) {
            return facts.decline(NotResent::Deadline);
        }
        visited.advance_to(model.clone());
        if let Some(ledger) = facts.ledger {
            ledger.note_visited(&model);
        }
        facts.model.replacement = Some(model);
        Next::FallBack
    }

    fn prepare(&self, st: &mut ModelsState, _: &mut Draft<'_, '_>) -> Result<(), Cause> {
        if let Some(visited) = &mut st.0 {
            visited.before = None;
        }
        Ok(())
    }

    fn cancel(&self, st: &mut ModelsState) {
        if let Some(visited) = &mut st.0 {
            visited.current = visited.before.take().unwrap_or(visited.current);
        }
    }
}

impl Models {
    /// Declines because no model is left. The reason of a stage further in stays unless the model failed.
    fn exhausted(facts: &mut Facts<'_>) -> Next {
        match facts.verdict {
            Verdict::ModelFault { fault: ModelFault::Overloaded, .. }
                if facts.not_resent != NotResent::Final =>
            {
                Next::Pass
            }
            Verdict::ModelFault { .. } => facts.decline(NotResent::NoFallback),
            _ => Next::Pass,
        }
    }
}

impl Visited {
    fn new(own: Arc<str>) -> Self {
        Self { models: vec![own], current: 0, before: None }
    }

    /// Returns the current model, unless it is the request's own.
    fn replacement(&self) -> Option<&Arc<str>> {
        self.models.get(self.current).filter(|_| self.current > 0)
    }

    fn advance_to(&mut self, model: Arc<str>) {
        self.before = Some(self.current);
        self.current = self.models.len();
        self.models.push(model);
    }
}
