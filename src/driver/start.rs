//! How a request begins that is not simply sent.

use std::sync::Arc;

use http::{HeaderValue, Request, Response, header::CONTENT_TYPE, request};
use http_body::Body;
use tower_service::Service;

use super::{
    attempt::{NextAttempt, await_credential},
    exchange::Exchange,
    future::{ResponseFuture, State},
    service::{Readiness, Shared},
};
use crate::{
    answer::local,
    body::{Keep, Spare},
    classify::Cause,
    stage::Stage,
};

impl<S, St, K, B, RB> ResponseFuture<S, St, K, B, RB>
where
    S: Service<Request<K::Out>, Response = Response<RB>>,
    St: Stage,
    K: Keep<B> + Spare<S>,
    RB: Body,
{
    /// The answer to a request of which nothing is kept, because it is not going to be sent.
    #[cold]
    pub(crate) fn answer_locally(
        shared: &Arc<Shared<S, St, K>>,
        head: &request::Parts,
    ) -> Option<Self> {
        let mut exchange = Exchange::begin(shared, head, true);
        let cause = exchange.reserve(head, &|| None, false).err()?;
        if cause.is_under_way() {
            return None;
        }
        let state = State::Local(cause, local::wants_grpc(head));
        Some(Self { state, next_attempt: None, kept: None, exchange })
    }

    /// The credential comes first, and then a service.
    #[cold]
    pub(crate) fn renew(
        exchange: Exchange<S, St, K>,
        inner: &mut S,
        (readied, ready): (Readiness, &mut Readiness),
        (request, kept): (Request<K::Out>, Option<K::Kept>),
        cause: Cause,
    ) -> Self {
        let grpc = request.headers().get(CONTENT_TYPE);
        let grpc = local::is_grpc(grpc.map(HeaderValue::as_bytes));
        let mut next_attempt = exchange.shared.spare().map(|spare| {
            let service = match readied {
                Readiness::Inner | Readiness::Unasked => std::mem::replace(inner, spare),
                Readiness::Nobody => spare,
            };
            NextAttempt::new(service, request)
        });
        if next_attempt.is_none() {
            readied.keep(ready);
        }
        let state = match await_credential(&exchange, next_attempt.as_mut(), &cause) {
            Some(news) => State::Renewing(news),
            None => State::Local(cause, grpc),
        };
        Self { state, next_attempt, kept, exchange }
    }

    /// The body comes first; the service that is ready is kept for it. What the attempt will use is
    /// chosen when the body is there: nobody holds an account for somebody's upload, and the model
    /// may stand in the body.
    #[cold]
    pub(crate) fn fill(
        mut exchange: Exchange<S, St, K>,
        inner: &mut S,
        (readied, ready): (Readiness, &mut Readiness),
        head: request::Parts,
        fill: K::Fill,
    ) -> Self {
        let refused = exchange.certain_local_cause(&head);
        let spare = exchange.shared.spare();
        let (state, next_attempt) = match (refused, spare) {
            (Some(cause), _) => {
                readied.keep(ready);
                (State::Local(cause, local::wants_grpc(&head)), None)
            }
            (None, Some(spare)) => {
                let service = match readied {
                    // It is this one that was polled ready, and not its clone.
                    Readiness::Inner | Readiness::Unasked => std::mem::replace(inner, spare),
                    Readiness::Nobody => spare,
                };
                (State::Filling(Box::new(fill)), Some(NextAttempt::awaiting(service, head)))
            }
            (None, None) => (State::Done, None),
        };
        Self { state, next_attempt, kept: None, exchange }
    }
}
