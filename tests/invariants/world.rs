//! Random worlds: accounts, scripts of the upstream, requests, settings.

use std::{sync::atomic::AtomicUsize, time::Duration};

use http::{HeaderName, HeaderValue, Uri};
use proptest::prelude::*;
use tower_failover::{
    Account, Credential, ModelChain, Pool, Reason, RequestOptions, RetryPolicy, Verdict,
    credential::{CredentialError, Expires},
    fallback::ModelAt,
    pool::{Cascade, OwnCredential, Selection},
    retry::{Backoff, Jitter, TokenBucket},
    short_circuit::AuthFailureMode,
};

use super::{
    request_body::{self, Shape},
    script::{self, Play, Step},
    sources::{self, Scripted, SourcePlan},
    support::Recorder,
    upstream::{Behaviour, TestUpstream, tokens},
};

/// The place of an account's credential in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CredentialPlace {
    Bearer,
    Header,
    Query,
    Basic,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct AccountPlan {
    pub(crate) behaviour: Behaviour,
    pub(crate) place: CredentialPlace,
    pub(crate) group: Option<u8>,
    pub(crate) priority: i32,
    pub(crate) weight: u32,
    pub(crate) fixed: bool,
    pub(crate) base: bool,
    /// The models that the account serves, one bit each.
    pub(crate) models: Option<u8>,
    /// The source of its tokens.
    pub(crate) source: Option<SourcePlan>,
    /// Milliseconds until its first token expires.
    pub(crate) end: Option<u64>,
}

/// The place of the model name in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ModelPlace {
    Json,
    Query,
    Header,
}

/// The body strategy of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyStrategy {
    /// The default strategy.
    Usual,
    Cloned,
    Buffered(usize),
}

/// The fallback chain of a world.
#[derive(Clone, Debug)]
pub(crate) struct ChainPlan {
    pub(crate) at: ModelPlace,
    /// A list instead of the map.
    pub(crate) list: Option<Vec<u8>>,
    pub(crate) map: Vec<(u8, Vec<u8>)>,
    pub(crate) otherwise: Vec<u8>,
    pub(crate) too_long: Option<Vec<u8>>,
    pub(crate) forbidden: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pin {
    None,
    Strict(usize),
    Prefer(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct RequestPlan {
    pub(crate) post: bool,
    pub(crate) keyed: bool,
    pub(crate) own: bool,
    pub(crate) grpc: bool,
    pub(crate) pin: Pin,
    pub(crate) sticky: bool,
    pub(crate) model: Option<u8>,
    /// The model that the request itself names.
    pub(crate) named: Option<u8>,
    pub(crate) at: ModelPlace,
    pub(crate) shape: Shape,
    /// The request has a content-length and a digest.
    pub(crate) length: bool,
    pub(crate) no_fallback: bool,
    pub(crate) no_retry: bool,
    pub(crate) repeatable: bool,
    pub(crate) attempts: Option<u32>,
    pub(crate) deadline: Option<u64>,
    pub(crate) script: Vec<Step>,
    /// The request starts this many milliseconds after its round.
    pub(crate) after: u64,
    /// It is dropped after this many polls.
    pub(crate) polls: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Replace,
    Revive,
    Retire,
    CoolDown(u64),
    CoolDownModel(u64, u8),
    Invalidate,
}

/// Concurrent requests with changes of the pool between them, followed by a pause.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) requests: Vec<RequestPlan>,
    pub(crate) changes: Vec<(u64, usize, Change)>,
    pub(crate) gap: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) attempts: u32,
    /// The attempt limit of each layer, by its position in the stack.
    pub(crate) limits: [u32; 3],
    pub(crate) deadlines: [u64; 3],
    pub(crate) body_strategies: [BodyStrategy; 3],
    pub(crate) retries: u32,
    pub(crate) max_refusals: u32,
    pub(crate) bucket: Option<u32>,
    pub(crate) overloaded: Option<bool>,
    pub(crate) forbidden: bool,
    pub(crate) replace: bool,
    pub(crate) served_by: bool,
    pub(crate) cascade: Cascade,
    pub(crate) own: OwnCredential,
    pub(crate) selection: Selection,
    /// The refresh deadline and the longest wait of a request for a source, in milliseconds.
    pub(crate) refresh_deadline: u64,
    pub(crate) ready_within: u64,
    /// The seed of the random numbers.
    pub(crate) seed: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    /// The accounts of two pools.
    pub(crate) pools: [Vec<AccountPlan>; 2],
    pub(crate) plan: Plan,
    pub(crate) models: Option<ChainPlan>,
    pub(crate) opinions: Vec<Option<Verdict>>,
    pub(crate) rounds: Vec<Round>,
}

/// All model names.
pub(crate) const MODELS: [&str; 5] = ["m0", "m1-with-a-longer-name", "m2", "m", "m-4"];

pub(crate) fn model_of(model: u8) -> &'static str {
    MODELS[usize::from(model)]
}

