//! A pool of two accounts, the layers over it, and the checks that every client must pass.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, channel::Channel};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::time::timeout;
use tower::{Service, ServiceExt};
use tower_failover::{
    Account, AuthShortCircuitLayer, Credential, ErrorDedupLayer, Event, FailoverLayer, ModelChain,
    ModelFallbackLayer, Pool, RetryLayer, RetryPolicy, TokenRotationLayer,
    failover::FailoverBuilder,
    pool::{PoolBuilder, Quarantine, Selection},
    report::{ChannelReporter, EventReceiver, RequestRecord, channel},
    retry::Backoff,
};

use crate::Upstream;

/// The limit for kept request bodies.
pub const CAP: usize = 64 * 1024;

/// An upstream, a pool of alice and bob for it, and a receiver of reports.
pub struct Rig {
    pub upstream: Upstream,
    pub pool: Pool,
    reporter: ChannelReporter,
    events: EventReceiver,
}

impl Rig {
    /// Builds a rig with an upstream that echoes.
    pub async fn echo() -> Self {
        Self::new(Upstream::echo().await)
    }

    /// Builds a rig with this upstream. Alice serves first, bob is the reserve.
    pub fn new(upstream: Upstream) -> Self {
        Self::with(upstream, |pool| pool)
    }

    /// Like `new`, with more settings of the pool.
    pub fn with(upstream: Upstream, settings: impl FnOnce(PoolBuilder) -> PoolBuilder) -> Self {
        let (reporter, events) = channel(64);
        let hour = Duration::from_secs(3600);
        let credential = |token| Credential::bearer(token).expect("a token");
        let pool = Pool::builder()
            .account(Account::new("alice", credential("token-of-alice")))
            .account(Account::new("bob", credential("token-of-bob")))
            .origins([upstream.origin()])
            .selection(Selection::FillFirst)
            // Longer than any test.
            .quarantine(Quarantine::new().trusted(hour).untrusted(hour))
            .help("get new tokens in Settings")
            .reporter(reporter.clone());
        let pool = settings(pool).build().expect("a pool");
        Self { upstream, pool, reporter, events }
    }

    /// Builds the fused layer with all stages.
    pub fn fused(&self) -> FailoverBuilder {
        FailoverLayer::builder()
            .models(Self::chain())
            .rotation(self.pool.clone())
            .retry(Self::policy())
            .reporter(self.reporter.clone())
    }

    /// Builds the outermost of the separate layers.
    pub fn dedup(&self) -> ErrorDedupLayer {
        ErrorDedupLayer::new(self.reporter.clone()).redact(&self.pool)
    }

    pub fn models(&self) -> ModelFallbackLayer {
        ModelFallbackLayer::new(Self::chain()).pool(self.pool.clone())
    }

    pub fn retry(&self) -> RetryLayer {
        RetryLayer::new(Self::policy().overloaded(false))
    }

    pub fn rotation(&self) -> TokenRotationLayer {
        TokenRotationLayer::new(self.pool.clone())
    }

    /// Builds the innermost of the separate layers.
    pub fn gate(&self) -> AuthShortCircuitLayer {
        AuthShortCircuitLayer::with_pool(self.pool.clone())
    }

    fn chain() -> ModelChain {
        ModelChain::list(["large", "medium"]).expect("a chain")
    }

    fn policy() -> RetryPolicy {
        RetryPolicy::new().backoff(Backoff::none())
    }

    /// Returns the codes of the reports since the last call.
    pub fn reported(&mut self) -> Vec<&'static str> {
        std::iter::from_fn(|| self.events.try_recv()).map(|event| event.code()).collect()
    }

    /// Returns the failed requests reported since the last call.
    pub fn failures(&mut self) -> Vec<RequestRecord> {
        let events = std::iter::from_fn(|| self.events.try_recv());
        events.filter(Event::is_failure).filter_map(|event| event.record().cloned()).collect()
    }

    /// Checks the failover that every client must see: a 401 rotates, a 503 is retried, and a dead
    /// pool answers without a call upstream. `send` returns the status of the answer.
    pub async fn check_failover(&mut self, mut send: impl AsyncFnMut() -> u16) {
        let (alice, bob) = ("token-of-alice", "token-of-bob");
        self.upstream.reject(alice);
        assert_eq!(within_a_minute(send()).await, 200, "bob serves in alice's place");
        assert_eq!(self.upstream.tokens(), [alice, bob], "each is tried once");

        self.upstream.next(&[503]);
        assert_eq!(within_a_minute(send()).await, 200, "what is transient is tried again");
        assert_eq!(self.upstream.tokens(), [bob, bob], "alice is not used again");
        assert_eq!(self.reported(), ["account_out"]);

        self.upstream.reject(bob);
        assert_eq!(
            within_a_minute(send()).await,
            401,
            "no account is left, and the answer of the upstream is kept"
        );
        assert_eq!(self.upstream.tokens(), [bob]);
        assert_eq!(self.reported(), ["pool_dead", "request_failed"]);

        assert_eq!(within_a_minute(send()).await, 401, "the same, without a call");
        assert_eq!(self.upstream.tokens(), [""; 0]);
        assert_eq!(self.reported(), ["request_failed"]);
    }
}

/// Awaits a future for at most a minute, so that a hanging test fails.
pub async fn within_a_minute<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(60), future).await.expect("it takes long: something waits for ever")
}

/// The body that clients send and the echoing upstream returns.
pub const FILM: &str = "a film";

/// Posts this body through this service and returns the status; see [`read`].
pub async fn post<S, B, RB>(service: &mut S, uri: &str, body: B) -> u16
where
    S: Service<Request<B>, Response = Response<RB>>,
    S::Error: fmt::Debug,
    RB: Body,
    RB::Error: fmt::Debug,
{
    let request = Request::post(uri).body(body).expect("a request");
    let answer = service.ready().await.expect("it is ready").call(request).await;
    read(answer.expect("an answer")).await
}

/// Returns the status of this answer; a success must contain the body sent.
pub async fn read<RB>(answer: Response<RB>) -> u16
where
    RB: Body,
    RB::Error: fmt::Debug,
{
    let status = answer.status().as_u16();
    let text = answer.into_body().collect().await.expect("a body").to_bytes();
    assert_eq!(status == 200, text == FILM, "{status}: {text:?}");
    status
}

/// Sends a body in two halves; the first comes back before the second is sent, so no layer waits
/// for the whole body.
pub async fn streams_both_ways<S, RB>(service: S, uri: &str)
where
    S: Service<Request<Streaming>, Response = Response<RB>>,
    S::Error: fmt::Debug,
    RB: Body<Data = Bytes> + Unpin,
    RB::Error: fmt::Debug,
{
    let (mut writer, body) = Channel::new(8);
    writer.send_data("first ".into()).await.expect("the body is read");
    let request = Request::post(uri).body(body).expect("a request");
    let mut answer = service.oneshot(request).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let frame = answer.body_mut().frame().await.expect("a frame").expect("no error");
    assert_eq!(frame.into_data().expect("data"), "first ");
    writer.send_data("second".into()).await.expect("the body is read");
    drop(writer);
    let rest = answer.into_body().collect().await.expect("the rest").to_bytes();
    assert_eq!(rest, "second");
}

/// Builds the client of hyper-util.
pub fn client<B>() -> Client<HttpConnector, B>
where
    B: Body<Data = Bytes> + Send + 'static,
{
    Client::builder(TokioExecutor::new()).build_http()
}

/// A body of unknown length.
pub type Streaming = Channel<Bytes, hyper::Error>;
