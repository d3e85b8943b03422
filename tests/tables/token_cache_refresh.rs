//! `token_cache_refresh.json`: the number and times of source calls, and the tokens of requests
//! meanwhile.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use http::Request;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};
use tower::{Layer, ServiceExt};
use tower_failover::{
    Account, FailoverLayer, Pool, Reason, RequestOptions,
    credential::{
        DailyTime, RefreshReason, RefreshWindows, SourceError, Token, TokenFuture, TokenSource,
    },
    pool::State,
};

use crate::{
    expect::Expect,
    rig::paused,
    support::{
        Recorder, Upstream,
        boxed::{Boxed, boxed},
        cases::{self, Excused, Outcome},
        get,
        stack::Body,
    },
};

const EXCUSED: &[Excused] = &[
    (
        "token_cache_refresh.debug-masks-token",
        "stricter: `Debug` of a token shows no part of it, not the last four characters either",
    ),
    (
        "token_cache_refresh.moka-abort-of-leader",
        "the case's own disagreement: the refresh of a request that is dropped goes on in a task of \
         its own, and its token is shared",
    ),
];

#[test]
fn source_is_called_once_when_due() {
    cases::check("token_cache_refresh.json", EXCUSED, &[], holds);
}

/// The source of one account, which plays the provider list of the case.
struct Provider {
    plays: Arc<Mutex<VecDeque<Value>>>,
    seen: Arc<Mutex<Vec<bool>>>,
}

impl TokenSource for Provider {
    fn token(&self, why: RefreshReason) -> TokenFuture<'_> {
        self.seen.lock().unwrap().push(why.is_rejected());
        let play = self.plays.lock().unwrap().pop_front().expect("the case has one more answer");
        Box::pin(async move {
            sleep(Duration::from_millis(play["takes_ms"].as_u64().unwrap_or(0))).await;
            if play["hang"] == true {
                std::future::pending::<()>().await;
            }
            if let Some(error) = play["error"].as_str() {
                assert_eq!(error, "transient", "no provider fails with it");
                return Err(SourceError::transient(error.to_owned()));
            }
            let token = Token::new(play["token"].as_str().expect("a token"));
            Ok(match play["expires_in_s"].as_u64() {
                Some(left) => token.expires_in(Duration::from_secs(left)),
                None => token,
            })
        })
    }
}

struct World {
    pool: Pool,
    recorder: Recorder,
    service: Boxed,
    upstream: Upstream,
    seen: Arc<Mutex<Vec<bool>>>,
    start: Instant,
}

impl World {
    fn of(case: &Value) -> Self {
        let config = &case["config"];
        let known = [
            "advisory_s",
            "mandatory_s",
            "advisory_backoff_s",
            "buffer_s",
            "load_timeout_s",
            "jitter",
        ];
        for (member, _) in config.as_object().unwrap() {
            assert!(known.contains(&member.as_str()), "no pool has `{member}`");
        }
        let seconds = |name: &str| config[name].as_u64().map(Duration::from_secs);
        let windows = match (seconds("advisory_s"), seconds("mandatory_s"), seconds("buffer_s")) {
            (Some(advisory), Some(mandatory), _) => RefreshWindows::fixed(advisory, mandatory),
            (_, _, Some(buffer)) => RefreshWindows::fixed(buffer, buffer),
            _ => RefreshWindows::by_lifetime(),
        };
        let (recorder, seen) = (Recorder::new(), Arc::default());
        let providers: BTreeMap<String, Value> = match &case["upstream"]["provider"] {
            Value::Object(each) => each.clone().into_iter().collect(),
            one => BTreeMap::from([("a".to_owned(), one.clone())]),
        };
        let accounts = providers.into_iter().map(|(id, plays)| {
            let plays = Arc::new(Mutex::new(plays.as_array().unwrap().clone().into()));
            let seen = Arc::clone(&seen);
            Account::from_source(id, Provider { plays, seen }).refresh_windows(windows)
        });
        let mut builder =
            Pool::builder().any_origin().accounts(accounts).reporter(recorder.clone());
        if let Some(longest) = seconds("load_timeout_s") {
            builder = builder.refresh_deadline(longest);
        }
        let pool = builder.build().unwrap();
        let upstream = Upstream::default();
        let layer = FailoverLayer::builder().rotation(pool.clone()).build().unwrap();
        let service = boxed(layer.layer(upstream.clone()));
        Self { pool, recorder, service, upstream, seen, start: Instant::now() }
    }

    /// Returns the token that a reader's request was sent with, or the reason for none.
    async fn read(&self, partition: Option<&str>) -> Value {
        let mut request: Request<Body> = get();
        if let Some(account) = partition {
            request.extensions_mut().insert(RequestOptions::new().pin(account));
        }
        let answer = self.service.clone().oneshot(request).await.unwrap();
        // Lets concurrent tasks run.
        sleep(Duration::from_millis(1)).await;
        if answer.status().is_success() {
            return json!(self.upstream.tokens().last());
        }
        assert_eq!(answer.status(), 503);
        json!("error")
    }