impl ModelPlace {
    pub(crate) fn place(self) -> ModelAt {
        match self {
            Self::Json => ModelAt::default(),
            Self::Query => ModelAt::query("model"),
            Self::Header => ModelAt::header(HeaderName::from_static("x-model")),
        }
    }
}

impl ChainPlan {
    fn chain(&self) -> ModelChain {
        let names = |models: &[u8]| models.iter().map(|model| model_of(*model)).collect::<Vec<_>>();
        let chain = match &self.list {
            Some(list) => ModelChain::list(names(list)),
            None => {
                ModelChain::map(self.map.iter().map(|(own, list)| (model_of(*own), names(list))))
            }
        };
        let mut chain = chain.unwrap().otherwise(names(&self.otherwise)).unwrap();
        if let Some(list) = &self.too_long {
            chain = chain.when_too_long(names(list)).unwrap();
        }
        if let Some(list) = &self.forbidden {
            chain = chain.when_forbidden(names(list)).unwrap();
        }
        chain
    }
}

pub(crate) fn id_of(pool: usize, account: usize) -> String {
    format!("p{pool}a{account}")
}

pub(crate) fn token_of(pool: usize, account: usize, generation: u64) -> String {
    format!("tok-{}g{generation}-{}", id_of(pool, account), "s3cr3t/t0ken+0f")
}

impl AccountPlan {
    pub(crate) fn credential(&self, pool: usize, account: usize, generation: u64) -> Credential {
        self.place.credential(&token_of(pool, account, generation)).unwrap()
    }

    /// Returns the lifetime of the first token, if it is loaded and known.
    pub(crate) fn first_end(&self) -> Option<Duration> {
        let loaded = self.source.is_none_or(|source| source.loaded);
        self.end.filter(|_| loaded).map(Duration::from_millis)
    }

    fn account(&self, pool: usize, at: usize, upstream: &TestUpstream) -> Account {
        let id = id_of(pool, at);
        let mut account = match self.source {
            Some(plan) => {
                let (upstream, calls) = (upstream.clone(), AtomicUsize::new(0));
                let group = self.group;
                let source = Scripted { pool, account: at, group, plan, upstream, calls };
                let place = self.place;
                let account = if plan.loaded {
                    Account::new(id.clone(), self.credential(pool, at, 1)).source(source)
                } else {
                    Account::from_source(id.clone(), source)
                };
                account.credential_from(move |token| place.credential(token))
            }
            None => Account::new(id.clone(), self.credential(pool, at, 1)),
        };
        if let Some(end) = self.first_end() {
            account = account.expires(Expires::In(end));
        }
        account = account.priority(self.priority).weight(self.weight);
        if let Some(group) = self.group {
            account = account.group(format!("g{group}"));
        }
        if self.fixed {
            let name = HeaderName::try_from(format!("x-org-{}", at % 2)).unwrap();
            account = account.header(name, HeaderValue::try_from(format!("org-{id}")).unwrap());
        }
        if let Some(models) = self.models {
            account = account.models(
                MODELS
                    .iter()
                    .enumerate()
                    .filter(|(i, _)| models >> i & 1 == 1)
                    .map(|(_, model)| *model),
            );
        }
        if self.base {
            let uri = format!("https://{id}.example.net");
            account = account.base_uri(uri.parse::<Uri>().unwrap());
        }
        account
    }
}

