//! async-openai's client, over its tower hook. It always sends an `Authorization` of its own, which
//! the pool replaces.

use std::sync::Arc;

use async_openai::{
    Client, config::OpenAIConfig, error::OpenAIError, middleware::HttpRequestFactory,
    types::chat::CreateChatCompletionRequest,
};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, channel::Channel};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_failover::{
    Cause, Code, Failover,
    adapter::{FailureToErrLayer, ReqwestService},
    body::Buffered,
    classify::FailureError,
    pool::OwnCredential,
    short_circuit::AuthFailureMode,
};
use tower_failover_compat::{Body, CAP, FILM, Rig, Upstream, answer, text, within_a_minute};

/// Builds an SDK client that sends through this service. The bounds fit any stack of layers.
fn sdk<S, B>(rig: &Rig, service: S) -> Client<OpenAIConfig>
where
    S: Service<Request<reqwest::Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Into<reqwest::Body>,
    OpenAIError: From<S::Error>,
{
    // The adapter.
    let service = service_fn(move |factory: HttpRequestFactory| {
        let service = service.clone();
        async move {
            let request: Request<reqwest::Body> = factory.build().await?.try_into()?;
            let answer = service.oneshot(request).await?;
            Ok::<_, OpenAIError>(reqwest::Response::from(answer))
        }
    });
    let config = OpenAIConfig::new().with_api_base(rig.upstream.at("/v1")).with_api_key("mine");
    Client::with_config(config).with_http_service(service)
}

fn reqwest() -> ReqwestService {
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .build();
    ReqwestService::new(client.unwrap())
}

async fn rig() -> Rig {
    let upstream = Upstream::serving(complete).await;
    Rig::with(upstream, |pool| pool.own_credential(OwnCredential::Replace))
}

/// Answers a chat with the text of its last message.
async fn complete(request: Request<Incoming>) -> Response<Body> {
    assert_eq!(request.uri().path(), "/v1/chat/completions");
    assert!(request.headers().contains_key(header::CONTENT_LENGTH), "the body does not stream");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let message = json!({ "role": "assistant", "content": body["messages"][0]["content"] });
    let choice = json!({ "index": 0, "message": message, "finish_reason": "stop" });
    let made = completion("chat.completion", &choice);
    answer(StatusCode::OK, text(made.to_string()))
}

fn completion(object: &str, choice: &Value) -> Value {
    json!({ "id": "1", "object": object, "created": 0, "model": "large", "choices": [choice] })
}

fn question() -> CreateChatCompletionRequest {
    let messages = json!([{ "role": "user", "content": FILM }]);
    serde_json::from_value(json!({ "model": "large", "messages": messages })).unwrap()
}

/// Converts a local answer to the form of OpenAI's errors, which the SDK reads.
fn openai_error(cause: &Cause) -> Option<Response<Bytes>> {
    let code = cause.code;
    let error = json!({ "message": code.message(), "type": "failover", "code": code.as_str() });
    let answer = Response::builder().status(code.status());
    answer.body(json!({ "error": error }).to_string().into()).ok()
}

/// Returns the status of the answer to one question; a success must contain the question.
async fn send_question(client: &Client<OpenAIConfig>) -> u16 {
    match client.chat().create(question()).await {
        Ok(made) => {
            assert_eq!(made.choices[0].message.content.as_deref(), Some(FILM));
            200
        }
        Err(OpenAIError::ApiError(error)) => {
            assert_eq!(error.api_error.code.as_deref(), Some("credential_invalid"));
            error.status_code.as_u16()
        }
        Err(other) => panic!("{other:?}"),
    }
}

fn fused(rig: &Rig) -> Failover<ReqwestService, Buffered> {
    let failover = rig.fused().buffered(CAP);
    // The SDK reads the body of a 401 as an error of OpenAI's.
    let failover = failover.auth_failure(AuthFailureMode::Replace).local_answer(openai_error);
    failover.build().unwrap().layer(reqwest())
}

#[tokio::test]
async fn fused_layer_serves_the_sdk() {
    let mut rig = rig().await;
    let client = sdk(&rig, fused(&rig));
    rig.check_failover(async || send_question(&client).await).await;
}

#[tokio::test]
async fn separate_layers_serve_the_sdk() {
    let mut rig = rig().await;
    let rotation = rig.rotation().auth_failure(AuthFailureMode::Replace).local_answer(openai_error);
    let stack = ServiceBuilder::new()
        .layer(rig.dedup())
        .layer(rig.models().buffered(CAP))
        .layer(rig.retry().buffered(CAP))
        .layer(rotation.buffered(CAP))
        .layer(rig.gate())
        .service(reqwest());
    let client = sdk(&rig, stack);
    rig.check_failover(async || send_question(&client).await).await;
}

#[tokio::test]
async fn failure_is_a_typed_error_of_the_sdk() {
    let rig = rig().await;
    let failover = rig.fused().buffered(CAP).build().unwrap();
    let stack = ServiceBuilder::new()
        .layer(FailureToErrLayer::new())
        .layer(failover)
        .map_err(BoxError::from)
        .service(reqwest());
    let client = sdk(&rig, stack);
    assert_eq!(within_a_minute(send_question(&client)).await, 200);
    rig.pool.retire("alice");
    rig.pool.retire("bob");
    let error = within_a_minute(client.chat().create(question())).await.unwrap_err();
    let OpenAIError::Boxed(error) = error else { panic!("{error:?}") };
    let failure = error.downcast_ref::<FailureError>().unwrap();
    assert_eq!((failure.status().as_u16(), failure.cause().code), (401, Code::CredentialInactive));
    assert_eq!(rig.upstream.tokens(), ["token-of-alice"], "no call for the second request");
}

/// The first event arrives while the upstream still holds back the second one.
#[tokio::test]
async fn stream_of_events_is_passed_through_without_delay() {
    let go_on = Arc::new(Notify::new());
    let wait = Arc::clone(&go_on);
    let upstream = Upstream::serving(move |_| {
        let wait = Arc::clone(&wait);
        async move {
            let (mut events, body) = Channel::new(1);
            tokio::spawn(async move {
                for event in [chunk("a "), chunk("film"), "[DONE]".to_owned()] {
                    events.send_data(format!("data: {event}\n\n").into()).await.unwrap();
                    wait.notified().await;
                }
            });
            let mut answer = answer(StatusCode::OK, body.boxed());
            let events = "text/event-stream".parse().unwrap();
            answer.headers_mut().insert(header::CONTENT_TYPE, events);
            answer
        }
    })
    .await;
    let rig = Rig::with(upstream, |pool| pool.own_credential(OwnCredential::Replace));
    let client = sdk(&rig, fused(&rig));
    rig.upstream.reject("token-of-alice");
    let chat = client.chat();
    let mut stream = within_a_minute(chat.create_stream(question())).await.unwrap();
    assert_eq!(rig.upstream.tokens(), ["token-of-alice", "token-of-bob"]);
    for expected in ["a ", "film"] {
        let event = within_a_minute(stream.next()).await.unwrap().unwrap();
        assert_eq!(event.choices[0].delta.content.as_deref(), Some(expected));
        go_on.notify_one();
    }
    assert!(within_a_minute(stream.next()).await.is_none(), "the stream ends");
}

fn chunk(content: &str) -> String {
    let choice = json!({ "index": 0, "delta": { "content": content } });
    completion("chat.completion.chunk", &choice).to_string()
}
