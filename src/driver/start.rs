//! The start of a request: it is sent at once, answered locally, or prepared for a later attempt.

use std::sync::Arc;

use http::{HeaderValue, Request, Response, header::CONTENT_TYPE, request};
use http_body::Body;
use tower_service::Service;

use super::{
    attempt::{Attempts, NextAttempt, Upload},
    exchange::Exchange,
    future::ResponseFuture,
    shared::{Callee, Shared},
    state::{Phase, State},
};
use crate::{
    answer::local,
    body::{Keep, Spare, Started},
    classify::{Cause, Code},
    stage::Stage,
};

impl<S, St, K, B, RB> ResponseFuture<S, St, K, B, RB>
where
    S: Service<Request<K::Out>, Response = Response<RB>>,
    S::Error: 'static,
    St: Stage,
    K: Keep<B> + Spare<S>,
    RB: Body,
{
    /// Starts a request.
    #[inline]
    pub(crate) fn start(
        callee: Callee<'_, S>,
        shared: &Arc<Shared<S, St, K>>,
        request: Request<B>,
    ) -> Self {
        let (mut head, body) = request.into_parts();
        if !callee.is_ready() {
            if let Some(answered) = Self::answer_locally(shared, &head) {
                return answered;
            }
        }
        let exchange = Exchange::begin(shared, &head, false);
        // In the place from which it is moved once, into the future.
        let mut attempts = Attempts { spare: None, kept: None, exchange };
        let exchange = &mut attempts.exchange;
        let keep = &shared.config.keep;
        let started = match exchange.scratch.barred {
            None => keep.start(body),
            Some(why) => Started::Ready(keep.once(body), Err(why)),
        };
        let body = match started {
            Started::Ready(body, kept) => {
                attempts.kept = kept.map_err(|why| exchange.scratch.barred = Some(why)).ok();
                body
            }
            Started::Fill(fill) => return Self::upload(attempts.exchange, callee, head, fill),
        };
        let kept = &attempts.kept;
        let bytes = || keep.bytes(kept.as_ref()?);
        exchange.announce_model_source(&bytes);
        let mut admitted = exchange.reserve(&head, &bytes, false);
        // Without a ready service, it is prepared when the attempt is sent.
        if admitted.is_ok() && callee.is_ready() {
            admitted = exchange.prepare(&mut head, true);
        }
        if admitted.is_err() || !callee.is_ready() {
            let request = Request::from_parts(head, body);
            return Self::not_sent(attempts, callee, request, admitted);
        }
        Self { state: State::Calling(callee.call(Request::from_parts(head, body))), attempts }
    }

    /// Answers a request for the cause in `admitted`, or prepares it for a later attempt.
    #[cold]
    fn not_sent(
        Attempts { kept, exchange, .. }: Attempts<S, St, K, B>,
        callee: Callee<'_, S>,
        request: Request<K::Out>,
        admitted: Result<(), Cause>,
    ) -> Self {
        match admitted {
            Ok(()) => {
                let (head, body) = request.into_parts();
                Self::send_later(exchange, kept, head, body)
            }
            Err(cause) if cause.is_under_way() => {
                Self::await_credential(exchange, callee, (request, kept), cause)
            }
            Err(cause) => {
                callee.put_back();
                let grpc = request.headers().get(CONTENT_TYPE);
                let grpc = local::is_grpc(grpc.map(HeaderValue::as_bytes));
                Self::ended(exchange, kept, cause, grpc)
            }
        }
    }

    /// Answers a request that is surely not sent, without keeping anything of it.
    #[cold]
    fn answer_locally(shared: &Arc<Shared<S, St, K>>, head: &request::Parts) -> Option<Self> {
        let mut exchange = Exchange::begin(shared, head, true);
        let cause = exchange.reserve(head, &|| None, false).err()?;
        if cause.is_under_way() {
            return None;
        }
        Some(Self::ended(exchange, None, cause, local::wants_grpc(head)))
    }

    /// A request that is answered locally for `cause`.
    #[cold]
    fn ended(
        exchange: Exchange<S, St, K>,
        kept: Option<K::Kept>,
        cause: Cause,
        grpc: bool,
    ) -> Self {
        let state = State::Between(Phase::Local(cause, grpc));
        Self { state, attempts: Attempts { spare: None, kept, exchange } }
    }

    /// Waits for a service: the driver was polled ready because a local answer was expected.
    #[cold]
    fn send_later(
        exchange: Exchange<S, St, K>,
        kept: Option<K::Kept>,
        head: request::Parts,
        body: K::Out,
    ) -> Self {
        let Some(service) = exchange.shared.spare() else {
            let grpc = local::wants_grpc(&head);
            return Self::ended(exchange, kept, Cause::local(Code::NotReady), grpc);
        };
        let attempt = NextAttempt::first(Box::new(service), head, body);
        let state = State::Between(Phase::Readying(attempt));
        Self { state, attempts: Attempts { spare: None, kept, exchange } }
    }

    /// Waits for a credential, and then for a service.
    #[cold]
    fn await_credential(
        exchange: Exchange<S, St, K>,
        callee: Callee<'_, S>,
        (request, kept): (Request<K::Out>, Option<K::Kept>),
        cause: Cause,
    ) -> Self {
        let Some(spare) = exchange.shared.spare() else {
            callee.put_back();
            let grpc = request.headers().get(CONTENT_TYPE);
            let grpc = local::is_grpc(grpc.map(HeaderValue::as_bytes));
            return Self::ended(exchange, kept, cause, grpc);
        };
        let (head, body) = request.into_parts();
        let attempt = NextAttempt::first(Box::new(callee.take(spare)), head, body);
        let mut attempts = Attempts { spare: None, kept, exchange };
        let state = State::Between(attempts.unsent(attempt, cause));
        Self { state, attempts }
    }

    /// Waits for the body of the request; the service that is ready is kept for it.
    ///
    /// The account is chosen when the body is there: it is not leased during an upload, and the model
    /// may stand in the body.
    #[cold]
    fn upload(
        mut exchange: Exchange<S, St, K>,
        callee: Callee<'_, S>,
        head: request::Parts,
        fill: K::Fill,
    ) -> Self {
        if let Some(cause) = exchange.certain_local_cause(&head) {
            callee.put_back();
            return Self::ended(exchange, None, cause, local::wants_grpc(&head));
        }
        let Some(spare) = exchange.shared.spare() else {
            callee.put_back();
            let grpc = local::wants_grpc(&head);
            return Self::ended(exchange, None, Cause::local(Code::NotReady), grpc);
        };
        let upload = Upload { fill, service: Box::new(callee.take(spare)), head };
        let state = State::Between(Phase::Uploading(Box::new(upload)));
        Self { state, attempts: Attempts { spare: None, kept: None, exchange } }
    }
}
