use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use ::http::{Request, Response, request};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};

use super::{client::OAuthClient, http::OAuthHttp, refresh::OAuthRefresh};
use crate::{
    classify::Reason,
    credential::{
        expiry::Expires,
        source::{RefreshReason, TokenSource},
    },
};

/// The requests that a token endpoint has received.
type Asked = Arc<Mutex<Vec<(request::Parts, String)>>>;

/// Builds an endpoint that gives these answers, one after the other.
fn endpoint(answers: &[(u16, &str)]) -> (OAuthHttp, Asked) {
    let asked = Asked::default();
    let answers: VecDeque<_> =
        answers.iter().map(|(status, body)| (*status, (*body).to_owned())).collect();
    let answers = Arc::new(Mutex::new(answers));
    let seen = asked.clone();
    let service = tower::service_fn(move |request: Request<Full<Bytes>>| {
        let (answers, seen) = (answers.clone(), seen.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            seen.lock().unwrap().push((head, String::from_utf8(body.to_vec()).unwrap()));
            let (status, body) = answers.lock().unwrap().pop_front().expect("one more answer");
            let answer = Response::builder().status(status).header("retry-after", "7");
            Ok::<_, Infallible>(answer.body(Full::<Bytes>::from(body)).unwrap())
        }
    });
    (OAuthHttp::new(service), asked)
}

fn forms(asked: &Asked) -> Vec<String> {
    asked.lock().unwrap().iter().map(|(_, form)| form.clone()).collect()
}

#[tokio::test]
async fn refresh_token_grant_follows_rfc_6749_6() {
    let (http, asked) = endpoint(&[(200, r#"{"access_token":"tok","expires_in":"90"}"#)]);
    let source = OAuthRefresh::new("https://auth.example.com/token", "r+1 &x", http).unwrap();
    let source = source.client("me:1", Some("p:w/d")).scope("a b").param("resource", "r");
    let token = source.token(RefreshReason::First).await.unwrap();
    assert_eq!(token.expose(), "tok");
    assert_eq!(token.expires, Expires::In(Duration::from_secs(90)));
    let (head, form) = asked.lock().unwrap().remove(0);
    assert_eq!(form, "grant_type=refresh_token&refresh_token=r%2B1%20%26x&scope=a%20b&resource=r");
    assert_eq!((head.method.as_str(), head.uri.path()), ("POST", "/token"));
    assert_eq!(head.headers["content-type"], "application/x-www-form-urlencoded");
    // Basic base64("me%3A1:p%3Aw%2Fd"), RFC 6749 §2.3.1.
    assert_eq!(head.headers["authorization"], "Basic bWUlM0ExOnAlM0F3JTJGZA==");
    assert!(head.headers["authorization"].is_sensitive());
    let shown = format!("{source:?}");
    assert!(!shown.contains("r+1") && !shown.contains("p:w/d"), "{shown}");
}

#[tokio::test]
async fn client_credentials_grant_follows_rfc_6749_4_4() {
    let (http, asked) = endpoint(&[(200, r#"{"access_token":"tok"}"#); 2]);
    let source = OAuthClient::new("https://auth.example.com/token", "me", "pw", http).unwrap();
    let source = source.scope("videos");
    let token = source.token(RefreshReason::First).await.unwrap();
    assert_eq!(token.expires, Expires::Unknown);
    source.clone().secret_in_body().token(RefreshReason::First).await.unwrap();
    assert_eq!(
        forms(&asked),
        [
            "grant_type=client_credentials&scope=videos",
            "grant_type=client_credentials&scope=videos&client_id=me&client_secret=pw",
        ]
    );
    assert!(!asked.lock().unwrap()[1].0.headers.contains_key("authorization"));
}

#[tokio::test]
async fn rotated_refresh_token_is_stored_before_the_new_token_is_used() {
    tokio::time::pause();
    let (http, asked) = endpoint(&[
        (200, r#"{"access_token":"t1","refresh_token":"r2","expires_in":60}"#),
        (200, r#"{"access_token":"t2","refresh_token":"r2"}"#),
        (200, r#"{"access_token":"t3","refresh_token":"r3"}"#),
    ]);
    let (kept, broken) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(2)));
    let (to, fails) = (kept.clone(), broken.clone());
    let source = OAuthRefresh::new("https://auth.example.com/token", "r1", http).unwrap();
    let source = source.store(move |refresh: String| {
        let (to, fails) = (to.clone(), fails.clone());
        async move {
            if *fails.lock().unwrap() > 0 {
                *fails.lock().unwrap() -= 1;
                return Err("the disk is full".into());
            }
            to.lock().unwrap().push(refresh);
            Ok(())
        }
    });
    // Until it is stored, no token is requested and none is returned.
    for _ in 0..2 {
        assert!(!source.token(RefreshReason::First).await.unwrap_err().is_terminal());
        tokio::time::advance(Duration::from_secs(10)).await;
    }
    let first = source.token(RefreshReason::First).await.unwrap();
    assert_eq!((first.expose(), &*kept.lock().unwrap()), ("t1", &vec!["r2".to_owned()]));
    assert_eq!(first.expires, Expires::In(Duration::from_secs(40)), "its lifetime was shortened");
    // Only a refresh token that differs is stored.
    assert_eq!(source.token(RefreshReason::Expiring).await.unwrap().expose(), "t2");
    assert_eq!(source.token(RefreshReason::Expiring).await.unwrap().expose(), "t3");
    assert_eq!(*kept.lock().unwrap(), ["r2", "r3"]);
    let used = ["r1", "r2", "r2"].map(|r| format!("grant_type=refresh_token&refresh_token={r}"));
    assert_eq!(forms(&asked), used);
}

#[tokio::test]
async fn invalid_grant_is_terminal_and_an_endpoint_that_is_down_is_not() {
    let (http, _) = endpoint(&[
        (503, r#"{"error":"invalid_grant"}"#),
        (400, r#"{"error":"invalid_grant","error_description":"r1 was revoked"}"#),
    ]);
    let source = OAuthRefresh::new("https://auth.example.com/token", "r1", http).unwrap();
    let down = source.token(RefreshReason::First).await.unwrap_err();
    assert_eq!((down.reason(), down.retry_after()), (None, Some(Duration::from_secs(7))));
    let over = source.token(RefreshReason::First).await.unwrap_err();
    assert_eq!(over.reason(), Some(Reason::Revoked));
    assert_eq!(over.to_string(), "the token endpoint says invalid_grant (400)");
}

#[tokio::test]
async fn unreachable_endpoint_or_long_response_is_transient() {
    let broken = tower::service_fn(|_: Request<Full<Bytes>>| async {
        Err::<Response<Full<Bytes>>, _>(std::io::Error::other("connection refused"))
    });
    let long = tower::service_fn(|_: Request<Full<Bytes>>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(vec![b' '; 70_000])))
    });
    for http in [OAuthHttp::new(broken), OAuthHttp::new(long)] {
        let source = OAuthClient::new("https://auth.example.com/token", "me", "pw", http).unwrap();
        let error = source.token(RefreshReason::First).await.unwrap_err();
        assert_eq!(error.to_string(), "the token endpoint was not reached");
        assert!(std::error::Error::source(&error).is_some() && !error.is_terminal());
    }
}

#[test]
fn bad_endpoint_uri_is_an_error() {
    for bad in ["", "/token", "auth.example.com/token"] {
        let (http, _) = endpoint(&[]);
        assert!(OAuthClient::new(bad, "me", "pw", http).is_err(), "{bad}");
    }
}
