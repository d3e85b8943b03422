//! An API on local sockets: HTTP/2 on some, HTTP/1.1 on one.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinHandle},
    time::sleep,
};

use super::{
    Error,
    desk::{Answer, Desk},
};

type Body = UnsyncBoxBody<Bytes, Error>;

/// More streams than requests, so that all requests are in flight at once.
const STREAMS: u32 = 200_000;

/// The protocol of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

/// One socket, which listens until it is dropped.
pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
    listening: JoinHandle<()>,
}

impl Port {
    /// Listens on a free port. The work on one request takes at most `slowest`.
    pub(crate) async fn open(
        desk: Arc<Desk>,
        version: Version,
        slowest: Duration,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let connections = Arc::new(Mutex::new(Vec::new()));
        let kept = connections.clone();
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = tokio::spawn(serve(stream, desk.clone(), version, slowest));
                let mut connections = locked(&kept);
                connections.retain(|connection: &AbortHandle| !connection.is_finished());
                connections.push(serving.abort_handle());
            }
        });
        Ok(Self { address, connections, listening })
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        locked(&self.connections).drain(..).for_each(|connection| connection.abort());
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.listening.abort();
        self.cut();
    }
}

async fn serve(stream: TcpStream, desk: Arc<Desk>, version: Version, slowest: Duration) {
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(stream);
    let service = service_fn(move |request| answer(desk.clone(), request, slowest));
    // The task ends with its connection, or is cut.
    let _ = match version {
        Version::Http1 => http1::Builder::new().serve_connection(io, service).await,
        Version::Http2 => {
            http2::Builder::new(TokioExecutor::new())
                .max_concurrent_streams(STREAMS)
                // Many callers drop their requests, which is not an attack here.
                .max_pending_accept_reset_streams(1 << 20)
                .max_local_error_reset_streams(None)
                .serve_connection(io, service)
                .await
        }
    };
}

/// Answers one request. An error closes the connection.
async fn answer(
    desk: Arc<Desk>,
    request: Request<Incoming>,
    slowest: Duration,
) -> Result<Response<Body>, Error> {
    let (head, body) = request.into_parts();
    body.collect().await?;
    let (work, mut dice) = desk.receive(&head.headers, slowest);
    desk.open.subscribe().wait_for(|open| *open).await?;
    sleep(work).await;
    write(desk.decide(&head.headers, &mut dice))
}

fn write(answer: Answer) -> Result<Response<Body>, Error> {
    if answer.status == 0 {
        return Err("the connection is cut".into());
    }
    let text = format!(r#"{{"error": {{"code": "status_{}"}}}}"#, answer.status);
    let mut response = Response::new(if answer.cut { cut(text) } else { whole(text) });
    *response.status_mut() = StatusCode::from_u16(answer.status)?;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = answer.retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    if answer.revoked {
        // RFC 6750 §3.1
        let revoked = r#"Bearer error="invalid_token", error_description="The token was revoked""#;
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(revoked));
    }
    Ok(response)
}

fn whole(text: String) -> Body {
    Full::from(text).map_err(|never| match never {}).boxed_unsync()
}

/// Half of a body, then an error that cuts the connection, or the stream of HTTP/2.
fn cut(mut text: String) -> Body {
    text.truncate(text.len() / 2);
    let frames = stream::unfold(Some(text), |text| async move {
        let Some(text) = text else {
            // The data before the error must have been sent.
            sleep(Duration::from_millis(1)).await;
            return Some((Err("cut".into()), None));
        };
        Some((Ok(Frame::data(Bytes::from(text))), None))
    });
    StreamBody::new(frames).boxed_unsync()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
