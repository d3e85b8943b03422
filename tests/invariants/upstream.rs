//! The upstream of a world: it plays the script of each request and records every attempt.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::Full;
use tokio::time::{Instant, Sleep};
use tower::BoxError;
use tower_failover::{Pool, Verdict};

use super::{
    request_body::{Read, TestBody, poll_read},
    script::{ListPolicy, Play, Step},
    sources::{Log, SourceEvent, SourceStep},
    support::upstream::Mark,
    world::{AccountPlan, Change},
};

/// A credential, by pool, account and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CredentialId {
    pub(crate) pool: usize,
    pub(crate) account: usize,
    pub(crate) generation: u64,
}

/// The behaviour of the upstream towards an account.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Behaviour {
    /// The upstream follows the script of the request.
    Fine,
    /// The upstream always replies this to the first `generations`.
    Always { step: Step, generations: u64 },
    /// The upstream replies this to the account's first attempts.
    First { step: Step, attempts: usize },
}

/// The end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Still in flight.
    Not,
    Answered {
        at: Instant,
        seq: usize,
    },
    Dropped {
        at: Instant,
        seq: usize,
    },
}

/// One received attempt.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) n: usize,
    /// The number of its request.
    pub(crate) id: u32,
    /// The number of the foreign layer's try.
    pub(crate) foreign: u32,
    pub(crate) credential: Option<CredentialId>,
    pub(crate) own: bool,
    pub(crate) at: Instant,
    pub(crate) seq: usize,
    pub(crate) end: End,
    pub(crate) step: Step,
    /// The verdict, with the policy applied.
    pub(crate) verdict: Verdict,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    /// The body was read to its end or its error.
    pub(crate) whole: bool,
    pub(crate) mark: Option<u32>,
}

impl Sent {
    /// Returns the model that the attempt names.
    pub(crate) fn model(&self) -> Option<String> {
        if let Some(model) = self.headers.get("x-model") {
            return model.to_str().ok().map(str::to_owned);
        }
        let after = |text: &str, from: &str, to: char| {
            let (_, rest) = text.split_once(from)?;
            rest.split(to).next().map(str::to_owned)
        };
        let query = self.uri.query().unwrap_or_default();
        let body = String::from_utf8_lossy(&self.body);
        after(query, "model=", '&').or_else(|| after(&body, "\"model\":\"", '"'))
    }

    pub(crate) fn answered(&self) -> bool {
        matches!(self.end, End::Answered { .. })
    }
}

pub(crate) type Watch = Box<dyn FnMut() + Send>;

/// A change of the first pool, numbered like the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Changed {
    pub(crate) seq: usize,
    pub(crate) at: Instant,
    pub(crate) account: usize,
    /// The generation that was changed.
    pub(crate) generation: u64,
    pub(crate) change: Change,
}

#[derive(Default)]
struct Shared {
    log: Vec<Sent>,
    changes: Vec<Changed>,
    seq: usize,
    scripts: HashMap<u32, Vec<Step>>,
    played: HashMap<u32, usize>,
    seen: HashMap<(usize, usize), usize>,
    behaviours: Vec<Vec<Behaviour>>,
    /// The pool of the innermost rotation.
    innermost: usize,
    sources: Log,
    plans: [Vec<AccountPlan>; 2],
    pools: Vec<Pool>,
}

/// See the [module](self).
pub(crate) struct TestUpstream {
    shared: Arc<Mutex<Shared>>,
    watch: Arc<Mutex<Option<Watch>>>,
    policy: ListPolicy,
    since: Instant,
    ready: bool,
}

impl Clone for TestUpstream {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            watch: self.watch.clone(),
            policy: self.policy.clone(),
            since: self.since,
            ready: false,
        }
    }
}

impl fmt::Debug for TestUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestUpstream").finish_non_exhaustive()
    }
}

