//! The pool, the clients and the server, and one round of requests.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout_at},
};
use tower::{Layer, limit::ConcurrencyLimit};
use tower_failover::{
    Account, Credential, Event, Failover, FailoverLayer, ModelChain, Pool, RequestOptions,
    RetryPolicy,
    pool::{Quarantine, Selection, State},
    report::ReporterHandle,
    retry::{Backoff, TokenBucket},
};

use super::{
    Error,
    ask::{Ended, ask},
    book::Book,
    desk::{Desk, Token},
    figures::Figures,
    meter::{Clocked, Meter, Started},
    operator::Operator,
    options::Options,
    server::{Port, Version},
    token::{Key, REQUEST_ID, id},
};

type Metered = Meter<Client<HttpConnector, Full<Bytes>>>;

/// The time limit of a round; a request that has not ended by then hangs.
const ROUND: Duration = Duration::from_secs(60);
/// The longest work on one request.
const SLOWEST: Duration = Duration::from_millis(1500);
/// The longest work over HTTP/1.1, where each connection serves one request at a time.
const CONNECTIONS: usize = 200;
const QUICK: Duration = Duration::from_millis(100);
/// One of this number of requests uses HTTP/1.1.
const HTTP1: u64 = 8;

/// See the [module](self).
pub(crate) struct Stand {
    requests: u64,
    accounts: usize,
    pool: Pool,
    book: Arc<Book>,
    desk: Arc<Desk>,
    /// The clients; the last one uses HTTP/1.1.
    ports: Vec<Port>,
    http2: Failover<Metered>,
    http1: Failover<ConcurrencyLimit<Metered>>,
}

impl Stand {
    pub(crate) async fn start(options: &Options) -> Result<Self, Error> {
        let (desk, book) = (Arc::new(Desk::new()), Arc::new(Book::default()));
        let mut ports = Vec::new();
        for _ in 0..4 {
            ports.push(Port::open(desk.clone(), Version::Http2, SLOWEST).await?);
        }
        ports.push(Port::open(desk.clone(), Version::Http1, QUICK).await?);
        let kept = book.clone();
        let reporter = ReporterHandle::new(move |event: &Event| kept.event(event));
        let pool = pool(options, &ports, &desk, reporter.clone())?;
        let layer = FailoverLayer::builder()
            .models(ModelChain::list(["large", "small"])?)
            .retry(
                RetryPolicy::new()
                    .backoff(Backoff::new(Duration::from_millis(20), Duration::from_millis(500))?)
                    .budget(TokenBucket::new(5_000)),
            )
            .rotation(pool.clone())
            .reporter(reporter)
            .report_recovered(true)
            .build()?;
        let mut client = Client::builder(TokioExecutor::new());
        let http1 = Meter { inner: client.build_http(), book: book.clone() };
        let http2 = Meter { inner: client.http2_only(true).build_http(), book: book.clone() };
        Ok(Self {
            requests: options.requests,
            accounts: options.accounts,
            pool,
            book,
            desk,
            ports,
            http2: layer.layer(http2),
            http1: layer.layer(ConcurrencyLimit::new(http1, CONNECTIONS)),
        })
    }

    /// Runs all requests concurrently, and returns the figures.
    pub(crate) async fn round(&self, seed: u64) -> Result<Figures, Error> {
        let started = Instant::now();
        self.desk.begin(seed);
        self.book.begin();
        let operator = Operator { pool: &self.pool, desk: &self.desk, ports: &self.ports };
        let mut dice = fastrand::Rng::with_seed(seed);
        let tasks = self.send_all(&mut dice)?;
        let ended = tokio::select! {
            ended = wait(tasks, started + ROUND) => ended?,
            never = operator.work(dice) => match never? {},
        };
        let view = self.pool.view();
        let generations: Vec<_> = view.accounts.iter().map(|account| account.generation).collect();
        let (sums, mut broken) = self.book.close(&ended, &generations);
        let probing = view.accounts.iter().filter(|account| account.state == State::Probing);
        broken.extend(probing.map(|account| format!("{}: its probe did not end", account.id)));
        operator.heal()?;
        broken.extend(self.calm().await?);
        broken.extend(self.leftovers());
        let count = |what| ended.iter().filter(|(_, ended)| *ended == what).count() as u64;
        let figures = Figures {
            requests: self.requests,
            ok: count(Ended::Ok),
            failed: count(Ended::Failed),
            reports: sums.reports,
            incidents: sums.incidents,
            sends_after_refusal: sums.sends_after_refusal,
            hung: count(Ended::Hung),
            cut: count(Ended::Cut),
            dropped: count(Ended::Dropped),
            seconds: started.elapsed().as_secs_f64(),
            sums,
            ..Figures::default()
        };
        broken.extend(figures.odd());
        // Each round ends as it began: without connections, and without requests that were dropped at
        // the other end of one.
        drop(ended);
        self.ports.iter().for_each(Port::cut);
        sleep(SLOWEST + QUICK).await;
        Ok(Figures { broken, ..figures })
    }

