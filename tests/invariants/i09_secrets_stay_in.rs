//! I9: no output, report or local answer of this crate contains eight bytes of a pool's secret,
//! raw, percent- or base64-encoded, even if an upstream echoed it.

use std::{
    io,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderName, Request, Response};
use http_body_util::Full;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use proptest::prelude::*;
use tower::{BoxError, Layer as _, Service, ServiceExt, service_fn};
use tower_failover::{
    Account, AuthShortCircuitLayer, Credential, ErrorDedupLayer, Event, FailoverLayer, Pool,
    RetryLayer, TokenRotationLayer,
    classify::{FailureError, Origin},
    pool::PoolBuilder,
    report::{ReporterHandle, TracingReporter},
};

use super::{
    request_body::TestBody,
    runner::{Ended, paused, request, send},
    script::ListPolicy,
    stack::{Parts, TestService, erase, of_one_pool, rotating},
    support::Recorder,
    upstream::base64_of,
    world::{CredentialPlace, World, world},
};

/// Returns the first part of a secret in this text, in any encoding.
fn leak(text: &str, secrets: &[String]) -> Option<String> {
    let decoded = percent_decode_str(text).decode_utf8_lossy().into_owned();
    for secret in secrets {
        for run in secret.as_bytes().windows(8) {
            let run = std::str::from_utf8(run).unwrap();
            if text.contains(run) || decoded.contains(run) {
                return Some(run.to_owned());
            }
        }
        for shift in 0..3 {
            let padded = ["\0\0", secret].concat();
            let digits = base64_of::encode(&padded.as_bytes()[2 - shift..]);
            let own = (shift * 8).div_ceil(6)..(secret.len() + shift) * 8 / 6;
            // Eight bytes are eleven base64 digits at any offset.
            for run in digits.as_bytes()[own].windows(11) {
                let run = std::str::from_utf8(run).unwrap();
                if text.contains(run) || text.contains(&run.replace('+', "-").replace('/', "_")) {
                    return Some(run.to_owned());
                }
            }
        }
    }
    None
}

/// Returns all text of a request, in this encoding.
fn echo(request: &Request<TestBody>, spelling: usize) -> String {
    let mut text: Vec<_> = request
        .headers()
        .values()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect();
    text.push(request.uri().to_string());
    // The credentials are set last, and long upstream text is cut.
    text.reverse();
    let spell = |text: &String| match spelling % 5 {
        0 => text.clone(),
        1 => utf8_percent_encode(text, NON_ALPHANUMERIC).to_string(),
        2 => text.bytes().map(|byte| format!("%{byte:02x}")).collect(),
        3 => base64_of::encode(text.as_bytes()),
        _ => base64_of::encode(format!("u{text}").as_bytes()).replace('+', "-").replace('/', "_"),
    };
    text.iter().map(spell).collect::<Vec<_>>().join(" ")
}

fn answer(text: String, status: u16) -> Result<Response<Full<Bytes>>, BoxError> {
    if status == 0 {
        return Err(io::Error::other(text).into());
    }
    let json = format!(r#"{{"error":{{"message":"{text}","code":"{text}"}}}}"#);
    let challenge = format!("Bearer error_description=\"{text}\"");
    let answer = Response::builder()
        .status(status)
        .header("x-request-id", &text)
        .header("www-authenticate", challenge)
        .header("grpc-message", &text)
        .header("content-type", "application/json")
        .body(Full::from(json))?;
    Ok(answer)
}

/// The buffer for tracing's output.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn credential(place: CredentialPlace, secret: &str) -> Credential {
    match place {
        CredentialPlace::Bearer => Credential::bearer(secret),
        CredentialPlace::Header => Credential::header(HeaderName::from_static("x-api-key"), secret),
        CredentialPlace::Query => Credential::query("key", secret),
        CredentialPlace::Basic => Credential::basic("user", secret),
    }
    .unwrap()
}

fn builder(world: &World, secrets: &[String], reporter: &ReporterHandle) -> PoolBuilder {
    let accounts = secrets.iter().enumerate().map(|(i, secret)| {
        let place = world.pools[0][i % world.pools[0].len()].place;
        Account::new(format!("a{i}"), credential(place, secret))
    });
    let builder = Pool::builder().accounts(accounts).any_origin().cascade(world.plan.cascade);
    builder.own_credential(world.plan.own).reporter(reporter.clone())
}