impl CredentialPlace {
    fn credential(self, token: &str) -> Result<Credential, CredentialError> {
        match self {
            Self::Bearer => Credential::bearer(token),
            Self::Header => Credential::header(HeaderName::from_static("x-api-key"), token),
            Self::Query => Credential::query("key", token),
            Self::Basic => Credential::basic("user", token),
        }
    }
}

impl World {
    /// Returns whether any token comes from a source or expires.
    pub(crate) fn tokens_change(&self) -> bool {
        self.pools.iter().flatten().any(|plan| plan.source.is_some() || plan.end.is_some())
    }

    pub(crate) fn pools(&self, recorder: &Recorder, upstream: &TestUpstream) -> Vec<Pool> {
        let pool = |(at, plans): (usize, &Vec<AccountPlan>)| {
            let accounts = plans.iter().enumerate().map(|(i, plan)| plan.account(at, i, upstream));
            let upstream = upstream.clone();
            let mut builder = Pool::builder();
            if self.tokens_change() {
                builder = builder.validate(move |_, token| {
                    for credential in tokens(token) {
                        upstream.received(credential);
                    }
                    Ok(())
                });
            }
            builder
                .accounts(accounts)
                .any_origin()
                .cascade(self.plan.cascade)
                .own_credential(self.plan.own)
                .selection(self.plan.selection)
                .refresh_deadline(Duration::from_millis(self.plan.refresh_deadline))
                .ready_within(Duration::from_millis(self.plan.ready_within))
                .reporter(recorder.clone())
                .build()
                .unwrap()
        };
        self.pools.iter().enumerate().map(pool).collect()
    }

    pub(crate) fn mode(&self) -> AuthFailureMode {
        if self.plan.replace { AuthFailureMode::Replace } else { AuthFailureMode::Passthrough }
    }

    pub(crate) fn chain(&self) -> ModelChain {
        self.models.as_ref().map(ChainPlan::chain).unwrap_or_default()
    }

    pub(crate) fn at(&self) -> ModelPlace {
        self.models.as_ref().map_or(ModelPlace::Json, |models| models.at)
    }

    pub(crate) fn retry(&self) -> RetryPolicy {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5)).unwrap();
        let mut policy =
            RetryPolicy::new().retries(self.plan.retries).backoff(backoff.jitter(Jitter::NONE));
        if let Some(retry) = self.plan.overloaded {
            policy = policy.overloaded(retry);
        }
        match self.plan.bucket {
            Some(tokens) => policy.budget(TokenBucket::new(tokens)),
            None => policy.budget(tower_failover::retry::Unlimited),
        }
    }

    /// Returns all requests, ordered by number.
    pub(crate) fn requests(&self) -> Vec<&RequestPlan> {
        self.rounds.iter().flat_map(|round| &round.requests).collect()
    }
}

impl Change {
    pub(crate) fn make(self, pool: &Pool, plan: &AccountPlan, at: usize) {
        let id = id_of(0, at);
        match self {
            Self::Replace => {
                let next = pool.view().accounts[at].generation + 1;
                pool.replace(&id, plan.credential(0, at, next)).unwrap();
            }
            Self::Revive => {
                pool.revive(&id);
            }
            Self::Retire => {
                pool.retire(&id);
            }
            Self::CoolDown(time) => {
                pool.cool_down(&id, None, Duration::from_millis(time));
            }
            Self::CoolDownModel(time, model) => {
                pool.cool_down(&id, Some(model_of(model)), Duration::from_millis(time));
            }
            Self::Invalidate => {
                pool.invalidate(&id, Reason::Invalid);
            }
        }
    }
}

