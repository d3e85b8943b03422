//! The floor: the evidence of a rejected credential that no policy can overrule.

use std::{error::Error, fmt, sync::Arc};

use http::StatusCode;

use super::{
    answer::Answer,
    error_ref::{self, ErrorRef, Walk},
    reason::Reason,
    verdict::Verdict,
};

pub(crate) type AnswerRule = dyn Fn(&Answer<'_>) -> Option<Reason> + Send + Sync;
pub(crate) type ErrorRule = dyn Fn(&ErrorRef<'_>) -> Option<Reason> + Send + Sync;

/// The user's rules, in addition to what is always unauthorized. A rule can add to that, and give a better
/// reason; it cannot lift a rejection.
#[derive(Clone, Default)]
pub(crate) struct Floor {
    answers: Vec<Arc<AnswerRule>>,
    bodies: Vec<(Arc<[StatusCode]>, Arc<AnswerRule>)>,
    errors: Vec<Arc<ErrorRule>>,
    walks: Vec<Walk>,
}

impl Floor {
    /// A floor without rules.
    pub(crate) const EMPTY: Self =
        Self { answers: Vec::new(), bodies: Vec::new(), errors: Vec::new(), walks: Vec::new() };

    pub(crate) fn add_answer_rule(&mut self, rule: Arc<AnswerRule>) {
        self.answers.push(rule);
    }

    pub(crate) fn add_body_rule(&mut self, statuses: Arc<[StatusCode]>, rule: Arc<AnswerRule>) {
        self.bodies.push((statuses, rule));
    }

    pub(crate) fn add_error_rule(&mut self, rule: Arc<ErrorRule>) {
        self.errors.push(rule);
    }

    pub(crate) fn add_walk<E: Error + 'static>(&mut self) {
        self.walks.push(error_ref::see::<E>);
    }

    pub(crate) fn walks(&self) -> &[Walk] {
        &self.walks
    }

    /// Returns whether no rule can turn a success into a rejection.
    pub(crate) fn trusts_success(&self) -> bool {
        self.answers.is_empty() && self.bodies.is_empty()
    }

    /// Returns whether a rule reads the body of an answer with this status.
    pub(crate) fn wants_body(&self, status: StatusCode) -> bool {
        self.bodies.iter().any(|(statuses, _)| statuses.contains(&status))
    }

    /// Returns why this answer rejects the credential; `None` if it does not. `generic` is the verdict of
    /// the generic table.
    pub(crate) fn rejection(&self, answer: &Answer<'_>, generic: Verdict) -> Option<Reason> {
        let by_body = || {
            answer.body()?;
            let rules = self.bodies.iter().filter(|(s, _)| s.contains(&answer.status()));
            rules.map(|(_, rule)| rule).find_map(|rule| rule(answer))
        };
        let by_rule = by_body().or_else(|| self.answers.iter().find_map(|rule| rule(answer)));
        by_rule.or(generic_reason(generic))
    }

    /// Returns why this error rejects the credential; `None` if it does not. `generic` is the verdict of
    /// the generic table.
    pub(crate) fn error_rejection(&self, error: &ErrorRef<'_>, generic: Verdict) -> Option<Reason> {
        let by_rule = self.errors.iter().find_map(|rule| rule(error));
        by_rule.or(generic_reason(generic))
    }
}

fn generic_reason(generic: Verdict) -> Option<Reason> {
    match generic {
        Verdict::Unauthorized(reason) => Some(reason),
        _ => None,
    }
}

impl fmt::Debug for Floor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Floor")
            .field("answers", &self.answers.len())
            .field("bodies", &self.bodies.iter().map(|(s, _)| s).collect::<Vec<_>>())
            .field("errors", &self.errors.len())
            .field("walks", &self.walks.len())
            .finish()
    }
}
