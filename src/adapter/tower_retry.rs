//! `RetryPolicy` as a policy of tower's own `Retry`.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};

use crate::{
    classify::{Cause, Classifier, Verdict},
    clock::{self, Sleep},
    stage::{
        RequestOptions,
        resend::{IDEMPOTENCY_KEY, repeatable},
        retry::{RetryPolicy, RetryQuery},
    },
};

/// The delay before tower's `Retry` resends; ready at once when there is none.
///
/// # Cancel safety
///
/// Dropping it ends the delay only.
#[derive(Debug)]
pub struct RetryWait(Option<Sleep>);

impl Future for RetryWait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Some(sleep) => Pin::new(sleep).poll(cx),
            None => Poll::Ready(()),
        }
    }
}

/// Only the head of an answer is classified: tower's `Retry` does not read bodies.
impl<B: Clone, RB, E: 'static> tower::retry::Policy<Request<B>, Response<RB>, E> for RetryPolicy {
    type Future = RetryWait;

    fn retry(
        &mut self,
        request: &mut Request<B>,
        result: &mut Result<Response<RB>, E>,
    ) -> Option<RetryWait> {
        let verdict = judge(&self.settings.classifier, result)?;
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
        let sleep = if wait.is_zero() { None } else { Some(self.settings.timer.sleep(wait)?) };
        self.settings.withdraw(&mut self.session, &verdict).ok()?;
        Some(RetryWait(sleep))
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }
}

/// Classifies a result. `None` for an answer with a cause: a local answer states its own delay, and
/// an upstream's is a rejected credential.
fn judge<RB, E: 'static>(
    classifier: &Classifier,
    result: &mut Result<Response<RB>, E>,
) -> Option<Verdict> {
    let answer = match result {
        Ok(answer) => answer,
        Err(error) => return Some(classifier.error(error)),
    };
    if answer.extensions().get::<Cause>().is_some() {
        return None;
    }
    // The classifier takes a whole head, so the headers are moved into one and back.
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = answer.status();
    std::mem::swap(&mut head.headers, answer.headers_mut());
    let verdict = classifier.classify(&head, None, clock::wall());
    std::mem::swap(&mut head.headers, answer.headers_mut());
    Some(verdict)
}