impl RequestPlan {
    pub(crate) fn options(&self) -> RequestOptions {
        let mut options = RequestOptions::new();
        options = match self.pin {
            Pin::None => options,
            Pin::Strict(at) => options.pin(id_of(0, at)),
            Pin::Prefer(at) => options.prefer(id_of(0, at)),
        };
        if self.sticky {
            options = options.sticky("job-7");
        }
        if let Some(model) = self.model {
            options = options.model(model_of(model));
        }
        if self.no_fallback {
            options = options.no_fallback();
        }
        if self.no_retry {
            options = options.no_retry();
        }
        if self.repeatable {
            options = options.repeatable();
        }
        if let Some(attempts) = self.attempts {
            options = options.attempts(crate::support::limit(attempts));
        }
        if let Some(deadline) = self.deadline {
            options = options.deadline(Duration::from_millis(deadline));
        }
        options
    }

    /// Returns whether the request may be repeated without harm.
    pub(crate) fn harmless(&self) -> bool {
        !self.post || self.keyed || self.repeatable
    }
}

// === strategies ===

fn behaviour() -> impl Strategy<Value = Behaviour> {
    let rejected =
        (script::rejection(), script::millis(), 1..3_u64).prop_map(|(play, after, generations)| {
            Behaviour::Always { step: Step { play, after, retry_after: None }, generations }
        });
    let limited = (proptest::sample::select(vec![429, 402]), script::retry_after()).prop_map(
        |(status, retry_after)| Behaviour::Always {
            step: Step { play: Play::Status(status), after: 0, retry_after },
            generations: 9,
        },
    );
    let first = (script::step(), 1..3_usize)
        .prop_map(|(step, attempts)| Behaviour::First { step, attempts });
    prop_oneof![4 => Just(Behaviour::Fine), 4 => rejected, 2 => limited, 2 => first]
}

fn account() -> impl Strategy<Value = AccountPlan> {
    let place = proptest::sample::select(vec![
        CredentialPlace::Bearer,
        CredentialPlace::Bearer,
        CredentialPlace::Bearer,
        CredentialPlace::Header,
        CredentialPlace::Query,
        CredentialPlace::Basic,
    ]);
    let group = proptest::sample::select(vec![None, None, Some(0), Some(1)]);
    let one_in_five = || proptest::bool::weighted(0.2);
    let models = prop_oneof![5 => Just(None), 1 => (1..32_u8).prop_map(Some)];
    let source = (proptest::option::weighted(0.6, sources::source()), sources::end());
    (behaviour(), place, group, 0..2_i32, 0..3_u32, one_in_five(), one_in_five(), (models, source))
        .prop_map(
            |(behaviour, place, group, priority, weight, fixed, base, (models, (source, end)))| {
                AccountPlan {
                    behaviour,
                    place,
                    group,
                    priority: priority * i32::from(weight == 2),
                    weight,
                    fixed,
                    base,
                    models,
                    source,
                    end,
                }
            },
        )
}

pub(crate) fn rarely() -> impl Strategy<Value = bool> {
    proptest::bool::weighted(0.12)
}

