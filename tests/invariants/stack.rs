//! Random stacks: any layers in any order.

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use proptest::prelude::*;
use tower::{BoxError, Layer as _, ServiceExt, util::BoxCloneService};
use tower_failover::{
    AuthShortCircuitLayer, Classifier, ErrorDedupLayer, FailoverLayer, Pool, RetryLayer,
    TokenRotationLayer, report::ReporterHandle,
};

use super::{upstream::Double, world::World};

pub(crate) type Answer = Response<BoxBody<Bytes, std::convert::Infallible>>;
pub(crate) type Svc = BoxCloneService<Request<Full<Bytes>>, Answer, BoxError>;

/// One layer of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    Dedup,
    Retry,
    Rotation(usize),
    Gate(usize),
    /// A gate without a pool, for any credential.
    Seen,
    /// All in one, with this pool, with or without a reporter.
    Fused(usize, bool),
    /// tower's own, with a policy that retries everything so many times.
    Foreign(u32),
    Buffer,
    Limit,
}

pub(crate) const FUSED: &[Layer] = &[Layer::Fused(0, true)];
pub(crate) const STACKED: &[Layer] =
    &[Layer::Dedup, Layer::Retry, Layer::Rotation(0), Layer::Gate(0)];

impl Layer {
    pub(crate) const fn is_ours(self) -> bool {
        !matches!(self, Self::Foreign(_) | Self::Buffer | Self::Limit)
    }

    /// Whether layers of ours below know the request again.
    pub(crate) const fn announces(self) -> bool {
        matches!(self, Self::Dedup | Self::Retry | Self::Rotation(_))
    }

    pub(crate) const fn rotates(self) -> Option<usize> {
        match self {
            Self::Rotation(pool) | Self::Fused(pool, _) => Some(pool),
            _ => None,
        }
    }

    pub(crate) const fn resends(self) -> bool {
        matches!(self, Self::Retry | Self::Rotation(_) | Self::Fused(..) | Self::Foreign(_))
    }

    pub(crate) const fn reports(self) -> bool {
        matches!(self, Self::Dedup | Self::Fused(_, true))
    }
}

/// What the layers of a stack are made with.
pub(crate) struct Kit<'a> {
    pub(crate) world: &'a World,
    pub(crate) pools: &'a [Pool],
    pub(crate) classifier: Classifier,
    pub(crate) reporter: ReporterHandle,
}

/// Wants everything once more.
#[derive(Clone, Debug)]
pub(crate) struct Everything {
    left: u32,
    tries: u32,
}

impl<RB, E> tower::retry::Policy<Request<Full<Bytes>>, Response<RB>, E> for Everything {
    type Future = std::future::Ready<()>;

    fn retry(
        &mut self,
        request: &mut Request<Full<Bytes>>,
        _: &mut Result<Response<RB>, E>,
    ) -> Option<Self::Future> {
        self.left = self.left.checked_sub(1)?;
        self.tries += 1;
        let tries = HeaderValue::from(self.tries);
        request.headers_mut().insert("x-foreign", tries);
        Some(std::future::ready(()))
    }

    fn clone_request(&mut self, request: &Request<Full<Bytes>>) -> Option<Request<Full<Bytes>>> {
        Some(request.clone())
    }
}

fn erase<S, B>(service: S) -> Svc
where
    S: tower::Service<Request<Full<Bytes>>, Response = Response<B>, Error = BoxError>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes, Error = std::convert::Infallible> + Send + Sync + 'static,
{
    BoxCloneService::new(service.map_response(|answer: Response<B>| answer.map(BodyExt::boxed)))
}