impl TestUpstream {
    pub(crate) fn new(plans: [Vec<AccountPlan>; 2], policy: ListPolicy, innermost: usize) -> Self {
        let behaviours =
            |plans: &Vec<AccountPlan>| plans.iter().map(|plan| plan.behaviour).collect();
        let behaviours = plans.iter().map(behaviours).collect();
        let shared = Shared { behaviours, innermost, plans, ..Shared::default() };
        let shared = Arc::new(Mutex::new(shared));
        Self { shared, watch: Arc::default(), policy, since: Instant::now(), ready: false }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    /// Sets the replies to a request, attempt by attempt; later attempts get 200.
    pub(crate) fn expect(&self, id: u32, script: Vec<Step>) {
        self.lock().scripts.insert(id, script);
    }

    pub(crate) fn behaviour(&self, pool: usize, account: usize, behaviour: Behaviour) {
        self.lock().behaviours[pool][account] = behaviour;
    }

    pub(crate) fn log(&self) -> Vec<Sent> {
        self.lock().log.clone()
    }

    /// Returns the time at which the pools were built.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// Sets the pools that sources look up; an empty list releases them.
    pub(crate) fn set_pools(&self, pools: Vec<Pool>) {
        let before = std::mem::replace(&mut self.lock().pools, pools);
        // The pools are dropped without the lock, because dropping them records events.
        drop(before);
    }

    /// Returns the generation of an account and whether its first token was loaded from the start.
    pub(crate) fn generation(&self, pool: usize, account: usize) -> (u64, bool) {
        let plan = self.plan(pool, account);
        let handle = self.lock().pools.get(pool).cloned();
        let loaded = plan.source.is_none_or(|source| source.loaded);
        let first = || u64::from(loaded);
        let generation = handle.map_or_else(first, |pool| pool.view().accounts[account].generation);
        (generation, loaded)
    }

    pub(crate) fn plan(&self, pool: usize, account: usize) -> AccountPlan {
        self.lock().plans[pool][account]
    }

    /// Runs a closure on the log of the sources.
    pub(crate) fn sources<R>(&self, look: impl FnOnce(&mut Log) -> R) -> R {
        look(&mut self.lock().sources)
    }

    pub(crate) fn record_event(&self, pool: usize, account: usize, step: SourceStep) {
        let mut shared = self.lock();
        shared.seq += 1;
        let event = SourceEvent { seq: shared.seq, at: Instant::now(), pool, account, step };
        shared.sources.events.push(event);
    }

    pub(crate) fn changes(&self) -> Vec<Changed> {
        self.lock().changes.clone()
    }

    pub(crate) fn changed(&self, account: usize, generation: u64, change: Change) {
        let mut shared = self.lock();
        shared.seq += 1;
        let changed = Changed { seq: shared.seq, at: Instant::now(), account, generation, change };
        shared.changes.push(changed);
    }

    /// Sets a callback that runs at every event of the upstream.
    pub(crate) fn watch(&self, watch: Watch) {
        *self.watch.lock().unwrap() = Some(watch);
    }

    pub(crate) fn notify_watch(&self) {
        if let Some(watch) = &mut *self.watch.lock().unwrap() {
            watch();
        }
    }

    /// Returns the verdict of a step for this attempt.
    fn verdict(&self, n: usize, step: &Step) -> Verdict {
        let plain = step.plain();
        match self.policy.verdict_for(n) {
            Some(verdict) if !plain.is_success() && !plain.is_unauthorized() => match verdict {
                Verdict::Success if step.is_error() => Verdict::Rejected,
                verdict => verdict,
            },
            _ => plain,
        }
    }

    fn end(&self, n: usize, answered: bool) {
        let mut shared = self.lock();
        shared.seq += 1;
        let (at, seq) = (Instant::now(), shared.seq);
        shared.log[n].end =
            if answered { End::Answered { at, seq } } else { End::Dropped { at, seq } };
    }
}

impl Shared {
    fn step(&mut self, id: u32, credential: Option<CredentialId>) -> Step {
        if let Some(credential) = credential {
            let seen = self.seen.entry((credential.pool, credential.account)).or_default();
            *seen += 1;
            match self.behaviours[credential.pool][credential.account] {
                Behaviour::Always { step, generations } if credential.generation <= generations => {
                    return step;
                }
                Behaviour::First { step, attempts } if *seen <= attempts => return step,
                _ => {}
            }
        }
        let played = self.played.entry(id).or_default();
        *played += 1;
        let script = self.scripts.get(&id);
        let step = script.and_then(|script| script.get(*played - 1)).copied();
        step.unwrap_or(Step::now(Play::Status(200)))
    }
}

/// Returns every pool token in this text: `tok-p0a1g2-...`.
pub(crate) fn tokens(text: &str) -> Vec<CredentialId> {
    text.match_indices("tok-p")
        .map(|(at, _)| {
            let word = text[at + 5..].split('-').next().unwrap();
            let (pool, rest) = word.split_once('a').unwrap();
            let (account, generation) = rest.split_once('g').unwrap();
            CredentialId {
                pool: pool.parse().unwrap(),
                account: account.parse().unwrap(),
                generation: generation.parse().unwrap(),
            }
        })
        .collect()
}

/// Returns every pool token on a request, with Basic ones decoded.
pub(crate) fn carried(headers: &HeaderMap, uri: &Uri) -> Vec<CredentialId> {
    use base64_of::decode;
    let mut found = tokens(uri.query().unwrap_or_default());
    for value in headers.values() {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        match text.strip_prefix("Basic ") {
            Some(basic) => found.extend(tokens(&decode(basic))),
            None => found.extend(tokens(&text)),
        }
    }
    found
}

/// Base64 without a dependency.
pub(crate) mod base64_of {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    pub(crate) fn encode(bytes: &[u8]) -> String {
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let mut word = [0; 3];
            word[..chunk.len()].copy_from_slice(chunk);
            let word = u32::from_be_bytes([0, word[0], word[1], word[2]]);
            for i in 0..=chunk.len() {
                text.push(char::from(DIGITS[(word >> (18 - 6 * i)) as usize & 63]));
            }
            text.extend(std::iter::repeat_n('=', 3 - chunk.len()));
        }
        text
    }