pub(crate) fn request() -> impl Strategy<Value = RequestPlan> {
    let pin = prop_oneof![
        10 => Just(Pin::None),
        2 => (0..6_usize).prop_map(Pin::Strict),
        2 => (0..6_usize).prop_map(Pin::Prefer),
    ];
    let model = proptest::sample::select(vec![None, None, None, Some(0), Some(1)]);
    let attempts = proptest::sample::select(vec![None, None, None, Some(1), Some(2), Some(3)]);
    let deadline =
        proptest::sample::select(vec![None, None, None, None, Some(0), Some(200), Some(3_000)]);
    let polls = prop_oneof![4 => Just(None), 1 => (0..8_u32).prop_map(Some)];
    let flags =
        (any::<bool>(), rarely(), rarely(), rarely(), rarely(), rarely(), rarely(), rarely());
    let named = (
        prop_oneof![1 => Just(None), 3 => (0..5_u8).prop_map(Some)],
        request_body::shape(),
        any::<bool>(),
    );
    let steps = proptest::collection::vec(script::step(), 0..5);
    (flags, pin, (model, named), attempts, deadline, steps, script::millis(), polls).prop_map(
        |(
            flags,
            pin,
            (model, (named, shape, length)),
            attempts,
            deadline,
            script,
            after,
            polls,
        )| RequestPlan {
            post: flags.0,
            keyed: flags.1,
            own: flags.2,
            grpc: flags.3,
            sticky: flags.4,
            no_retry: flags.5,
            repeatable: flags.6,
            no_fallback: flags.7,
            pin,
            // The options name the same model as the request.
            model: if named.is_some() && model.is_some() { named } else { model },
            named,
            at: ModelPlace::Json,
            shape,
            length,
            attempts,
            deadline,
            script,
            after,
            polls,
        },
    )
}

fn change() -> impl Strategy<Value = (u64, usize, Change)> {
    let change = prop_oneof![
        3 => Just(Change::Replace),
        1 => Just(Change::Revive),
        1 => Just(Change::Retire),
        1 => proptest::sample::select(vec![0, 1, 500, 10_000, 90_000_000]).prop_map(Change::CoolDown),
        1 => (proptest::sample::select(vec![500, 10_000, 90_000_000]), 0..5_u8)
            .prop_map(|(time, model)| Change::CoolDownModel(time, model)),
        1 => Just(Change::Invalidate),
    ];
    (script::millis(), 0..5_usize, change)
}

fn round() -> impl Strategy<Value = Round> {
    let changes = prop_oneof![
        3 => Just(Vec::new()),
        1 => proptest::collection::vec(change(), 1..3),
    ];
    let gap = proptest::sample::select(vec![0, 0, 1, 900, 5_000, 6_000, 300_000, 4_000_000]);
    (proptest::collection::vec(request(), 1..4), changes, gap)
        .prop_map(|(requests, changes, gap)| Round { requests, changes, gap })
}

fn selection() -> impl Strategy<Value = Selection> {
    proptest::sample::select(vec![
        Selection::RoundRobin,
        Selection::RoundRobin,
        Selection::FillFirst,
        Selection::LeastInFlight,
        Selection::Weighted,
        Selection::MostRemaining,
    ])
}

fn plan() -> impl Strategy<Value = Plan> {
    let bucket = proptest::sample::select(vec![None, None, Some(500), Some(10), Some(0)]);
    let cascade = proptest::sample::select(vec![Cascade::SameGroup, Cascade::All, Cascade::Never]);
    let own = proptest::sample::select(vec![
        OwnCredential::Keep,
        OwnCredential::Keep,
        OwnCredential::Replace,
        OwnCredential::Refuse,
    ]);
    let numbers = (1..7_u32, 0..4_u32, 1..5_u32);
    let overloaded = proptest::sample::select(vec![None, None, Some(false), Some(true)]);
    let flags = (overloaded, rarely(), rarely(), any::<bool>());
    let deadline = proptest::sample::select(vec![60_000, 60_000, 3_000]);
    let strategies = body_strategies();
    let sources = (
        proptest::sample::select(vec![10_000, 10_000, 1_000]),
        proptest::sample::select(vec![15_000, 15_000, 2_000, 0]),
        any::<u64>(),
    );
    (numbers, bucket, cascade, own, selection(), flags, deadline, (strategies, sources)).prop_map(
        |(
            (attempts, retries, max_refusals),
            bucket,
            cascade,
            own,
            selection,
            flags,
            deadline,
            (body_strategies, (refresh_deadline, ready_within, seed)),
        )| Plan {
            attempts,
            limits: [attempts; 3],
            deadlines: [deadline; 3],
            body_strategies,
            retries,
            max_refusals,
            bucket,
            overloaded: flags.0,
            forbidden: flags.1,
            replace: flags.2,
            served_by: flags.3,
            cascade,
            own,
            selection,
            refresh_deadline,
            ready_within,
            seed,
        },
    )
}

