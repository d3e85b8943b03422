//! The order of the stages: rotation, then retry, then fallback; a stage that acts resets those inside.

use std::time::Duration;

use http::request::Parts;

use super::{
    facts::{Ask, Chosen, Draft, Facts, Next, Stamp, Success},
    options::RequestOptions,
    stage::Stage,
};
use crate::{classify::Cause, report::NotResent};

impl Stage for () {
    type State = ();

    #[inline]
    fn begin(&self, _: &Parts, _: Option<&RequestOptions>, _: Option<&Stamp>) {}
}

/// The outer stage comes first: `(outermost, (next, (.., innermost)))`. All rules about the order of
/// stages stand here.
impl<A: Stage, B: Stage> Stage for (A, B) {
    type State = (A::State, B::State);

    #[inline]
    fn begin(
        &self,
        head: &Parts,
        options: Option<&RequestOptions>,
        stamp: Option<&Stamp>,
    ) -> Self::State {
        (self.0.begin(head, options, stamp), self.1.begin(head, options, stamp))
    }

    fn may_resend(&self) -> bool {
        self.0.may_resend() || self.1.may_resend()
    }

    fn is_unavailable(&self) -> bool {
        self.0.is_unavailable() || self.1.is_unavailable()
    }

    #[inline]
    fn reserve(&self, st: &mut Self::State, ask: &mut Ask<'_, '_>) -> Result<(), Cause> {
        self.0.reserve(&mut st.0, ask)?;
        self.1.reserve(&mut st.1, ask)
    }

    #[inline]
    fn prepare(&self, st: &mut Self::State, draft: &mut Draft<'_, '_>) -> Result<(), Cause> {
        self.0.prepare(&mut st.0, draft)?;
        self.1.prepare(&mut st.1, draft)
    }

    #[inline]
    fn note_success(&self, st: &mut Self::State, success: &Success<'_>) {
        self.1.note_success(&mut st.1, success);
        self.0.note_success(&mut st.0, success);
    }

    fn note_failure(&self, st: &mut Self::State, facts: &mut Facts<'_>) {
        self.1.note_failure(&mut st.1, facts);
        self.0.note_failure(&mut st.0, facts);
    }

    fn awaits_refresh(&self, st: &Self::State, facts: &mut Facts<'_>) -> bool {
        self.1.awaits_refresh(&st.1, facts) || self.0.awaits_refresh(&st.0, facts)
    }

    fn rotates(&self) -> bool {
        self.0.rotates() || self.1.rotates()
    }

    #[inline]
    fn chosen<'a>(&'a self, st: &'a Self::State) -> Chosen<'a> {
        self.1.chosen(&st.1).or(self.0.chosen(&st.0))
    }

    fn next(&self, st: &mut Self::State, facts: &mut Facts<'_>) -> Next {
        let inner = self.1.next(&mut st.1, facts);
        if inner != Next::Pass {
            return inner;
        }
        let outer = self.0.next(&mut st.0, facts);
        let at = match outer {
            Next::Pass => return Next::Pass,
            // Without a wait, the choice made now holds for the attempt.
            Next::Rotate | Next::Replay | Next::FallBack | Next::Retry(Duration::ZERO) => None,
            Next::Retry(wait) => facts.now.get().checked_add(wait),
        };
        self.1.reset(&mut st.1);
        if self.1.reserve(&mut st.1, &mut facts.ask(at)).is_ok() {
            return outer;
        }
        // The outer stage wants another attempt, but no account inside can serve: the answer that
        // is held goes out.
        self.0.cancel(&mut st.0);
        facts.decline(NotResent::NoAccount)
    }

    /// Cancels both: only the stage that acted has something to take back.
    fn cancel(&self, st: &mut Self::State) {
        self.0.cancel(&mut st.0);
        self.1.cancel(&mut st.1);
    }

    fn reset(&self, st: &mut Self::State) {
        self.0.reset(&mut st.0);
        self.1.reset(&mut st.1);
    }
}

/// A stage of the fused stack that may be absent, so that all stacks have one type.
impl<A: Stage> Stage for Option<A> {
    type State = Option<A::State>;

    #[inline]
    fn begin(
        &self,
        head: &Parts,
        options: Option<&RequestOptions>,
        stamp: Option<&Stamp>,
    ) -> Self::State {
        self.as_ref().map(|stage| stage.begin(head, options, stamp))
    }

    fn may_resend(&self) -> bool {
        self.as_ref().is_some_and(Stage::may_resend)
    }

    fn is_unavailable(&self) -> bool {
        self.as_ref().is_some_and(Stage::is_unavailable)
    }

    #[inline]
    fn reserve(&self, st: &mut Self::State, ask: &mut Ask<'_, '_>) -> Result<(), Cause> {
        match (self, st) {
            (Some(stage), Some(st)) => stage.reserve(st, ask),
            _ => Ok(()),
        }
    }

    #[inline]
    fn prepare(&self, st: &mut Self::State, draft: &mut Draft<'_, '_>) -> Result<(), Cause> {
        match (self, st) {
            (Some(stage), Some(st)) => stage.prepare(st, draft),
            _ => Ok(()),
        }
    }

    #[inline]
    fn note_success(&self, st: &mut Self::State, success: &Success<'_>) {
        if let (Some(stage), Some(st)) = (self, st) {
            stage.note_success(st, success);
        }
    }

    fn note_failure(&self, st: &mut Self::State, facts: &mut Facts<'_>) {
        if let (Some(stage), Some(st)) = (self, st) {
            stage.note_failure(st, facts);
        }
    }

    fn next(&self, st: &mut Self::State, facts: &mut Facts<'_>) -> Next {
        match (self, st) {
            (Some(stage), Some(st)) => stage.next(st, facts),
            _ => Next::Pass,
        }
    }

    fn awaits_refresh(&self, st: &Self::State, facts: &mut Facts<'_>) -> bool {
        match (self, st) {
            (Some(stage), Some(st)) => stage.awaits_refresh(st, facts),
            _ => false,
        }
    }

    fn rotates(&self) -> bool {
        self.as_ref().is_some_and(Stage::rotates)
    }

    #[inline]
    fn chosen<'a>(&'a self, st: &'a Self::State) -> Chosen<'a> {
        match (self, st) {
            (Some(stage), Some(st)) => stage.chosen(st),
            _ => Chosen::default(),
        }
    }

    fn cancel(&self, st: &mut Self::State) {
        if let (Some(stage), Some(st)) = (self, st) {
            stage.cancel(st);
        }
    }

    fn reset(&self, st: &mut Self::State) {
        if let (Some(stage), Some(st)) = (self, st) {
            stage.reset(st);
        }
    }
}