/// Returns the debug output of layers, services and futures over this pool.
fn printed(
    world: &World,
    pool: &Pool,
    reporter: &ReporterHandle,
    inner: &TestService,
) -> Vec<String> {
    let policy = world.retry();
    let builder = FailoverLayer::builder().rotation(pool.clone()).retry(policy.clone());
    let builder = builder.reporter(reporter.clone());
    let fused = builder.clone().build().unwrap();
    let rotation = TokenRotationLayer::new(pool.clone());
    let mut service = rotation.layer(inner.clone());
    let gate = AuthShortCircuitLayer::with_pool(pool.clone());
    let plan = world.requests()[0];
    let mut future = service.call(request(7, plan));
    let before = format!("{future:?}");
    let _ = futures_util::FutureExt::now_or_never(&mut future);
    vec![
        before,
        format!("{future:?}"),
        format!("{builder:?} {fused:?} {rotation:?} {gate:?}"),
        format!("{:?} {:?}", fused.layer(inner.clone()), gate.layer(inner.clone())),
        format!("{service:?} {:?}", RetryLayer::new(policy).layer(inner.clone())),
        format!("{:?}", ErrorDedupLayer::new(reporter.clone()).layer(inner.clone())),
        format!("{pool:?} {:?}", pool.view()),
    ]
}

async fn texts(
    world: &World,
    stack: &[super::stack::Layer],
    secrets: &[String],
    script: Vec<(u16, usize)>,
    output: &Output,
) -> Vec<String> {
    let recorder = Recorder::new();
    let (events, tracing) = (recorder.clone(), TracingReporter::new());
    let reporter = ReporterHandle::new(move |event: &Event| {
        tower_failover::Reporter::report(&events, event);
        tower_failover::Reporter::report(&tracing, event);
    });
    let builder = || builder(world, secrets, &reporter);
    let pools = [builder().build().unwrap(), builder().build().unwrap()];
    let played = Arc::new(Mutex::new(0));
    let upstream = service_fn(move |request: Request<TestBody>| {
        let mut n = played.lock().unwrap();
        let (status, spelling) = script[*n % script.len()];
        *n += 1;
        std::future::ready(answer(echo(&request, spelling), status))
    });
    let classifier = ListPolicy::new(world.opinions.clone()).classifier();
    let parts = Parts { world, pools: &pools, classifier, reporter: reporter.clone() };
    let upstream = erase(upstream);
    let service = parts.around(stack, upstream.clone());
    let mut texts = Vec::new();
    for (i, plan) in world.requests().into_iter().enumerate() {
        let mut request = request(u32::try_from(i).unwrap(), plan);
        // The caller's own path and request id contain a secret too.
        let quoted = utf8_percent_encode(&secrets[0], NON_ALPHANUMERIC).to_string();
        *request.uri_mut() =
            format!("https://api.example.com/{quoted}/x?y={quoted}").parse().unwrap();
        request.headers_mut().insert("x-request-id", secrets[0].parse().unwrap());
        let ended = send(service.clone(), request, plan.polls).await;
        if let Ended::Answer { cause: Some(cause), headers, body, status, .. } = &ended {
            texts.push(format!("{cause:?} {cause} {}", FailureError::new(*cause, *status)));
            if cause.origin == Origin::Local {
                texts.push(format!("{headers:?} {}", String::from_utf8_lossy(body)));
            }
        }
    }
    texts.extend(
        recorder.events().iter().flat_map(|event| [format!("{event:?}"), event.to_string()]),
    );
    texts.push(format!("{:?}", builder()));
    texts.extend(printed(world, &pools[0], &reporter, &upstream));
    texts.push(String::from_utf8_lossy(&output.0.lock().unwrap()).into_owned());
    texts
}

proptest! {
    #[test]
    fn i09_secrets_stay_in(
        world in world(),
        stack in rotating(),
        secrets in proptest::collection::vec("[A-Za-z0-9+/_.~-]{16,40}", 1..4),
        script in proptest::collection::vec(
            (proptest::sample::select(vec![0_u16, 0, 400, 401, 401, 402, 403, 404, 429, 500, 503, 529, 200]), 0..5_usize),
            1..6,
        ),
    ) {
        let stack = of_one_pool(stack);
        let output = Output::default();
        let writer = output.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        let texts = tracing::subscriber::with_default(subscriber, || {
            paused(texts(&world, &stack, &secrets, script, &output))
        });
        for text in texts {
            prop_assert_eq!(leak(&text, &secrets), None, "{}", text);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn i09_leaked_secret_is_detected() {
    let secret = ["abcdefghijklmnop+/".to_owned()];
    let request = Request::get("/").header("authorization", secret[0].as_str());
    let request = request.body(TestBody::default()).unwrap();
    for spelling in 0..5 {
        assert!(leak(&echo(&request, spelling), &secret).is_some(), "{spelling}");
    }
    assert_eq!(leak("abcdefg hijklmn", &secret), None);
    let echoes = service_fn(|_: Request<TestBody>| async { answer(String::new(), 200) });
    assert!(erase(echoes).oneshot(request).await.is_ok());
}