fn body_strategy() -> impl Strategy<Value = BodyStrategy> {
    proptest::sample::select(vec![
        BodyStrategy::Usual,
        BodyStrategy::Usual,
        BodyStrategy::Cloned,
        BodyStrategy::Buffered(16),
        BodyStrategy::Buffered(50),
        BodyStrategy::Buffered(1 << 20),
        BodyStrategy::Buffered(1 << 20),
    ])
}

/// Mostly one strategy for all layers.
fn body_strategies() -> impl Strategy<Value = [BodyStrategy; 3]> {
    prop_oneof![
        3 => body_strategy().prop_map(|keep| [keep; 3]),
        1 => [body_strategy(), body_strategy(), body_strategy()],
    ]
}

fn list() -> impl Strategy<Value = Vec<u8>> {
    Just(vec![0, 1, 2, 3, 4])
        .prop_shuffle()
        .prop_flat_map(|all| (0..5_usize).prop_map(move |most| all[..most].to_vec()))
}

fn chain() -> impl Strategy<Value = ChainPlan> {
    let at = proptest::sample::select(vec![
        ModelPlace::Json,
        ModelPlace::Json,
        ModelPlace::Query,
        ModelPlace::Header,
    ]);
    let listed = proptest::option::of(list());
    let map = proptest::collection::vec((0..5_u8, list()), 0..5);
    let otherwise = prop_oneof![1 => Just(Vec::new()), 1 => list()];
    let special = || proptest::option::of(list());
    (at, listed, map, otherwise, special(), special()).prop_map(
        |(at, list, map, otherwise, too_long, forbidden)| ChainPlan {
            at,
            list,
            map,
            otherwise,
            too_long,
            forbidden,
        },
    )
}

/// Any world. In one of three, tokens come from sources or expire.
pub(crate) fn world() -> impl Strategy<Value = World> {
    (any_world(), proptest::bool::weighted(0.33)).prop_map(|(mut world, tokens_change)| {
        for plan in world.pools.iter_mut().flatten().filter(|_| !tokens_change) {
            (plan.source, plan.end) = (None, None);
        }
        world
    })
}

/// A world in which tokens come from sources and expire.
pub(crate) fn changing_tokens() -> impl Strategy<Value = World> {
    any_world()
}

fn any_world() -> impl Strategy<Value = World> {
    let accounts = || proptest::collection::vec(account(), 1..6);
    let rounds = proptest::collection::vec(round(), 1..4);
    let models = proptest::option::weighted(0.8, chain());
    (accounts(), accounts(), plan(), script::opinions(), rounds, models).prop_map(
        |(one, two, plan, opinions, rounds, models)| {
            let mut world = World { pools: [one, two], plan, models, opinions, rounds };
            let at = world.at();
            for request in world.rounds.iter_mut().flat_map(|round| &mut round.requests) {
                request.at = at;
            }
            world
        },
    )
}

/// A world in which no request is dropped early.
pub(crate) fn patient() -> impl Strategy<Value = World> {
    world().prop_map(|mut world| {
        for request in world.rounds.iter_mut().flat_map(|round| &mut round.requests) {
            request.polls = None;
            request.script.retain(|step| step.play != Play::Hang);
        }
        for account in world.pools.iter_mut().flatten() {
            if let Behaviour::First { step, .. } = &mut account.behaviour {
                if step.play == Play::Hang {
                    step.play = Play::Reset;
                }
            }
        }
        world
    })
}
