//! Random stacks: any layers in any order.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use proptest::prelude::*;
use tower::{BoxError, Layer as _, ServiceExt, util::BoxCloneService};
use tower_failover::{
    AuthShortCircuitLayer, Classifier, ErrorDedupLayer, FailoverLayer, ModelFallbackLayer, Pool,
    RetryLayer, TokenRotationLayer,
    body::{BufferedAs, Cloned, TryCloned},
    report::ReporterHandle,
};

use super::{
    request_body::TestBody,
    upstream::TestUpstream,
    world::{BodyStrategy, World},
};

pub(crate) type Erased = BoxBody<Bytes, std::convert::Infallible>;
pub(crate) type Answer = Response<Erased>;
pub(crate) type TestService = BoxCloneService<Request<TestBody>, Answer, BoxError>;

/// One layer of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    Dedup,
    /// Model fallback, with the first pool.
    Fallback,
    Retry,
    Rotation(usize),
    Gate(usize),
    /// A gate without a pool, for any credential.
    GateWithoutPool,
    /// The fused layer over this pool, with or without a reporter.
    Fused(usize, bool),
    /// tower's retry layer with a policy that retries everything this often.
    Foreign(u32),
    Buffer,
    Limit,
    /// Removes a header and adds another one.
    Strip,
    /// A foreign layer that rebuilds the request without its extensions.
    Hide,
}

pub(crate) const FUSED: &[Layer] = &[Layer::Fused(0, true)];
pub(crate) const STACKED: &[Layer] =
    &[Layer::Dedup, Layer::Fallback, Layer::Retry, Layer::Rotation(0), Layer::Gate(0)];

impl Layer {
    pub(crate) const fn is_ours(self) -> bool {
        !matches!(self, Self::Foreign(_) | Self::Buffer | Self::Limit | Self::Strip | Self::Hide)
    }

    /// Returns whether layers of this crate below recognise the request.
    pub(crate) const fn announces(self) -> bool {
        matches!(self, Self::Dedup) || self.resends()
    }

    /// Returns whether it is a layer of this crate that may resend a request.
    pub(crate) const fn resends(self) -> bool {
        matches!(self, Self::Fallback | Self::Retry | Self::Rotation(_) | Self::Fused(..))
    }

    pub(crate) const fn rotates(self) -> Option<usize> {
        match self {
            Self::Rotation(pool) | Self::Fused(pool, _) => Some(pool),
            _ => None,
        }
    }

    pub(crate) const fn reports(self) -> bool {
        matches!(self, Self::Dedup | Self::Fused(_, true))
    }
}

/// The parts that the layers of a stack share.
pub(crate) struct Parts<'a> {
    pub(crate) world: &'a World,
    pub(crate) pools: &'a [Pool],
    pub(crate) classifier: Classifier,
    pub(crate) reporter: ReporterHandle,
}

/// Numbers the tries of all foreign layers.
static TRIES: AtomicU32 = AtomicU32::new(1);

/// A retry policy that repeats everything.
#[derive(Clone, Debug)]
pub(crate) struct RetryEverything {
    left: u32,
}

impl RetryEverything {
    pub(crate) const fn times(left: u32) -> Self {
        Self { left }
    }
}

/// Boxes the service of any layer.
pub(crate) struct Erase<L>(pub(crate) L);

impl<S, L, B> tower::Layer<S> for Erase<L>
where
    L: tower::Layer<S>,
    L::Service: tower::Service<Request<TestBody>, Response = Response<B>, Error = BoxError>
        + Clone
        + Send
        + 'static,
    <L::Service as tower::Service<Request<TestBody>>>::Future: Send + 'static,
    B: http_body::Body<Data = Bytes, Error = std::convert::Infallible> + Send + Sync + 'static,
{
    type Service = TestService;

    fn layer(&self, inner: S) -> TestService {
        erase(self.0.layer(inner))
    }
}

impl<Q: TryClone, RB, E> tower::retry::Policy<Request<Q>, Response<RB>, E> for RetryEverything {
    type Future = std::future::Ready<()>;

    fn retry(
        &mut self,
        request: &mut Request<Q>,
        _: &mut Result<Response<RB>, E>,
    ) -> Option<Self::Future> {
        self.left = self.left.checked_sub(1)?;
        // The number is unique over all layers.
        let tries = TRIES.fetch_add(1, Ordering::Relaxed);
        request.headers_mut().insert("x-foreign", HeaderValue::from(tries));
        Some(std::future::ready(()))
    }

