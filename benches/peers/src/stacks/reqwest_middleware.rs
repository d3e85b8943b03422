//! reqwest-middleware: reqwest-retry, with hand-written fallback and rotation middleware.
//!
//! The last middleware is the upstream: it answers without a network.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use http::{Extensions, StatusCode, header::AUTHORIZATION};
use reqwest::{Request, Response};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Error, Middleware, Next, Result};
use reqwest_retry::{
    RetryDecision, RetryPolicy, RetryTransientMiddleware, Retryable, RetryableStrategy,
};

use super::keys::{Keys, with_next_model};
use crate::{
    measure::{Meter, Subject},
    upstream::{Body, Upstream, bytes_of},
};

/// All functions: fallback outside, then retry, then rotation.
pub fn stack(upstream: Upstream, keys: &Arc<Keys>) -> ClientWithMiddleware {
    ClientBuilder::new(reqwest::Client::new())
        .with(Fallback)
        .with(RetryTransientMiddleware::new_with_policy_and_strategy(AtOnce, Transient))
        .with(Rotation(keys.clone()))
        .with(Answers(upstream))
        .build()
}

/// No function: the baseline of `stack`.
pub fn bare(upstream: Upstream) -> ClientWithMiddleware {
    ClientBuilder::new(reqwest::Client::new()).with(Answers(upstream)).build()
}

/// Two retries without a wait.
struct AtOnce;

impl RetryPolicy for AtOnce {
    fn should_retry(&self, _: SystemTime, past: u32) -> RetryDecision {
        if past < 2 {
            RetryDecision::Retry { execute_after: SystemTime::UNIX_EPOCH + Duration::ZERO }
        } else {
            RetryDecision::DoNotRetry
        }
    }
}

struct Transient;

impl RetryableStrategy for Transient {
    fn handle(&self, result: &Result<Response>) -> Option<Retryable> {
        match result {
            Ok(answer) if matches!(answer.status().as_u16(), 429 | 502..=504) => {
                Some(Retryable::Transient)
            }
            Ok(_) => None,
            Err(error) => reqwest_retry::default_on_request_failure(error),
        }
    }
}

fn copy(request: &Request) -> Result<Request> {
    request.try_clone().ok_or_else(|| Error::middleware(std::io::Error::other("a stream")))
}

struct Fallback;

#[async_trait]
impl Middleware for Fallback {
    async fn handle(
        &self,
        mut request: Request,
        ext: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        loop {
            let sent = copy(&request)?;
            let answer = next.clone().run(sent, ext).await?;
            if answer.status().as_u16() != 529 {
                return Ok(answer);
            }
            let body = request.body().and_then(reqwest::Body::as_bytes).and_then(with_next_model);
            match body {
                Some(body) => *request.body_mut() = Some(body.into()),
                None => return Ok(answer),
            }
        }
    }
}

struct Rotation(Arc<Keys>);

#[async_trait]
impl Middleware for Rotation {
    async fn handle(
        &self,
        mut request: Request,
        ext: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        for _ in 0..3 {
            let Some(key) = self.0.choose() else { break };
            request.headers_mut().insert(AUTHORIZATION, key.clone());
            let sent = copy(&request)?;
            let answer = next.clone().run(sent, ext).await?;
            if answer.status() != StatusCode::UNAUTHORIZED {
                return Ok(answer);
            }
            self.0.reject(&key);
        }
        next.run(request, ext).await
    }
}

struct Answers(Upstream);

#[async_trait]
impl Middleware for Answers {
    async fn handle(&self, request: Request, _: &mut Extensions, _: Next<'_>) -> Result<Response> {
        let body = || request.body().and_then(reqwest::Body::as_bytes).unwrap().to_vec().into();
        let answer: http::Response<reqwest::Body> = self.0.answer(request.headers(), body);
        Ok(answer.into())
    }
}

/// A client as a subject.
pub struct Client {
    client: ClientWithMiddleware,
    reset: Arc<dyn Fn() + Send + Sync>,
    queue: Vec<Request>,
}

impl Client {
    pub fn boxed(
        client: ClientWithMiddleware,
        reset: impl Fn() + Send + Sync + 'static,
    ) -> Box<dyn Subject> {
        Box::new(Self { client, reset: Arc::new(reset), queue: Vec::new() })
    }
}

impl Subject for Client {
    fn fill(&mut self, requests: Vec<http::Request<Body>>) {
        let convert = |request: http::Request<Body>| {
            let (head, body) = request.into_parts();
            http::Request::from_parts(head, bytes_of(&body)).try_into().unwrap()
        };
        self.queue = requests.into_iter().map(convert).collect();
    }

    fn run(&mut self, meter: &mut Meter<'_>) {
        let requests = std::mem::take(&mut self.queue);
        meter.resume();
        for request in requests {
            let answer = meter.finish(self.client.execute(request));
            assert_eq!(answer.expect("an answer").status(), StatusCode::OK);
        }
        meter.pause();
    }

    fn reset(&mut self) {
        (self.reset)();
    }

    fn twin(&self) -> Box<dyn Subject> {
        let Self { client, reset, .. } = self;
        Box::new(Self { client: client.clone(), reset: reset.clone(), queue: Vec::new() })
    }
}