    pub(crate) fn decode(text: &str) -> String {
        let (mut bytes, mut word, mut bits) = (Vec::new(), 0_u32, 0);
        for byte in text.bytes() {
            let Some(digit) = DIGITS.iter().position(|digit| *digit == byte) else { break };
            word = word << 6 | u32::try_from(digit).unwrap();
            bits += 6;
            if bits >= 8 {
                bits -= 8;
                bytes.push((word >> bits & 0xff) as u8);
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn number(headers: &HeaderMap, name: &str) -> u32 {
    headers.get(name).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0)
}

impl tower::Service<Request<TestBody>> for TestUpstream {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<TestBody>) -> Answer {
        assert!(std::mem::take(&mut self.ready), "called without being polled ready");
        let (head, body) = request.into_parts();
        let carried = carried(&head.headers, &head.uri);
        let own = head
            .headers
            .get("authorization")
            .is_some_and(|v| v.as_bytes().starts_with(b"Bearer own-"));
        let id = number(&head.headers, "x-test-id");
        let mut shared = self.lock();
        // Two pools may each set a credential of another kind, such as gateway and API keys;
        // answers concern the innermost one.
        let innermost = shared.innermost;
        let credential = carried.into_iter().find(|credential| credential.pool == innermost);
        let step = shared.step(id, credential);
        shared.seq += 1;
        let (n, seq) = (shared.log.len(), shared.seq);
        let verdict = self.verdict(n, &step);
        shared.log.push(Sent {
            n,
            id,
            foreign: number(&head.headers, "x-foreign"),
            credential,
            own,
            at: Instant::now(),
            seq,
            end: End::Not,
            step,
            verdict,
            method: head.method,
            uri: head.uri,
            headers: head.headers,
            body: Bytes::new(),
            trailers: None,
            whole: false,
            mark: head.extensions.get::<Mark>().map(|mark| mark.0),
        });
        drop(shared);
        self.notify_watch();
        let wait = Duration::from_millis(step.after);
        let wait = (!wait.is_zero()).then(|| Box::pin(tokio::time::sleep(wait)));
        Answer {
            upstream: self.clone(),
            n,
            step,
            body: Some(body),
            read: Read::default(),
            wait,
            over: false,
        }
    }
}

/// The future of one attempt.
pub(crate) struct Answer {
    upstream: TestUpstream,
    n: usize,
    step: Step,
    body: Option<TestBody>,
    read: Read,
    wait: Option<Pin<Box<Sleep>>>,
    over: bool,
}

impl Answer {
    /// Reads the request; a broken body is an error of unknown outcome.
    fn poll_load(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(mut body) = self.body.take() else { return Poll::Ready(()) };
        let polled = poll_read(&mut body, &mut self.read, cx);
        let mut shared = self.upstream.lock();
        let sent = &mut shared.log[self.n];
        sent.body = Bytes::copy_from_slice(&self.read.data);
        sent.trailers.clone_from(&self.read.trailers);
        match polled {
            Poll::Pending => {
                drop(shared);
                self.body = Some(body);
                return Poll::Pending;
            }
            Poll::Ready(Ok(())) => sent.whole = true,
            Poll::Ready(Err(_)) => {
                self.step = Step::now(Play::Unknown);
                self.wait = None;
                sent.whole = true;
                sent.step = self.step;
                sent.verdict = self.upstream.verdict(self.n, &self.step);
            }
        }
        Poll::Ready(())
    }
}

impl Future for Answer {
    type Output = Result<Response<Full<Bytes>>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(!self.over, "polled after the end");
        std::task::ready!(self.poll_load(cx));
        if let Some(wait) = &mut self.wait {
            std::task::ready!(wait.as_mut().poll(cx));
            self.wait = None;
        }
        if self.step.play == Play::Hang {
            return Poll::Pending;
        }
        self.over = true;
        let (n, step) = (self.n, self.step);
        self.upstream.notify_watch();
        self.upstream.end(n, true);
        Poll::Ready(match step.status() {
            None => Err(step.error(n)),
            Some(status) => {
                let mut answer = Response::new(Full::from(step.body(n)));
                *answer.status_mut() = status;
                *answer.headers_mut() = step.headers(n);
                Ok(answer)
            }
        })
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.over {
            self.upstream.end(self.n, false);
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("n", &self.n)
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}