    fn clone_request(&mut self, request: &Request<Q>) -> Option<Request<Q>> {
        clone_of(request)
    }
}

pub(crate) fn clone_of<Q: TryClone>(request: &Request<Q>) -> Option<Request<Q>> {
    let mut clone = Request::new(request.body().try_clone()?);
    clone.method_mut().clone_from(request.method());
    clone.uri_mut().clone_from(request.uri());
    clone.headers_mut().clone_from(request.headers());
    clone.extensions_mut().clone_from(request.extensions());
    Some(clone)
}

/// A body that may have a clone.
pub(crate) trait TryClone: Sized {
    fn try_clone(&self) -> Option<Self>;
}

impl TryClone for TestBody {
    fn try_clone(&self) -> Option<Self> {
        Self::try_clone(self)
    }
}

impl TryClone for Full<Bytes> {
    fn try_clone(&self) -> Option<Self> {
        Some(self.clone())
    }
}

pub(crate) fn erase<S, B>(service: S) -> TestService
where
    S: tower::Service<Request<TestBody>, Response = Response<B>, Error = BoxError>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes, Error = std::convert::Infallible> + Send + Sync + 'static,
{
    BoxCloneService::new(service.map_response(|answer: Response<B>| answer.map(BodyExt::boxed)))
}

/// The position of a layer and its body strategy.
#[derive(Clone, Copy)]
struct LayerPlace {
    at: usize,
    several: bool,
    keep: BodyStrategy,
    /// An outer layer sends bodies that have no clone.
    replayed: bool,
}

/// Adds the layer with the body strategy of its place.
macro_rules! with_strategy {
    ($layer:expr, $place:expr, $inner:expr) => {
        match $place.keep {
            BodyStrategy::Buffered(cap) => {
                erase($layer.body_strategy(BufferedAs::new(cap, TestBody::replayed)).layer($inner))
            }
            _ if $place.replayed => {
                let own = TryCloned::new(TestBody::try_clone).made_of(TestBody::from);
                erase($layer.body_strategy(own).layer($inner))
            }
            BodyStrategy::Usual => erase($layer.layer($inner)),
            BodyStrategy::Cloned => erase($layer.body_strategy(Cloned).layer($inner)),
        }
    };
}

