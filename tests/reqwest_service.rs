//! A `reqwest::Client` as a service, over a loopback socket.

#![cfg(feature = "reqwest")]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::Full;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tower::{Layer, ServiceExt};
use tower_failover::{
    Account, Credential, FailoverLayer, Pool, RetryPolicy, adapter::ReqwestService, pool::Selection,
};

/// An answer without a body.
const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";

/// Answers this many requests with 204, and returns their heads.
async fn serve(listener: TcpListener, requests: usize) -> Vec<String> {
    serve_with(listener, vec![NO_CONTENT.to_owned(); requests]).await
}

/// Answers one request with each of these, and returns the heads of the requests.
async fn serve_with(listener: TcpListener, answers: Vec<String>) -> Vec<String> {
    let mut heads = Vec::new();
    for answer in answers {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        socket.write_all(answer.as_bytes()).await.unwrap();
        heads.push(String::from_utf8(head).unwrap());
    }
    heads
}

#[tokio::test]
async fn given_client_sends_and_is_returned_by_into_inner() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/videos", listener.local_addr().unwrap());
    let mut headers = HeaderMap::new();
    headers.insert("x-client", HeaderValue::from_static("mine"));
    let client = reqwest::Client::builder().default_headers(headers).build().unwrap();
    let send = async {
        let service = ReqwestService::from(client);
        let request = Request::get(&uri).body(Full::<Bytes>::default()).unwrap();
        let answer = service.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 204);
        assert_eq!(service.into_inner().get(&uri).send().await.unwrap().status(), 204);
    };
    let (heads, ()) = tokio::join!(serve(listener, 2), send);
    for head in heads {
        assert!(head.starts_with("GET /videos ") && head.contains("x-client: mine"), "{head}");
    }
}

/// An answer with this body.
fn ok(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    (listener, origin)
}

fn request(uri: &str) -> Request<Full<Bytes>> {
    Request::get(uri).body(Full::default()).unwrap()
}

#[tokio::test]
async fn answer_keeps_its_url() {
    let (listener, origin) = listener().await;
    let uri = format!("{origin}/videos?page=2#end");
    let send = async {
        let service = ReqwestService::new(reqwest::Client::new());
        reqwest::Response::from(service.oneshot(request(&uri)).await.unwrap())
    };
    let (_, answer) = tokio::join!(serve(listener, 1), send);
    assert_eq!(
        answer.url().as_str(),
        format!("{origin}/videos?page=2"),
        "without the fragment, as in http::Uri"
    );
}

/// The URL of the answer is the redirect target, not the URL of the request.
#[tokio::test]
async fn answer_after_a_redirect_has_the_url_of_its_target() {
    let (listener, origin) = listener().await;
    let moved = "HTTP/1.1 302 Found\r\nlocation: /films\r\nconnection: close\r\n\r\n";
    let answers = vec![moved.to_owned(), NO_CONTENT.to_owned()];
    let uri = format!("{origin}/videos");
    let send = async {
        let service = ReqwestService::new(reqwest::Client::new());
        reqwest::Response::from(service.oneshot(request(&uri)).await.unwrap())
    };
    let (_, answer) = tokio::join!(serve_with(listener, answers), send);
    assert_eq!(answer.url().as_str(), format!("{origin}/films"));
}

/// A pool with one account for this origin, which counts requests in flight.
fn pool(origin: &str) -> Pool {
    Pool::builder()
        .account(Account::new("alice", Credential::bearer("token-of-alice").unwrap()))
        .origins([origin])
        .selection(Selection::LeastInFlight)
        .build()
        .unwrap()
}

#[tokio::test]
async fn answer_of_a_layer_converts_into_a_response_of_reqwest() {
    let (listener, origin) = listener().await;
    let pool = pool(&origin);
    let failover = FailoverLayer::builder().rotation(pool.clone()).retry(RetryPolicy::new());
    let service = failover.build().unwrap().layer(ReqwestService::new(reqwest::Client::new()));
    let uri = format!("{origin}/videos");
    let busy = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\nconnection: close\r\n\r\n";
    let send = async {
        let answer = service.clone().oneshot(request(&uri)).await.unwrap();
        let answer = reqwest::Response::from(answer);
        assert_eq!((answer.status().as_u16(), answer.url().as_str()), (200, uri.as_str()));
        assert_eq!(pool.view().accounts[0].in_flight, 1, "the body is still to be read");
        assert_eq!(answer.text().await.unwrap(), "a film");
        assert_eq!(pool.view().accounts[0].in_flight, 0);
    };
    let (heads, ()) = tokio::join!(serve_with(listener, vec![busy.to_owned(), ok("a film")]), send);
    assert_eq!(heads.len(), 2);

    pool.retire("alice");
    let answer = reqwest::Response::from(service.oneshot(request(&uri)).await.unwrap());
    assert_eq!(answer.status(), 401, "a local answer converts too");
    assert_eq!(answer.url().host_str(), Some("no.url.provided.local"), "reqwest has no URL for it");
    assert!(answer.text().await.unwrap().contains("title"));
}

#[cfg(feature = "oauth")]
#[tokio::test]
async fn reqwest_client_fetches_tokens() {
    use tower_failover::credential::{OAuthClient, OAuthHttp, RefreshReason, TokenSource};

    let (listener, origin) = listener().await;
    let uri = format!("{origin}/token");
    let send = async {
        let client = reqwest::Client::new();
        for http in [OAuthHttp::from(client.clone()), ReqwestService::new(client).into()] {
            let source = OAuthClient::new(uri.as_str(), "id", "s3cr3t", http).unwrap();
            source.token(RefreshReason::First).await.unwrap();
        }
    };
    let token = ok(r#"{"access_token": "token-of-alice", "token_type": "Bearer"}"#);
    let (heads, ()) = tokio::join!(serve_with(listener, vec![token; 2]), send);
    for head in heads {
        assert!(
            head.starts_with("POST /token ") && head.contains("authorization: Basic "),
            "{head}"
        );
    }
}
