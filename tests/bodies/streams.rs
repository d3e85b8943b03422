//! Real connections: streams in both directions at once, and trailers on the wire.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{io::DuplexStream, sync::mpsc, time::timeout};
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_failover::{
    FailoverLayer, RetryLayer, RetryPolicy, TokenRotationLayer, report::NotResent,
};

use crate::{
    body_plan::{Plan, data, paused},
    support::{Recorder, frames::Beat, pool, sink::Read, sink::receive},
};

/// Long enough for everything but a deadlock; the paused clock advances when all tasks wait.
const NEVER: Duration = Duration::from_secs(3600);

/// Returns a body of unknown length that ends when its sender is dropped.
fn channel() -> (mpsc::Sender<&'static str>, impl Body<Data = Bytes, Error = Infallible> + Unpin) {
    let (sender, mut receiver) = mpsc::channel::<&'static str>(8);
    let frames = futures_util::stream::poll_fn(move |cx| {
        receiver.poll_recv(cx).map(|text| Some(Ok(Frame::data(text?.into()))))
    });
    (sender, StreamBody::new(frames))
}

/// Answers at once with the request's own body.
async fn echo(request: Request<Incoming>) -> Result<Response<Incoming>, Infallible> {
    Ok(Response::new(request.into_body()))
}

/// Builds a client over HTTP/2, and its server.
async fn http2<B>()
-> impl Service<Request<B>, Response = Response<Incoming>, Error = BoxError> + Clone
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let (client, server) = tokio::io::duplex(1 << 16);
    tokio::spawn(
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(server), service_fn(echo)),
    );
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.unwrap();
    tokio::spawn(connection);
    tower::service_fn(move |request| {
        let mut sender = sender.clone();
        async move { sender.send_request(request).await.map_err(BoxError::from) }
    })
}

/// Sends messages and receives each echo before the request has ended.
async fn converse<S, B, RB>(service: S, sender: mpsc::Sender<&'static str>, body: B)
where
    S: Service<Request<B>, Response = Response<RB>, Error = BoxError>,
    RB: Body<Data = Bytes>,
    RB::Error: std::fmt::Debug,
{
    let request = Request::post("http://api.example.com/chat").body(body).unwrap();
    sender.send("first").await.unwrap();
    let answer = timeout(NEVER, service.oneshot(request)).await.expect("an answer").unwrap();
    let mut body = std::pin::pin!(answer.into_body());
    for word in ["first", "second", "third"] {
        if word != "first" {
            sender.send(word).await.unwrap();
        }
        let frame = timeout(NEVER, body.as_mut().frame()).await.expect("an echo");
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), word);
    }
    drop(sender);
    let rest = timeout(NEVER, body.collect()).await.expect("an end").unwrap();
    assert!(rest.to_bytes().is_empty());
}

#[test]
fn bidirectional_stream_is_answered_before_it_ends() {
    paused(async {
        let (sender, body) = channel();
        let layer = RetryLayer::new(RetryPolicy::new()).buffered(1024);
        converse(layer.layer(http2().await), sender, body).await;

        let (sender, body) = channel();
        let accounts = pool(&["a", "b"], &Recorder::new());
        let layer = FailoverLayer::builder().rotation(accounts).retry(RetryPolicy::new());
        let layer = layer.buffered(1024).build().unwrap();
        converse(layer.layer(http2().await), sender, body).await;

        let (sender, body) = channel();
        let accounts = pool(&["a", "b"], &Recorder::new());
        let rotation = TokenRotationLayer::new(accounts).buffered(1024);
        let retry = RetryLayer::new(RetryPolicy::new()).buffered(1024);
        converse(retry.layer(rotation.layer(http2().await)), sender, body).await;
    });
}

/// Starts an HTTP/1.1 server that answers 503 and then 200, and returns the received bodies.
fn http1<B>(
    received: mpsc::Sender<(Option<String>, Vec<u8>, Option<HeaderMap>)>,
) -> impl Service<Request<B>, Response = Response<String>, Error = BoxError> + Clone
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let connect = move || {
        let (client, server): (DuplexStream, _) = tokio::io::duplex(1 << 16);
        let received = received.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let received = received.clone();
            async move {
                let length = request.headers().get("content-length");
                let length = length.map(|length| length.to_str().unwrap().to_owned());
                let body = receive(request.into_body(), Read::All).await;
                let first = received.capacity() == received.max_capacity();
                received.send((length, body.data, body.trailers)).await.unwrap();
                let status = if first { 503 } else { 200 };
                Response::builder().status(status).body(String::new())
            }
        });
        let server = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(server), service);
        tokio::spawn(server);
        client
    };
    tower::service_fn(move |mut request: Request<B>| {
        let client = connect();
        async move {
            let (mut sender, connection) = http1::handshake(TokioIo::new(client)).await?;
            tokio::spawn(connection);
            *request.uri_mut() = "/videos".parse().unwrap();
            let (head, body) = sender.send_request(request).await?.into_parts();
            body.collect().await?;
            Ok::<_, BoxError>(Response::from_parts(head, String::new()))
        }
    })
}

#[test]
fn kept_trailers_are_sent_with_each_attempt() {
    paused(async {
        let trailers: HeaderMap =
            [("x-sum".parse().unwrap(), "abc".parse().unwrap())].into_iter().collect();
        let beats = vec![data("hello"), data(" world"), Beat::Trailers(trailers.clone())];
        let plan = Plan { beats, known: false, missing: 0 };
        let (sender, mut received) = mpsc::channel(8);
        let layer = RetryLayer::new(RetryPolicy::new()).buffered(1024);
        let request = Request::put("http://api.example.com/videos")
            .header("trailer", "x-sum")
            .body(plan.body())
            .unwrap();
        let answer = layer.layer(http1(sender)).oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        for _ in 0..2 {
            let wanted = (None, b"hello world".to_vec(), Some(trailers.clone()));
            assert_eq!(received.recv().await.unwrap(), wanted);
        }
        assert!(received.try_recv().is_err());
        assert_eq!(plan.kept(1024), Ok::<_, NotResent>(()));
    });
}

#[test]
fn kept_body_is_sent_with_its_length() {
    paused(async {
        // Its length was unknown before it was read.
        let plan = Plan { beats: vec![data("hello"), data("!")], known: false, missing: 0 };
        let (sender, mut received) = mpsc::channel(8);
        let layer = RetryLayer::new(RetryPolicy::new()).buffered(1024);
        let request = Request::put("http://api.example.com/videos").body(plan.body()).unwrap();
        layer.layer(http1(sender)).oneshot(request).await.unwrap();
        for _ in 0..2 {
            let wanted = (Some("6".to_owned()), b"hello!".to_vec(), None);
            assert_eq!(received.recv().await.unwrap(), wanted);
        }
    });
}