impl Parts<'_> {
    #[allow(clippy::too_many_lines)] // One arm for each layer.
    fn wrap(&self, layer: Layer, place: LayerPlace, inner: TestService) -> TestService {
        let (plan, mode) = (&self.world.plan, self.world.mode());
        let limit = plan.limits[place.at % 3];
        let deadline = Duration::from_millis(plan.deadlines[place.at % 3]);
        let retry = || self.world.retry().classifier(self.classifier.clone());
        let classifier = || self.classifier.clone();
        match layer {
            Layer::Dedup => erase(
                ErrorDedupLayer::new(self.reporter.clone())
                    .report_recovered(true)
                    .classifier(classifier())
                    .redact(&self.pools[0])
                    .layer(inner),
            ),
            Layer::Fallback => {
                let layer = ModelFallbackLayer::new(self.world.chain())
                    .model_at(self.world.at().place())
                    .pool(self.pools[0].clone())
                    .classifier(classifier())
                    .attempts(crate::support::limit(limit))
                    .deadline(deadline)
                    .auth_failure(mode)
                    .served_by(plan.served_by);
                with_strategy!(layer, place, inner)
            }
            Layer::Retry => {
                // As in the builder of the fused layer.
                let beside = self.world.models.is_some() && plan.overloaded.is_none();
                let policy = if beside { retry().overloaded(false) } else { retry() };
                let layer = RetryLayer::new(policy)
                    .attempts(crate::support::limit(limit))
                    .deadline(deadline);
                with_strategy!(layer, place, inner)
            }
            Layer::Rotation(pool) => {
                let layer = TokenRotationLayer::new(self.pools[pool].clone())
                    .attempts(crate::support::limit(limit))
                    .deadline(deadline)
                    .max_refusals(crate::support::limit(plan.max_refusals))
                    .rotate_forbidden(plan.forbidden)
                    .classifier(classifier())
                    .auth_failure(mode)
                    .served_by(plan.served_by);
                with_strategy!(layer, place, inner)
            }
            Layer::Gate(pool) => erase(
                AuthShortCircuitLayer::with_pool(self.pools[pool].clone())
                    .classifier(classifier())
                    .layer(inner),
            ),
            Layer::GateWithoutPool => erase(
                AuthShortCircuitLayer::new().any_credential().classifier(classifier()).layer(inner),
            ),
            Layer::Fused(pool, report) => {
                let mut builder = FailoverLayer::builder()
                    .rotation(self.pools[pool].clone())
                    .retry(retry())
                    .classifier(classifier())
                    .attempts(crate::support::limit(limit))
                    .deadline(deadline)
                    .max_refusals(crate::support::limit(plan.max_refusals))
                    .rotate_forbidden(plan.forbidden)
                    .auth_failure(mode)
                    .served_by(plan.served_by);
                if report {
                    builder = builder.reporter(self.reporter.clone()).report_recovered(true);
                }
                if self.world.models.is_some() {
                    builder = builder.models(self.world.chain()).model_at(self.world.at().place());
                }
                if place.several {
                    builder = builder.outermost_of_several();
                }
                let layer = builder.build().unwrap();
                with_strategy!(layer, place, inner)
            }
            Layer::Foreign(left) => {
                let policy = RetryEverything { left };
                BoxCloneService::new(tower::retry::RetryLayer::new(policy).layer(inner))
            }
            Layer::Strip => {
                BoxCloneService::new(inner.map_request(|mut request: Request<TestBody>| {
                    request.headers_mut().remove("x-strip");
                    request.headers_mut().append("x-added", HeaderValue::from_static("1"));
                    request
                }))
            }
            Layer::Hide => {
                BoxCloneService::new(inner.map_request(|mut request: Request<TestBody>| {
                    request.extensions_mut().clear();
                    request
                }))
            }
            Layer::Buffer => BoxCloneService::new(tower::buffer::BufferLayer::new(64).layer(inner)),
            Layer::Limit => {
                BoxCloneService::new(tower::limit::ConcurrencyLimitLayer::new(2).layer(inner))
            }
        }
    }

    /// Builds the layers around the upstream, outermost first.
    pub(crate) fn build(&self, layers: &[Layer], upstream: &TestUpstream) -> TestService {
        self.around(layers, erase(upstream.clone()))
    }

    /// Builds the layers around any service, outermost first.
    pub(crate) fn around(&self, layers: &[Layer], inner: TestService) -> TestService {
        let body_strategies: Vec<_> =
            (0..layers.len()).map(|at| self.world.plan.body_strategies[at % 3]).collect();
        let buffers = |at: usize| {
            layers[at].resends() && matches!(body_strategies[at], BodyStrategy::Buffered(_))
        };
        let mut several = false;
        layers.iter().enumerate().rev().fold(inner, |inner, (at, layer)| {
            let replayed = (0..at).any(buffers);
            let wrapped = self.wrap(
                *layer,
                LayerPlace { at, several, keep: body_strategies[at], replayed },
                inner,
            );
            several |= layer.is_ours();
            wrapped
        })
    }
}

// === strategies ===

fn one() -> impl Strategy<Value = Layer> {
    prop_oneof![
        3 => Just(Layer::Dedup),
        3 => Just(Layer::Fallback),
        3 => Just(Layer::Retry),
        4 => (0..2_usize).prop_map(Layer::Rotation),
        3 => (0..2_usize).prop_map(Layer::Gate),
        1 => Just(Layer::GateWithoutPool),
        3 => (0..2_usize, any::<bool>()).prop_map(|(pool, report)| Layer::Fused(pool, report)),
        2 => (1..4_u32).prop_map(Layer::Foreign),
        1 => Just(Layer::Buffer),
        1 => Just(Layer::Limit),
        1 => Just(Layer::Strip),
    ]
}

/// Generates any layers in any order, duplicates included; the documented stacks more often.
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
        1 => (1..4_u32).prop_map(|tries| {
            vec![Layer::Rotation(0), Layer::Foreign(tries), Layer::Gate(0)]
        }),
        1 => (1..4_u32).prop_map(|tries| {
            vec![Layer::Dedup, Layer::Foreign(tries), Layer::Fallback, Layer::Retry, Layer::Rotation(0)]
        }),
        5 => proptest::collection::vec(one(), 1..6),
    ]
}

