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
use tower::ServiceExt;
use tower_failover::adapter::ReqwestService;

/// Answers each of so many requests 204, and gives their heads.
async fn serve(listener: TcpListener, requests: usize) -> Vec<String> {
    let mut heads = Vec::new();
    for _ in 0..requests {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
        socket.write_all(answer).await.unwrap();
        heads.push(String::from_utf8(head).unwrap());
    }
    heads
}

#[tokio::test]
async fn the_client_that_was_given_is_the_one_that_sends_and_that_is_given_back() {
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
