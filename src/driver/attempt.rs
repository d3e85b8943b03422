//! The attempts of one request: the parts kept for them, and the building of the next one.

use http::{Request, request};
use tokio::time::Instant;
use tower_service::Service;

use super::exchange::Exchange;
use crate::{
    answer::local,
    body::{Keep, Spare},
    classify::Cause,
    pool::ChangeWait,
    stage::{Stage, model::Rewritten},
};

/// One request, with the parts that are kept for further attempts.
///
/// The order of the fields is the order of their drop: the exchange reports last.
pub(crate) struct Attempts<S, St: Stage, K: Keep<B>, B> {
    /// The service of the last attempt, sent or not, when it was not the driver's own.
    pub(crate) spare: Option<Box<S>>,
    /// The kept body.
    pub(crate) kept: Option<K::Kept>,
    pub(crate) exchange: Exchange<S, St, K>,
}

/// An attempt that is not sent at once, with the service that it will be sent on.
pub(crate) struct NextAttempt<S, O> {
    pub(crate) service: Box<S>,
    pub(crate) head: request::Parts,
    pub(crate) body: O,
    /// Whether an attempt was made before: the deadline never forbids the first one.
    again: bool,
    /// Whether time has passed since it was decided on.
    pub(crate) waited: bool,
    /// When a credential for it was first waited for.
    waiting_since: Option<Instant>,
}

/// A request whose body is read before the first attempt, and its service.
pub(crate) struct Upload<S, Fi> {
    pub(crate) fill: Fi,
    pub(crate) service: Box<S>,
    pub(crate) head: request::Parts,
}

impl<S, O> NextAttempt<S, O> {
    /// A first attempt.
    pub(crate) fn first(service: Box<S>, head: request::Parts, body: O) -> Box<Self> {
        Box::new(Self { service, head, body, again: false, waited: false, waiting_since: None })
    }

    /// An attempt after a failed one.
    fn again(service: Box<S>, head: request::Parts, body: O) -> Box<Self> {
        Box::new(Self { service, head, body, again: true, waited: false, waiting_since: None })
    }

    /// Returns whether the deadline forbids it.
    pub(crate) fn is_late<St: Stage, K>(&self, exchange: &Exchange<S, St, K>) -> bool {
        self.again && self.waited && exchange.limits().is_late()
    }

    /// Returns whether a local answer in its place is to be gRPC.
    pub(crate) fn wants_grpc(&self) -> bool {
        local::wants_grpc(&self.head)
    }

    /// Returns the wait that may remove `cause`; `None` where waiting does not help.
    ///
    /// The service is replaced by one that was not polled ready: a permit that it holds may be
    /// needed by the call that fetches the credential.
    #[cold]
    pub(crate) fn await_credential<St: Stage, K: Spare<S>>(
        &mut self,
        exchange: &Exchange<S, St, K>,
        cause: &Cause,
    ) -> Option<ChangeWait> {
        if !cause.is_under_way() {
            return None;
        }
        let pool = exchange.shared.config.stages.chosen(&exchange.st).pool?;
        *self.service = exchange.shared.spare()?;
        Some(pool.wait_for_change(&mut self.waiting_since, exchange.limits().deadline()))
    }
}

impl<S, St, K, B> Attempts<S, St, K, B>
where
    S: Service<Request<K::Out>>,
    St: Stage,
    K: Keep<B> + Spare<S>,
{
    /// Chooses an account for `attempt`, which has waited; `last` ends the wait for a credential.
    pub(crate) fn reserve(
        &mut self,
        attempt: &mut NextAttempt<S, K::Out>,
        last: bool,
    ) -> Result<(), Cause> {
        attempt.waited = true;
        self.exchange.waited();
        let shared = self.exchange.shared.clone();
        let bytes = || shared.config.keep.bytes(self.kept.as_ref()?);
        self.exchange.reserve(&attempt.head, &bytes, last)
    }

    /// Builds the next attempt from the caller's request; `last` says that no other follows it.
    pub(crate) fn build(&mut self, last: bool) -> Option<Box<NextAttempt<S, K::Out>>> {
        let shared = self.exchange.shared.clone();
        let keep = &shared.config.keep;
        let mut head = self.exchange.rebuild(last)?;
        let bytes = || keep.bytes(self.kept.as_ref()?);
        let body = match self.exchange.rewrite(&mut head, &bytes)? {
            Rewritten::Body(bytes) => keep.edited(self.kept.as_ref()?, bytes)?,
            // A model that was not read yet may be asked for after the last attempt.
            Rewritten::SameBody if last && !self.exchange.may_read_body() => {
                keep.last(self.kept.take()?)?
            }
            Rewritten::SameBody => keep.again(self.kept.as_ref()?)?,
        };
        let service = match self.spare.take() {
            Some(service) => service,
            None => Box::new(shared.spare()?),
        };
        Some(NextAttempt::again(service, head, body))
    }
}
