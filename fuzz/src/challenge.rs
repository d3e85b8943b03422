//! The challenges of a `WWW-Authenticate` line, against a naive reader of lines without quotes.

use std::time::SystemTime;

use http::{HeaderValue, Response, StatusCode, header::WWW_AUTHENTICATE};
use tower_failover::{
    Classifier, Verdict,
    fuzzing::{Challenge, challenges},
};

/// # Panics
///
/// If a line is read differently from how it was written.
pub fn run(line: &[u8]) {
    let found = challenges(line);
    if !line.contains(&b'"') {
        assert_eq!(found, plain(line), "{:?}", String::from_utf8_lossy(line));
    }
    if let Some(found) = &found {
        let written = written(found);
        assert_eq!(challenges(written.as_bytes()).as_ref(), Some(found), "{written}");
    }
    classified(line);
}

/// For any challenge, a 401 rejects the credential and a 200 does not.
fn classified(line: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(line) else { return };
    for status in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::OK] {
        let answer = Response::builder().status(status).header(WWW_AUTHENTICATE, &value).body(());
        let (head, ()) = answer.expect("an answer").into_parts();
        let verdict = Classifier::default().classify(&head, None, SystemTime::UNIX_EPOCH);
        match status {
            StatusCode::UNAUTHORIZED => assert!(verdict.is_unauthorized(), "{verdict:?}"),
            StatusCode::OK => assert_eq!(verdict, Verdict::Success),
            _ => {}
        }
    }
}

/// Writes a line that is read as these challenges.
fn written(challenges: &[Challenge]) -> String {
    let elements = challenges.iter().map(|one| {
        let quoted = |value: &str| value.replace('\\', r"\\").replace('"', "\\\"");
        let params = one.params.iter().map(|(name, value)| format!("{name}=\"{}\"", quoted(value)));
        let parts: Vec<_> = one.token68.clone().into_iter().chain(params).collect();
        format!("{} {}", one.scheme, parts.join(", "))
    });
    elements.collect::<Vec<_>>().join(", ")
}

/// Reads the challenges of a line without quotes: all its commas are separators.
fn plain(line: &[u8]) -> Option<Vec<Challenge>> {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let token = |text: &[u8]| {
        let part = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        (!text.is_empty() && text.iter().all(part))
            .then(|| String::from_utf8_lossy(text).into_owned())
    };
    let param = |text: &[u8]| {
        let at = text.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (trimmed(&text[..at]), trimmed(&text[at + 1..]));
        // The text before the sign is one word.
        Some((token(name)?.to_ascii_lowercase(), token(value)?))
    };
    let token68 = |text: &[u8]| {
        let body = text.iter().rposition(|byte| *byte != b'=')?;
        let part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
        text[..=body].iter().all(part).then(|| String::from_utf8_lossy(text).into_owned())
    };
    let mut found: Vec<Challenge> = Vec::new();
    for element in line.split(|byte| *byte == b',').map(trimmed) {
        if element.is_empty() {
            continue;
        }
        if let (Some(challenge), Some(param)) = (found.last_mut(), param(element)) {
            challenge.params.push(param);
            continue;
        }
        let end = element.iter().position(blank).unwrap_or(element.len());
        let (scheme, rest) = element.split_at(end);
        let rest = trimmed(rest);
        // After a challenge, a word and a sign can only be a parameter.
        if !found.is_empty() && rest.starts_with(b"=") {
            return None;
        }
        let mut challenge = Challenge { scheme: token(scheme)?, params: Vec::new(), token68: None };
        match token68(rest) {
            _ if rest.is_empty() => {}
            Some(token68) => challenge.token68 = Some(token68),
            None => challenge.params.push(param(rest)?),
        }
        found.push(challenge);
    }
    Some(found)
}

fn trimmed(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text.iter().position(|byte| !blank(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !blank(byte)).map_or(start, |at| at + 1);
    &text[start..end]
}
