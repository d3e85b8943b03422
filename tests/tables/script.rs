//! Builds the upstreams and requests of a case.

use std::time::{Duration, SystemTime};

use http::Request;
use serde_json::Value;
use tower_failover::RequestOptions;

use crate::support::{Step, Upstream, get, post, stack::Body, upstream::Play};

/// Builds one entry of an `upstream` list. Dates are shifted so that the case's `now` is the
/// present.
pub(crate) fn step(entry: &Value, now: Option<SystemTime>) -> Step {
    for (member, _) in entry.as_object().expect("an entry is an object") {
        let known = ["status", "headers", "body", "error", "after_ms"];
        assert!(known.contains(&member.as_str()), "no step does `{member}`");
    }
    let step = match (entry["error"].as_str(), entry["status"].as_u64()) {
        (Some("cancelled-by-caller"), _) => Step::hang(),
        (Some(kind), _) => Step::error(kind),
        (None, Some(status)) => {
            let mut headers: Vec<_> = entry["headers"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.clone(), moved(value.as_str().unwrap(), now)))
                .collect();
            let body = match &entry["body"] {
                Value::Null => String::new(),
                json => {
                    headers.push(("content-type".into(), "application/json".into()));
                    json.to_string()
                }
            };
            let status = u16::try_from(status).unwrap();
            Step::play(Play::Answer { status, headers, body: body.into() })
        }
        (None, None) => panic!("{entry} does nothing"),
    };
    step.after(Duration::from_millis(entry["after_ms"].as_u64().unwrap_or(0)))
}

#[allow(clippy::disallowed_methods, reason = "the layers read the wall clock for dates")]
fn moved(value: &str, now: Option<SystemTime>) -> String {
    match (now, httpdate::parse_http_date(value)) {
        (Some(now), Ok(date)) => {
            let ahead = date.duration_since(now).expect("a date after now");
            httpdate::fmt_http_date(SystemTime::now() + ahead)
        }
        _ => value.to_owned(),
    }
}

pub(crate) fn steps(list: &Value, now: Option<SystemTime>) -> Vec<Step> {
    list.as_array().into_iter().flatten().map(|entry| step(entry, now)).collect()
}

/// Builds the upstream of a case. Entries of `by_request` are played for their request: see
/// [`scripts`].
pub(crate) fn upstream(case: &Value) -> Upstream {
    let script = &case["upstream"];
    let now = case["config"]["now"].as_str().map(|now| humantime::parse_rfc3339(now).unwrap());
    let mut upstream = Upstream::script(steps(script, now));
    for (token, list) in script["by_token"].as_object().into_iter().flatten() {
        upstream = upstream.token(token, steps(list, now));
    }
    upstream
}

/// Returns a script for each request, if the case has them.
pub(crate) fn scripts(case: &Value) -> Vec<Vec<Step>> {
    let lists = case["upstream"]["by_request"].as_array();
    lists.into_iter().flatten().map(|list| steps(list, None)).collect()
}

/// Builds the requests of a case in order, GET by default.
pub(crate) fn requests(case: &Value) -> Vec<Request<Body>> {
    let spec = case["request"].as_object().expect("a case has a request");
    for (member, _) in spec {
        let known = [
            "method",
            "idempotent",
            "count",
            "sessions",
            "headers",
            "cloneable",
            "report_layers",
            "stream",
            "session",
            "body",
        ];
        assert!(known.contains(&member.as_str()), "no request has `{member}`");
    }
    let spec = &case["request"];
    let method = spec["method"].as_str().unwrap_or("GET");
    let idempotent = spec["idempotent"].as_bool().unwrap_or(method == "GET");
    assert_eq!(idempotent, method == "GET", "a request is as idempotent as its method");
    let one = |session: Option<&Value>| {
        let mut request = if idempotent { get() } else { post() };
        if let Some(session) = session {
            let options = RequestOptions::new().sticky(session.as_str().unwrap());
            request.extensions_mut().insert(options);
        }
        for (name, value) in spec["headers"].as_object().into_iter().flatten() {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.as_str().unwrap().parse().unwrap());
        }
        request
    };
    if let Some(sessions) = spec["sessions"].as_array() {
        return sessions.iter().map(|session| one(Some(session))).collect();
    }
    let scripts = scripts(case).len().max(1) as u64;
    let session = spec.get("session");
    (0..spec["count"].as_u64().unwrap_or(scripts))
        .map(|_| match spec["body"].as_str() {
            Some(body) => one(session).map(|_| Body::from(body.to_owned())),
            None => one(session),
        })
        .collect()
}
