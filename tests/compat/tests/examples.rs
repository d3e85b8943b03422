//! The examples of this folder, against an upstream on a real socket.

use http::{Request, StatusCode, header::HeaderValue};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::json;
use tower_failover_compat::{Body, Upstream, answer, client, text, within_a_minute};

// `main` is unused: it reads the environment, which is not set here.
#[allow(dead_code)]
mod axum_proxy {
    include!("../examples/axum_proxy.rs");

    /// Serves the proxy and returns its origin.
    pub(super) async fn serve(url: &str) -> String {
        let router = router(url, "token-of-team", "token-of-reserve").unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        origin
    }
}
#[allow(dead_code)]
mod tonic_channel {
    include!("../examples/tonic_channel.rs");

    pub(super) async fn run(url: &str) -> Result<&'static str, BoxError> {
        check(url, "token-of-team", "token-of-reserve").await
    }
}
#[allow(dead_code)]
mod sdk_async_openai {
    include!("../examples/sdk_async_openai.rs");

    pub(super) async fn run(url: &str) -> Option<String> {
        let client = client(url, "token-of-team", "token-of-reserve").unwrap();
        let question =
            json!({ "model": "m", "messages": [{ "role": "user", "content": "Hello!" }] });
        let question: CreateChatCompletionRequest = serde_json::from_value(question).unwrap();
        let answer = client.chat().create(question).await.unwrap();
        answer.choices[0].message.content.clone()
    }
}

/// Posts through the proxy with a credential of the caller; returns the status and text of the
/// answer.
async fn post(origin: &str) -> (u16, String) {
    let request = Request::post(format!("{origin}/videos?page=2"))
        .header("authorization", "Bearer login-of-the-caller")
        .body(Full::from("a film"))
        .unwrap();
    let answer = within_a_minute(client().request(request)).await.unwrap();
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), String::from_utf8(body.into()).unwrap())
}

#[tokio::test]
async fn axum_proxy_uses_the_reserve_then_answers_502() {
    let upstream = Upstream::echo().await;
    let origin = axum_proxy::serve(upstream.origin()).await;
    upstream.reject("token-of-team");
    assert_eq!(post(&origin).await, (200, "a film".to_owned()));
    let sent = upstream.sent();
    assert_eq!(sent[1].token, "token-of-reserve");
    assert_eq!(sent[1].path, "/videos?page=2");
    upstream.reject("token-of-reserve");
    let bad_gateway = (502, "The provider does not accept our credentials.\n".to_owned());
    assert_eq!(post(&origin).await, bad_gateway, "the answer of the upstream");
    assert_eq!(upstream.tokens(), ["token-of-reserve"]);
    assert_eq!(post(&origin).await, bad_gateway, "a local answer");
    assert_eq!(upstream.tokens(), [""; 0]);
}

/// Answers a health check with a message whose one field reports the service as up.
async fn check(request: Request<Incoming>) -> http::Response<Body> {
    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
    let trailers = [("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))];
    let trailers = async { Some(Ok(http::HeaderMap::from_iter(trailers))) };
    let body = text(&[0, 0, 0, 0, 2, 8, 1][..]).with_trailers(trailers).boxed();
    let mut answer = answer(StatusCode::OK, body);
    answer.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    answer
}

#[tokio::test]
async fn tonic_channel_uses_the_reserve_and_retries() {
    let upstream = Upstream::serving(check).await;
    upstream.reject("token-of-team");
    upstream.next(&[503]);
    assert_eq!(within_a_minute(tonic_channel::run(upstream.origin())).await.unwrap(), "SERVING");
    let reserve = "token-of-reserve";
    assert_eq!(upstream.tokens(), ["token-of-team", reserve, reserve]);
}

#[tokio::test]
async fn sdk_async_openai_sends_with_a_token_of_the_pool() {
    let upstream = Upstream::serving(|_| async {
        let message = json!({ "role": "assistant", "content": "Hello." });
        let choice = json!({ "index": 0, "message": message, "finish_reason": "stop" });
        let made = json!({
            "id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice],
        });
        answer(StatusCode::OK, text(made.to_string()))
    })
    .await;
    upstream.reject("token-of-team");
    assert_eq!(
        within_a_minute(sdk_async_openai::run(upstream.origin())).await.as_deref(),
        Some("Hello.")
    );
    assert_eq!(upstream.tokens(), ["token-of-team", "token-of-reserve"]);
}
