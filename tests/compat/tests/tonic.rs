//! A tonic channel: unary calls, and streams in either direction.

use bytes::{Buf, BufMut};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Request, StatusCode, uri::PathAndQuery};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tonic::{
    Code, Status,
    body::Body,
    client::{Grpc, GrpcService},
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};
use tower::Layer;
use tower_failover::body::ReplayBody;
use tower_failover_compat::{CAP, Rig, Upstream, answer, separate, text, within_a_minute};

/// A codec of text messages.
#[derive(Clone, Copy, Default)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, item: String, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(item.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        let text = String::from_utf8(bytes.into()).map_err(|e| Status::internal(e.to_string()))?;
        Ok(Some(text))
    }
}

/// Echoes each message as it arrives, or three times for `Thrice`.
async fn serve(request: Request<Incoming>) -> http::Response<tower_failover_compat::Body> {
    async fn done() -> Option<Result<HeaderMap, hyper::Error>> {
        Some(Ok(HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            HeaderValue::from_static("0"),
        )])))
    }
    let thrice = request.uri().path().ends_with("/Thrice");
    let body = if thrice {
        let message = request.into_body().collect().await.unwrap().to_bytes();
        text(message.repeat(3)).with_trailers(done()).boxed()
    } else {
        request.into_body().with_trailers(done()).boxed()
    };
    let mut answer = answer(StatusCode::OK, body);
    answer.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    answer
}

async fn rig() -> (Rig, Channel) {
    let rig = Rig::new(Upstream::serving(serve).await);
    let channel = Channel::from_shared(rig.upstream.origin().to_owned()).unwrap().connect_lazy();
    (rig, channel)
}

/// Builds the fused layer with all stages.
macro_rules! fused {
    ($rig:ident, $channel:ident) => {{
        let failover = $rig.fused().buffered_as(CAP, Body::new::<ReplayBody<Body>>);
        failover.build().unwrap().layer($channel)
    }};
}

/// Returns the HTTP status for a gRPC answer.
fn status<T>(answer: &Result<T, Status>) -> u16 {
    match answer.as_ref().map_err(Status::code) {
        Ok(_) => 200,
        Err(Code::Unauthenticated) => 401,
        Err(other) => panic!("{other:?}"),
    }
}

async fn ready<T>(channel: T) -> Grpc<T>
where
    T: GrpcService<Body>,
    T::Error: std::fmt::Debug,
{
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    grpc
}

async fn unary<T>(channel: T) -> u16
where
    T: GrpcService<Body>,
    T::Error: std::fmt::Debug,
    T::ResponseBody: Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<tower::BoxError>,
{
    let path = PathAndQuery::from_static("/test.Echo/Once");
    let request = tonic::Request::new("a film".to_owned());
    let answer = ready(channel).await.unary(request, path, Text).await;
    if let Ok(answer) = &answer {
        assert_eq!(answer.get_ref(), "a film");
    }
    status(&answer)
}

async fn server_stream<T>(channel: T) -> u16
where
    T: GrpcService<Body>,
    T::Error: std::fmt::Debug,
    T::ResponseBody: Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<tower::BoxError>,
{
    let path = PathAndQuery::from_static("/test.Echo/Thrice");
    let request = tonic::Request::new("a film".to_owned());
    let answer = ready(channel).await.server_streaming(request, path, Text).await;
    let status = status(&answer);
    if let Ok(answer) = answer {
        let messages: Vec<_> = answer.into_inner().map(Result::unwrap).collect().await;
        assert_eq!(messages, ["a film"; 3]);
    }
    status
}

/// Sends messages that exist before the call and can be resent.
async fn both_streams<T>(channel: T) -> u16
where
    T: GrpcService<Body>,
    T::Error: std::fmt::Debug,
    T::ResponseBody: Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<tower::BoxError>,
{
    let path = PathAndQuery::from_static("/test.Echo/Each");
    let request = tonic::Request::new(stream::iter(["one", "two"].map(str::to_owned)));
    let answer = ready(channel).await.streaming(request, path, Text).await;
    let status = status(&answer);
    if let Ok(answer) = answer {
        let messages: Vec<_> = answer.into_inner().map(Result::unwrap).collect().await;
        assert_eq!(messages, ["one", "two"]);
    }
    status
}