    /// Checks the calls of the source, its reports, and that no refresh is left open.
    fn check(&self, expect: &mut Expect<'_>) {
        let seen = self.seen.lock().unwrap().clone();
        expect.is("provider_calls", seen.len());
        expect.is("force_refresh_flags", seen);
        let codes = self.recorder.codes();
        expect.is("warnings", codes.iter().filter(|code| **code == "refresh_failed").count());
        let waits = self.pool.view().accounts[0].state == State::Refreshing;
        expect.is("leaks", usize::from(waits));
    }

    /// Returns the error of a reader in the terms of the case.
    fn kind(&self, wanted: &Value) -> Value {
        let reported: Vec<_> = self.recorder.events().iter().map(ToString::to_string).collect();
        let kinds =
            [("error:timeout", "in time"), ("error:invalid-header-value", "not visible ASCII")];
        let reported_words = |words: &str| reported.iter().any(|line| line.contains(words));
        let trimmed =
            |kind: &str| kind == "error:invalid-header-value" && reported_words("white space");
        let found = kinds.iter().find(|(kind, words)| {
            json!(kind) == *wanted && (reported_words(words) || trimmed(kind))
        });
        found.map_or_else(|| json!("error"), |(kind, _)| json!(kind))
    }
}

fn holds(case: &Value) -> Outcome {
    if !case["config"]["daily_expiry"].is_null() {
        return daily(case);
    }
    let mut expect = Expect::of(case);
    if case["expect"].get("debug_must_not_contain").is_some() {
        masked(case, &mut expect);
        return expect.end();
    }
    paused(async {
        let world = World::of(case);
        let (mut results, mut tokens) = (Vec::new(), Vec::new());
        let mut ended = Duration::ZERO;
        for entry in case["request"]["timeline"].as_array().unwrap() {
            let at = Duration::from_secs_f64(entry["at_s"].as_f64().unwrap());
            sleep_until(world.start + at).await;
            if entry["invalidate"] == true {
                let id = world.pool.view().accounts[0].id.clone();
                assert!(world.pool.invalidate(&id, Reason::Invalid));
                continue;
            }
            let partition = entry["partition"].as_str();
            let readers = (0..entry["get"].as_u64().unwrap()).map(|_| world.read(partition));
            let read = futures_util::future::join_all(readers);
            let read = match entry["abort_after_ms"].as_u64() {
                Some(ms) => {
                    drop(tokio::time::timeout(Duration::from_millis(ms), read).await);
                    continue;
                }
                None => read.await,
            };
            ended = world.start.elapsed();
            assert!(read.iter().all(|token| *token == read[0]), "all who wait get the same");
            let wanted = &case["expect"]["results"][results.len()];
            results.push(if read[0] == "error" { world.kind(wanted) } else { read[0].clone() });
            tokens = vec![read[0].clone()];
        }
        expect.is("waiter", results.last().cloned().unwrap_or_default());
        expect.is("results", results);
        expect.is("tokens", tokens);
        world.check(&mut expect);
        if let Some(at) = expect.take("at_ms") {
            let at = Duration::from_millis(at.as_u64().unwrap());
            let late = ended.saturating_sub(at);
            expect.check(ended >= at && late < Duration::from_millis(5), || format!("{ended:?}"));
        }
        expect.is("panics", false);
        expect.end()
    })
}

fn masked(case: &Value, expect: &mut Expect<'_>) {
    let plays = case["upstream"]["provider"].as_array().unwrap();
    let shown: Vec<_> = plays
        .iter()
        .map(|play| format!("{:?}", Token::new(play["token"].as_str().unwrap())))
        .collect();
    for secret in expect.take("debug_must_not_contain").unwrap().as_array().unwrap() {
        let secret = secret.as_str().unwrap();
        expect.check(!shown.iter().any(|text| text.contains(secret)), || format!("{shown:?}"));
    }
    for part in expect.take("debug_shows").unwrap().as_array().unwrap() {
        let part = part.as_str().unwrap();
        expect.check(shown.iter().any(|text| text.contains(part)), || format!("{shown:?}"));
    }
}

fn daily(case: &Value) -> Outcome {
    let config = &case["config"];
    let [time, zone] = ["daily_expiry", "timezone"].map(|name| config[name].as_str().unwrap());
    let daily: DailyTime = format!("{time}{zone}").parse().unwrap();
    let utc = |text: &str| {
        let (local, offset) = text.split_at(text.len() - zone.len());
        assert_eq!(offset, "+05:30", "the zone of the case");
        humantime::parse_rfc3339(&format!("{local}Z")).unwrap() - Duration::from_secs(19_800)
    };
    let mut expect = Expect::of(case);
    let issued = case["request"]["timeline"][0]["issued_at"].as_str().unwrap();
    let ends = daily.next_after(utc(issued));
    let wanted = expect.take("expires_at").unwrap().as_str().unwrap();
    expect.check(ends == utc(wanted), || format!("{ends:?}"));
    expect.end()
}
