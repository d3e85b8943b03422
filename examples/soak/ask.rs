//! One request, and its end for the caller.

use std::{future::pending, pin::pin, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tokio::{sync::watch, time::sleep};
use tower::{Service, ServiceExt};

/// The end of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With a 2xx and its whole body.
    Ok,
    /// With an error, or with another status.
    Failed,
    /// With a 2xx whose body was cut, or dropped before its end.
    Cut,
    /// The caller dropped it before an answer.
    Dropped,
    /// It did not end.
    Hung,
}

/// Sends the request, and drops the rest of it at `patience` after the desk has opened.
pub(crate) async fn ask<S, B>(
    client: S,
    request: Request<Full<Bytes>>,
    mut open: watch::Receiver<bool>,
    patience: Option<Duration>,
) -> Ended
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>>,
    B: Body,
{
    let mut patience = pin!(async move {
        let (Some(patience), Ok(_)) = (patience, open.wait_for(|open| *open).await) else {
            return pending().await;
        };
        sleep(patience).await;
    });
    let answer = tokio::select! {
        biased;
        answer = client.oneshot(request) => answer,
        () = &mut patience => return Ended::Dropped,
    };
    let Ok(answer) = answer else { return Ended::Failed };
    let good = answer.status().is_success();
    let whole = tokio::select! {
        biased;
        body = answer.into_body().collect() => body.is_ok(),
        () = &mut patience => false,
    };
    match (good, whole) {
        (false, _) => Ended::Failed,
        (true, true) => Ended::Ok,
        (true, false) => Ended::Cut,
    }
}