    fn send_all(&self, dice: &mut fastrand::Rng) -> Result<Vec<JoinHandle<Ended>>, Error> {
        let open = self.desk.open.clone();
        let started = Arc::new(Started { missing: AtomicU64::new(self.requests), open });
        let mut tasks = Vec::new();
        for number in 0..self.requests {
            let (request, open) = (self.request(number, dice)?, self.desk.open.subscribe());
            let patience = (dice.u8(..) < 24).then(|| Duration::from_millis(dice.u64(..3000)));
            let (book, started) = (self.book.clone(), started.clone());
            tasks.push(if number % HTTP1 == 0 {
                let sent = ask(self.http1.clone(), request, open, patience);
                tokio::spawn(Clocked::new(sent, book, started))
            } else {
                let sent = ask(self.http2.clone(), request, open, patience);
                tokio::spawn(Clocked::new(sent, book, started))
            });
        }
        Ok(tasks)
    }

    /// Builds a request that may be repeated, or one that may not.
    fn request(&self, number: u64, dice: &mut fastrand::Rng) -> http::Result<Request<Full<Bytes>>> {
        let many = self.ports.len() - 1;
        let at = if number % HTTP1 == 0 { many } else { dice.usize(..many) };
        let uri = format!("http://{}/v1/films", self.ports[at].address);
        let request = Request::builder().uri(uri).header(REQUEST_ID, number);
        match dice.u8(..10) {
            0..5 => request.body(Full::default()),
            kind => {
                let post = request.method(Method::POST).header(CONTENT_TYPE, "application/json");
                let keyed = if kind < 8 { post } else { post.header("idempotency-key", number) };
                keyed.body(Full::from(r#"{"model": "large", "prompt": "a cat"}"#))
            }
        }
    }

    /// Checks that each account serves again when all faults have ended.
    async fn calm(&self) -> Result<Vec<String>, Error> {
        self.desk.calm_down();
        let mut tasks = Vec::new();
        for account in 0..self.accounts {
            let uri = format!("http://{}/v1/films", self.ports[0].address);
            let number = self.requests + account as u64;
            let mut request = Request::get(uri).header(REQUEST_ID, number).body(Full::default())?;
            request.extensions_mut().insert(RequestOptions::new().pin(id(account)));
            let open = self.desk.open.subscribe();
            tasks.push(tokio::spawn(ask(self.http2.clone(), request, open, None)));
        }
        let ended = wait(tasks, Instant::now() + ROUND).await?.into_iter().zip(0..);
        let bad = ended.filter(|((_, ended), _)| *ended != Ended::Ok);
        let text = |((_, ended), account)| format!("{} does not serve: {ended:?}", id(account));
        Ok(bad.map(text).collect())
    }

    /// Describes what is not released when every request has ended.
    fn leftovers(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for (account, seen) in self.pool.view().accounts.iter().enumerate() {
            let (id, sent) = (&seen.id, self.book.sends(account));
            if seen.in_flight != 0 {
                broken.push(format!("{id} has {} requests in flight", seen.in_flight));
            }
            if seen.state != State::Usable {
                broken.push(format!("{id} is {:?}", seen.state));
            }
            if seen.counts.sent != sent {
                broken.push(format!("{id} counts {} sends of {sent}", seen.counts.sent));
            }
        }
        broken
    }
}

impl Figures {
    /// Describes the sums that are wrong.
    fn odd(&self) -> Vec<String> {
        let mut odd = Vec::new();
        if self.hung > 0 {
            odd.push(format!("{} requests have not ended", self.hung));
        }
        if self.reports != self.failed {
            odd.push(format!("{} failed requests, {} reports", self.failed, self.reports));
        }
        if self.sends_after_refusal > 0 {
            odd.push(format!("{} sends after a rejection", self.sends_after_refusal));
        }
        // A soak without incidents shows nothing.
        let idle = [
            (self.ok, "no request was answered"),
            (self.failed, "no request failed"),
            (self.dropped, "no request was dropped"),
            (self.cut, "no answer was cut"),
            (self.incidents, "no token was rejected"),
            (self.sums.healed, "no probe healed an account"),
        ];
        odd.extend(idle.iter().filter(|(n, _)| *n == 0).map(|(_, what)| (*what).to_owned()));
        odd
    }
}

fn pool(
    options: &Options,
    ports: &[Port],
    desk: &Desk,
    reporter: ReporterHandle,
) -> Result<Pool, Error> {
    let mut pool = Pool::builder();
    for account in 0..options.accounts {
        let key = Key { account, generation: 1 };
        desk.set(key, Token::Good);
        pool = pool.account(Account::new(id(account), Credential::bearer(key.token())?));
    }
    let short = Duration::from_millis(100);
    let pool = pool
        .origins(ports.iter().map(|port| format!("http://{}", port.address)))
        .selection(Selection::LeastInFlight)
        .quarantine(Quarantine::new().trusted(short).untrusted(short))
        .limited_cooldown(Duration::from_millis(50), Duration::from_millis(500))
        .reporter(reporter)
        .build()?;
    Ok(pool)
}

/// The end of each request, by its number.
async fn wait(tasks: Vec<JoinHandle<Ended>>, end: Instant) -> Result<Vec<(u64, Ended)>, Error> {
    let mut all = Vec::new();
    for (number, mut task) in (0..).zip(tasks) {
        let ended = timeout_at(end, &mut task).await;
        if ended.is_err() {
            task.abort();
        }
        all.push((number, ended.unwrap_or(Ok(Ended::Hung))?));
    }
    Ok(all)
}
