//! The socket of the API.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CONTENT_TYPE, WWW_AUTHENTICATE},
};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};

use super::{
    accounts::{Body, Error, Login},
    desk::Desk,
};

/// The longest time that a request is held. It is reached only if an expected request is missing.
const LONGEST_HOLD: Duration = Duration::from_secs(20);

/// A server that runs until it is dropped.
pub(crate) struct VideoApi {
    address: SocketAddr,
    pub(crate) desk: Arc<Desk>,
    listening: JoinHandle<()>,
}

impl VideoApi {
    /// Listens on a free port.
    pub(crate) async fn start(logins: &[Login]) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let desk = Arc::new(Desk::new(logins));
        let listening = tokio::spawn(listen(listener, desk.clone()));
        Ok(Self { address, desk, listening })
    }

    /// Returns the origin of the server.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for VideoApi {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, desk: Arc<Desk>) {
    while let Ok((stream, _)) = listener.accept().await {
        let desk = desk.clone();
        let service = service_fn(move |request| answer(desk.clone(), request));
        // The task ends when the client closes the connection.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// Answers one request. An error closes the connection.
async fn answer(desk: Arc<Desk>, request: Request<Incoming>) -> Result<Response<Body>, Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    if let Some(gate) = desk.receive(&head.headers) {
        let _ = timeout(LONGEST_HOLD, gate.wait()).await;
    }
    let (status, answer) = desk.decide(&head.method, head.uri.path(), &head.headers, &body);
    let mut response = Response::new(Body::from(answer.to_string()));
    *response.status_mut() = StatusCode::from_u16(status)?;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == 401 {
        // RFC 6750 §3.1
        let said = answer["error"]["message"].as_str().unwrap_or_default();
        let said = format!(r#"Bearer error="invalid_token", error_description="{said}""#);
        headers.insert(WWW_AUTHENTICATE, HeaderValue::try_from(said)?);
    }
    Ok(response)
}
