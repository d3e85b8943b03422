//! The trait of a stage.

use std::fmt::Debug;

use http::request::Parts;

use super::{
    facts::{Ask, Chosen, Draft, Facts, Next, Stamp, Success},
    options::RequestOptions,
};
use crate::classify::Cause;

/// The pure core of one layer: it decides, and never waits, calls a service or reads a clock of its own.
///
/// Before an attempt the stages are walked from the outside in ([`reserve`](Stage::reserve),
/// [`prepare`](Stage::prepare)); after a verdict from the inside out ([`note_failure`](Stage::note_failure),
/// [`next`](Stage::next)). A stage that acts resets those inside it.
pub(crate) trait Stage: Debug + Send + Sync + 'static {
    /// The stage's state of one request.
    type State: Send + Sync + 'static;

    /// Builds the state of a new request.
    ///
    /// `stamp` is the credential that a rotation further out put on the request.
    fn begin(
        &self,
        head: &Parts,
        options: Option<&RequestOptions>,
        stamp: Option<&Stamp>,
    ) -> Self::State;

    /// Returns whether this stage could ever ask for another attempt.
    fn may_resend(&self) -> bool {
        false
    }

    /// Returns whether every request is certain to be answered without the upstream now.
    fn is_unavailable(&self) -> bool {
        false
    }

    /// Chooses what the next attempt will use. Reserves nothing on failure.
    fn reserve(&self, _: &mut Self::State, _: &mut Ask<'_, '_>) -> Result<(), Cause> {
        Ok(())
    }

    /// Puts the choice on the attempt, which is sent at once.
    fn prepare(&self, _: &mut Self::State, _: &mut Draft<'_, '_>) -> Result<(), Cause> {
        Ok(())
    }

    /// Records a successful attempt.
    fn note_success(&self, _: &mut Self::State, _: &Success<'_>) {}

    /// Records a failure. Called once for each failed attempt.
    fn note_failure(&self, _: &mut Self::State, _: &mut Facts<'_>) {}

    /// Returns whether the decision must wait for a refresh that is in progress.
    fn awaits_refresh(&self, _: &Self::State, _: &mut Facts<'_>) -> bool {
        false
    }

    /// Decides what to do after a failure.
    fn next(&self, _: &mut Self::State, _: &mut Facts<'_>) -> Next {
        Next::Pass
    }

    /// Returns whether this stage puts credentials on requests.
    fn rotates(&self) -> bool {
        false
    }

    /// Returns what the stages have chosen for the attempt.
    #[inline]
    fn chosen<'a>(&'a self, _: &'a Self::State) -> Chosen<'a> {
        Chosen::default()
    }

    /// Takes back the last [`next`](Stage::next), unless its attempt was sent.
    fn cancel(&self, _: &mut Self::State) {}

    /// Resets the state because a stage further out acted.
    ///
    /// A gate has nothing to reset, since its attempt is over; neither has a fallback, which is the
    /// outermost stage of its driver.
    fn reset(&self, _: &mut Self::State) {}
}