/// Generates a stack in which at least one layer sets credentials.
pub(crate) fn rotating() -> impl Strategy<Value = Vec<Layer>> {
    stack().prop_map(|mut stack| {
        if stack.iter().all(|layer| layer.rotates().is_none()) {
            stack.push(Layer::Rotation(0));
        }
        stack
    })
}

/// Returns the same stack with all layers over the first pool.
pub(crate) fn of_one_pool(mut stack: Vec<Layer>) -> Vec<Layer> {
    for layer in &mut stack {
        match layer {
            Layer::Rotation(pool) | Layer::Gate(pool) | Layer::Fused(pool, _) => *pool = 0,
            _ => {}
        }
    }
    stack
}

/// The guarantees of a stack, by the positions of its layers.
pub(crate) struct Promises<'a>(pub(crate) &'a [Layer]);

impl Promises<'_> {
    fn first(&self, is: impl Fn(&Layer) -> bool) -> usize {
        self.0.iter().position(is).unwrap_or(self.0.len())
    }

    fn last_rotation(&self) -> Option<usize> {
        self.0.iter().rposition(|layer| layer.rotates().is_some())
    }

    /// Returns whether the layers below a foreign layer see its tries as separate requests.
    pub(crate) fn tries_are_requests(&self) -> bool {
        let root = self.first(|layer| layer.announces());
        self.0[..root].iter().any(|layer| matches!(layer, Layer::Foreign(_)))
    }

    pub(crate) fn foreign(&self) -> bool {
        self.0.iter().any(|layer| matches!(layer, Layer::Foreign(_)))
    }

    /// Returns whether every layer matched by `is` has a rotation or a gate for its credential
    /// below it.
    fn guarded(&self, seen: bool, is: impl Fn(&Layer) -> bool) -> bool {
        let rotation = self.last_rotation();
        let pool = rotation.and_then(|at| self.0[at].rotates());
        self.0.iter().enumerate().filter(|(_, layer)| is(layer)).all(|(at, _)| {
            rotation.is_some_and(|rotation| rotation > at)
                || self.0[at..].iter().any(|below| match below {
                    Layer::GateWithoutPool => seen,
                    Layer::Gate(gate) => Some(*gate) == pool,
                    _ => false,
                })
        })
    }

    /// A gate between two rotations of its pool rejects a credential that the inner rotation would
    /// have replaced; a gate belongs below the innermost rotation.
    pub(crate) fn has_gate_between_rotations(&self) -> bool {
        self.0.iter().enumerate().any(|(at, layer)| {
            let Layer::Gate(pool) = *layer else { return false };
            let rotates = |layer: &Layer| layer.rotates() == Some(pool);
            self.0[..at].iter().any(rotates) && self.0[at..].iter().any(rotates)
        })
    }

    /// Returns whether I1 holds for credentials of the pools; a gate without a pool covers only
    /// those in headers.
    pub(crate) fn no_retry_on_401(&self, header: bool) -> bool {
        self.guarded(header, |layer| matches!(layer, Layer::Foreign(_)))
    }

    /// Returns whether I1 holds across requests as well: no layer queues between selection and
    /// sending. A gate without a pool keeps its own times.
    pub(crate) fn no_start_in_quarantine(&self) -> bool {
        self.guarded(false, |layer| {
            matches!(layer, Layer::Foreign(_) | Layer::Buffer | Layer::Retry | Layer::Fallback)
        })
    }

    /// Returns whether I1 holds for the callers' own credentials.
    pub(crate) fn covers_own(&self) -> bool {
        let seen = self.0.iter().rposition(|layer| *layer == Layer::GateWithoutPool);
        self.0.iter().enumerate().all(|(at, layer)| {
            !matches!(layer, Layer::Foreign(_)) || seen.is_some_and(|seen| seen > at)
        })
    }

    /// Returns whether I2 holds: a reporting layer is outside of all layers that resend, and below
    /// each foreign one is a layer that writes the trail.
    pub(crate) fn exactly_once(&self) -> bool {
        let reporter = self.first(|layer| layer.reports());
        let foreign = self.0.iter().rposition(|layer| matches!(layer, Layer::Foreign(_)));
        reporter < self.0.len()
            && self.0[..reporter]
                .iter()
                .all(|layer| matches!(layer, Layer::Buffer | Layer::Limit | Layer::Strip))
            && foreign.is_none_or(|at| self.0[at..].iter().any(|layer| layer.is_ours()))
    }
}