/// Sends each message after the answer to the previous one; returns the number of answers.
async fn conversation<T>(channel: T) -> Result<usize, Status>
where
    T: GrpcService<Body>,
    T::Error: std::fmt::Debug,
    T::ResponseBody: Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<tower::BoxError>,
{
    let path = PathAndQuery::from_static("/test.Echo/Each");
    let (to, messages) = tokio::sync::mpsc::channel::<String>(1);
    let messages =
        stream::unfold(messages, |mut messages| async { Some((messages.recv().await?, messages)) });
    let request = tonic::Request::new(messages);
    let answer = ready(channel).await.streaming(request, path, Text).await?;
    let (mut answers, mut echoed) = (answer.into_inner(), 0);
    for word in ["one", "two", "three"] {
        to.send(word.to_owned()).await.unwrap();
        assert_eq!(answers.message().await?.as_deref(), Some(word));
        echoed += 1;
    }
    drop(to);
    assert_eq!(answers.message().await?, None);
    Ok(echoed)
}

/// Defines tests of one kind of call, with fused and separate layers.
macro_rules! check_failover {
    ($($fused:ident, $separate:ident: $call:ident;)*) => { $(
        #[tokio::test]
        async fn $fused() {
            let (mut rig, channel) = rig().await;
            let service = fused!(rig, channel);
            rig.check_failover(async || $call(service.clone()).await).await;
        }

        #[tokio::test]
        async fn $separate() {
            let (mut rig, channel) = rig().await;
            let service = separate!(rig, channel, .buffered_as(CAP, Body::new::<ReplayBody<Body>>));
            rig.check_failover(async || $call(service.clone()).await).await;
        }
    )* };
}

check_failover! {
    unary_fused, unary_separate: unary;
    server_stream_fused, server_stream_separate: server_stream;
    both_streams_fused, both_streams_separate: both_streams;
}

/// Checks that no message waits for the end of the stream, and that the stream is sent once.
async fn converses<T>(mut rig: Rig, service: T)
where
    T: GrpcService<Body> + Clone,
    T::Error: std::fmt::Debug,
    T::ResponseBody: Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<tower::BoxError>,
{
    assert_eq!(within_a_minute(conversation(service.clone())).await.unwrap(), 3);
    assert_eq!(rig.upstream.tokens(), ["token-of-alice"]);
    rig.upstream.reject("token-of-alice");
    let rejected = within_a_minute(conversation(service.clone())).await.unwrap_err();
    assert_eq!(rejected.code(), Code::Unauthenticated);
    assert_eq!(rig.upstream.tokens(), ["token-of-alice"]);
    assert_eq!(rig.reported(), ["account_out", "request_failed"]);
    assert_eq!(within_a_minute(conversation(service)).await.unwrap(), 3, "bob serves the next");
    assert_eq!(rig.upstream.tokens(), ["token-of-bob"]);
}

#[tokio::test]
async fn conversation_is_sent_message_by_message() {
    let (rig, channel) = self::rig().await;
    let service = fused!(rig, channel);
    converses(rig, service).await;
    let (rig, channel) = self::rig().await;
    let service = separate!(rig, channel, .buffered_as(CAP, Body::new::<ReplayBody<Body>>));
    converses(rig, service).await;
}

/// The caller of a dead pool gets a gRPC status with the help text.
#[tokio::test]
async fn dead_pool_is_a_grpc_status() {
    let (rig, channel) = rig().await;
    let service = fused!(rig, channel);
    rig.pool.retire("alice");
    rig.pool.retire("bob");
    let path = PathAndQuery::from_static("/test.Echo/Once");
    let request = tonic::Request::new(String::new());
    let call = async { ready(service).await.unary(request, path, Text).await };
    let status = within_a_minute(call).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.message().contains("get new tokens in Settings"), "{status:?}");
    assert_eq!(rig.upstream.tokens(), [""; 0]);
}
