//! `replay_body.json`: the bodies of repeated attempts.

use std::pin::pin;

use bytes::Bytes;
use http_body::Body;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt};
use tower_failover::{TokenRotationLayer, body::ReplayBody, report::NotResent, testing::Replays};

use crate::{
    expect::Expect,
    rig::paused,
    support::{
        Recorder,
        cases::{self, Excused, Outcome},
        frames::{Beat, Frames},
        pool,
        sink::{Read, Received, Sink, receive},
        upstream::now,
    },
};

const EXCUSED: &[Excused] = &[(
    "replay_body.buffered-too-large",
    "DESIGN §6: above the cap a body is sent once, whole; it is never an error",
)];

#[test]
fn body_is_replayed_unchanged() {
    cases::check("replay_body.json", EXCUSED, &[], holds);
}

type Original = std::pin::Pin<Box<Frames>>;

/// Builds the body of a case.
fn body(case: &Value) -> Original {
    let beats = case["request"]["frames"].as_array().unwrap().iter().map(|frame| {
        match (frame["data"].as_str(), frame["trailers"].as_object()) {
            (Some(data), None) => Beat::Data(Bytes::copy_from_slice(data.as_bytes())),
            (None, Some(trailers)) => Beat::Trailers(
                trailers
                    .iter()
                    .map(|(name, value)| {
                        (name.parse().unwrap(), value.as_str().unwrap().parse().unwrap())
                    })
                    .collect::<http::HeaderMap>(),
            ),
            _ => panic!("no such frame: {frame}"),
        }
    });
    let beats: Vec<_> = beats.collect();
    let length = |beat: &Beat| if let Beat::Data(data) = beat { data.len() as u64 } else { 0 };
    Box::pin(if case["config"]["size_known"] == true {
        Frames::of_length(beats.iter().map(length).sum(), beats)
    } else {
        Frames::new(beats)
    })
}

fn holds(case: &Value) -> Outcome {
    for (member, _) in case["config"].as_object().unwrap() {
        assert!(["max_bytes", "size_known", "kind"].contains(&member.as_str()), "{member}");
    }
    let cap = usize::try_from(case["config"]["max_bytes"].as_u64().unwrap()).unwrap();
    let steps: Vec<_> = case["request"]["steps"].as_array().unwrap().iter().collect();
    let steps: Vec<_> = steps.into_iter().map(|step| step.as_str().unwrap()).collect();
    let mut expect = Expect::of(case);
    let results = if steps[0].starts_with("attempt 1:") {
        attempts(case, cap, &steps)
    } else {
        stepped(case, cap, &steps)
    };
    expect.is("results", results?);
    expect.end()
}

/// Returns the body of an attempt, without a layer.
fn stepped(case: &Value, cap: usize, steps: &[&str]) -> Result<Vec<Value>, String> {
    let (first, kept) = Replays::of(body(case), cap).ok_or("it waits for a body that is there")?;
    let kept = match kept {
        Ok(kept) => kept,
        // No error: the body is sent once.
        Err(NotResent::TooLarge) if steps == ["construct"] => {
            return Ok(vec![json!("error:too-large")]);
        }
        Err(why) => return Err(format!("not kept: {why}")),
    };
    // A body with a replaced model is in one piece.
    let mut one = (case["config"]["kind"] == "buffer").then(|| kept.in_one_piece::<Original>());
    let mut first = Some(first);
    let mut results = Vec::new();
    for step in steps {
        let (who, what) = step.split_once(": ").unwrap_or(("", step));
        results.push(match (who, what) {
            ("", "construct") => json!("ok"),
            ("", what) => perform(one.as_mut().ok_or("no such body")?, what)?,
            ("initial", what) => perform(&mut first.take().ok_or("it is gone")?, what)?,
            (_, what) => perform(&mut kept.again::<Original>(), what)?,
        });
    }
    Ok(results)
}

/// Performs this action on a body.
fn perform(body: &mut ReplayBody<Original>, what: &str) -> Result<Value, String> {
    let mut body = pin!(body);
    Ok(match what {
        "read all" => received_json(&now(receive(body, Read::All))),
        "read one frame" | "read one frame, drop" => {
            received_json(&now(receive(body, Read::Frames(1))))
        }
        "is_end_stream" => json!(body.as_mut().is_end_stream()),
        "size_hint" => {
            let hint = body.size_hint();
            json!({"lower": hint.lower(), "upper": hint.upper()})
        }
        "drop unpolled" => Value::Null,
        other => return Err(format!("no driver for {other}")),
    })
}

fn received_json(received: &Received) -> Value {
    received.check_claims();
    let trailers = received.trailers.as_ref().map(|trailers| {
        let pair = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (name.to_string(), json!(value.to_str().unwrap()))
        };
        trailers.iter().map(pair).collect::<serde_json::Map<_, _>>()
    });
    json!({"data": String::from_utf8_lossy(&received.data), "trailers": trailers})
}

/// Sends complete attempts through a layer.
fn attempts(case: &Value, cap: usize, steps: &[&str]) -> Result<Vec<Value>, String> {
    if steps != ["attempt 1: upstream reads nothing, 401", "attempt 2: upstream reads all"] {
        return Err(format!("no driver for {steps:?}"));
    }
    paused(async {
        let sink = Sink::<ReplayBody<Original>>::script([(Read::Frames(0), 401)]);
        let accounts = pool(&["a", "b"], &Recorder::new());
        let layer = TokenRotationLayer::new(accounts).buffered(cap);
        let request = http::Request::post("https://api.example.com/").body(body(case)).unwrap();
        let answer = layer.layer(sink.clone()).oneshot(request).await;
        answer.map_err(|error| error.to_string())?;
        match &sink.received()[..] {
            [first, second] if first.pieces == 0 => {
                Ok(vec![json!({"status": 401}), received_json(second)])
            }
            other => Err(format!("{other:?}")),
        }
    })
}
