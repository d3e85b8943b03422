//! `RetryPolicy` for tower's own `Retry`.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};

use crate::{
    classify::{Cause, Verdict},
    clock::{self, Sleep},
    stage::{
        RequestOptions,
        retry::{IDEMPOTENCY_KEY, RetryPolicy, RetryQuery, repeatable},
    },
};

/// The wait before tower's `Retry` sends again; ready at once when there is nothing to wait for.
///
/// [`RetryPolicy`] has an example.
///
/// # Cancel safety
///
/// Dropping it ends the wait, and nothing else.
#[derive(Debug)]
pub struct RetryWait(Option<Sleep>);

impl Future for RetryWait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Some(nap) => Pin::new(nap).poll(cx),
            None => Poll::Ready(()),
        }
    }
}

/// Only the head of an answer counts: tower's `Retry` does not read bodies.
impl<B: Clone, RB, E: 'static> tower::retry::Policy<Request<B>, Response<RB>, E> for RetryPolicy {
    type Future = RetryWait;

    fn retry(
        &mut self,
        request: &mut Request<B>,
        result: &mut Result<Response<RB>, E>,
    ) -> Option<RetryWait> {
        let verdict = self.judge(result)?;
        if verdict.is_success() {
            self.settings.note_success(&self.session);
            return None;
        }
        let options = request.extensions().get::<RequestOptions>();
        if options.is_some_and(RequestOptions::forbids_retry) {
            return None;
        }
        let keyed = request.headers().contains_key(&IDEMPOTENCY_KEY);
        let query = RetryQuery {
            verdict,
            repeatable: repeatable(request.method(), keyed, options),
            available_in: None,
            random: fastrand::f64,
        };
        let wait = self.settings.decide(&self.session, &query).ok()?;
        let nap = if wait.is_zero() { None } else { Some(self.settings.timer.sleep(wait)?) };
        self.settings.withdraw(&mut self.session, &verdict).ok()?;
        Some(RetryWait(nap))
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }
}

impl RetryPolicy {
    /// `None` for an answer with a cause: one of this crate's own says itself when to come back, and
    /// the upstream's is a refusal.
    fn judge<RB, E: 'static>(&self, result: &mut Result<Response<RB>, E>) -> Option<Verdict> {
        let classifier = &self.settings.classifier;
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => return Some(classifier.error(error)),
        };
        if answer.extensions().get::<Cause>().is_some() {
            return None;
        }
        // The classifier reads a whole head; this one is put back right after.
        let (mut head, ()) = Response::new(()).into_parts();
        head.status = answer.status();
        std::mem::swap(&mut head.headers, answer.headers_mut());
        let verdict = classifier.classify(&head, None, clock::wall());
        std::mem::swap(&mut head.headers, answer.headers_mut());
        Some(verdict)
    }
}