impl Kit<'_> {
    fn wrap(&self, layer: Layer, inner: Svc) -> Svc {
        let (plan, mode) = (&self.world.plan, self.world.mode());
        let classifier = || self.classifier.clone();
        match layer {
            Layer::Dedup => erase(
                ErrorDedupLayer::with_handle(self.reporter.clone())
                    .recovered(true)
                    .classifier(classifier())
                    .redact(&self.pools[0])
                    .layer(inner),
            ),
            Layer::Retry => erase(
                RetryLayer::new(self.world.retry().classifier(classifier()))
                    .attempts(plan.attempts)
                    .unwrap()
                    .layer(inner),
            ),
            Layer::Rotation(pool) => erase(
                TokenRotationLayer::new(self.pools[pool].clone())
                    .attempts(plan.attempts)
                    .unwrap()
                    .max_refusals(plan.max_refusals)
                    .unwrap()
                    .rotate_forbidden(plan.forbidden)
                    .classifier(classifier())
                    .auth_failure(mode)
                    .served_by(plan.served_by)
                    .layer(inner),
            ),
            Layer::Gate(pool) => erase(
                AuthShortCircuitLayer::with_pool(self.pools[pool].clone())
                    .classifier(classifier())
                    .layer(inner),
            ),
            Layer::Seen => erase(
                AuthShortCircuitLayer::new().any_credential().classifier(classifier()).layer(inner),
            ),
            Layer::Fused(pool, report) => {
                let mut builder = FailoverLayer::builder()
                    .rotation(self.pools[pool].clone())
                    .retry(self.world.retry().classifier(classifier()))
                    .classifier(classifier())
                    .attempts(plan.attempts)
                    .max_refusals(plan.max_refusals)
                    .rotate_forbidden(plan.forbidden)
                    .auth_failure(mode)
                    .served_by(plan.served_by);
                if report {
                    builder = builder.report_to(self.reporter.clone()).report_recovered(true);
                }
                erase(builder.build().unwrap().layer(inner))
            }
            Layer::Foreign(left) => {
                let policy = Everything { left, tries: 0 };
                BoxCloneService::new(tower::retry::RetryLayer::new(policy).layer(inner))
            }
            Layer::Buffer => BoxCloneService::new(tower::buffer::BufferLayer::new(64).layer(inner)),
            Layer::Limit => {
                BoxCloneService::new(tower::limit::ConcurrencyLimitLayer::new(2).layer(inner))
            }
        }
    }

    /// The layers around the upstream, outermost first.
    pub(crate) fn build(&self, layers: &[Layer], double: &Double) -> Svc {
        let inner = erase(double.clone());
        layers.iter().rev().fold(inner, |inner, layer| self.wrap(*layer, inner))
    }
}

// === strategies ===

fn one() -> impl Strategy<Value = Layer> {
    prop_oneof![
        3 => Just(Layer::Dedup),
        3 => Just(Layer::Retry),
        4 => (0..2_usize).prop_map(Layer::Rotation),
        3 => (0..2_usize).prop_map(Layer::Gate),
        1 => Just(Layer::Seen),
        3 => (0..2_usize, any::<bool>()).prop_map(|(pool, report)| Layer::Fused(pool, report)),
        2 => (1..4_u32).prop_map(Layer::Foreign),
        1 => Just(Layer::Buffer),
        1 => Just(Layer::Limit),
    ]
}

/// Any layers in any order, doubled ones too; the well-known stacks more often.
pub(crate) fn stack() -> impl Strategy<Value = Vec<Layer>> {
    let foreign = |stack: &'static [Layer]| {
        (1..4_u32).prop_map(move |tries| [&[Layer::Foreign(tries)], stack].concat())
    };
    prop_oneof![
        2 => Just(FUSED.to_vec()),
        2 => Just(STACKED.to_vec()),
        1 => foreign(FUSED),
        1 => foreign(STACKED),
        2 => Just(STACKED.to_vec()).prop_shuffle(),
        1 => Just([STACKED, STACKED].concat()).prop_shuffle(),
        1 => Just([STACKED, FUSED].concat()),
        5 => proptest::collection::vec(one(), 1..6),
    ]
}

/// A stack in which at least one layer puts credentials on.
pub(crate) fn rotating() -> impl Strategy<Value = Vec<Layer>> {
    stack().prop_map(|mut stack| {
        if stack.iter().all(|layer| layer.rotates().is_none()) {
            stack.push(Layer::Rotation(0));
        }
        stack
    })
}
