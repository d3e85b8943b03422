use std::{error::Error, io};

use http::StatusCode;

use crate::classify::{Cause, Classifier, Code, FailureError, Reason, Verdict};

type BoxError = Box<dyn Error + Send + Sync>;

fn judge<E: 'static>(error: &E) -> Verdict {
    Classifier::default().classify_error(error)
}

#[test]
fn refused_connection_did_no_work_and_a_reset_may_have() {
    for (kind, wanted) in [
        (io::ErrorKind::ConnectionRefused, Verdict::unavailable()),
        (io::ErrorKind::TimedOut, Verdict::timed_out()),
        (io::ErrorKind::ConnectionReset, Verdict::transient()),
        (io::ErrorKind::BrokenPipe, Verdict::transient()),
        (io::ErrorKind::UnexpectedEof, Verdict::transient()),
    ] {
        assert_eq!(judge(&io::Error::from(kind)), wanted, "{kind}");
        let boxed: BoxError = Box::new(io::Error::other(io::Error::from(kind)));
        assert_eq!(judge(&boxed), wanted, "boxed {kind}");
    }
}

#[test]
fn unknown_error_may_have_come_after_the_work() {
    assert_eq!(judge(&"text"), Verdict::transient());
    assert_eq!(judge::<BoxError>(&"text".into()), Verdict::transient());
    assert_eq!(judge(&std::fmt::Error), Verdict::transient());
}

#[test]
fn failure_error_has_the_verdict_of_its_code() {
    let failure = |code| FailureError::new(Cause::local(code), StatusCode::IM_A_TEAPOT);
    assert_eq!(judge(&failure(Code::PoolEmpty)), Verdict::Unauthorized(Reason::Missing));
    assert_eq!(judge(&failure(Code::PoolLimited)), Verdict::limited());
    assert_eq!(judge(&failure(Code::OriginNotAllowed)), Verdict::Forbidden);
    let boxed: BoxError = Box::new(io::Error::other(failure(Code::CredentialRevoked)));
    assert_eq!(judge(&boxed), Verdict::Unauthorized(Reason::Revoked));
}

#[tokio::test(start_paused = true)]
async fn elapsed_of_tokio_is_a_timeout() {
    let wait = std::future::pending::<()>();
    let elapsed = tokio::time::timeout(std::time::Duration::from_secs(1), wait).await.unwrap_err();
    assert_eq!(judge(&elapsed), Verdict::timed_out());
}

#[cfg(feature = "tower")]
#[test]
fn elapsed_of_tower_is_a_timeout() {
    let boxed: BoxError = Box::new(tower::timeout::error::Elapsed::new());
    assert_eq!(judge(&boxed), Verdict::timed_out());
}

#[cfg(feature = "hyper")]
mod http2 {
    use http::{Request, Response};
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;
    use crate::classify::ErrorRef;

    /// The reaction of the server to the second of two requests.
    #[derive(Clone, Copy)]
    enum Does {
        Reset(h2::Reason),
        /// Closes the connection during the request.
        Vanish,
    }

    /// Returns the error of the client.
    async fn error_when_server(does: Does) -> h2::Error {
        let (near, far) = duplex(64 * 1024);
        let server = tokio::spawn(async move {
            let mut connection = h2::server::handshake(far).await.unwrap();
            let (_, mut first) = connection.accept().await.unwrap().unwrap();
            first.send_response(Response::new(()), true).unwrap();
            let (_, mut second) = connection.accept().await.unwrap().unwrap();
            match does {
                Does::Reset(reason) => second.send_reset(reason),
                Does::Vanish => return,
            }
            while connection.accept().await.is_some() {}
        });
        let (mut client, connection) = h2::client::handshake(near).await.unwrap();
        let driver = tokio::spawn(connection);
        let ask = || Request::post("https://a.test/").body(()).unwrap();
        let (first, _) = client.send_request(ask(), true).unwrap();
        let (second, _) = client.send_request(ask(), true).unwrap();
        first.await.unwrap();
        let error = second.await.unwrap_err();
        drop(client);
        let _ = (server.await, driver.await);
        error
    }

    #[tokio::test]
    async fn reset_stream_did_no_work_only_if_refused() {
        let refused = error_when_server(Does::Reset(h2::Reason::REFUSED_STREAM)).await;
        assert_eq!(judge(&refused), Verdict::unavailable());
        let boxed: BoxError = Box::new(io::Error::other(refused));
        assert_eq!(judge(&boxed), Verdict::unavailable());
        for reason in [h2::Reason::CANCEL, h2::Reason::INTERNAL_ERROR, h2::Reason::NO_ERROR] {
            let error = error_when_server(Does::Reset(reason)).await;
            assert_eq!(judge(&error), Verdict::transient(), "{reason}");
        }
        // Not from the remote side.
        assert_eq!(judge(&h2::Error::from(h2::Reason::REFUSED_STREAM)), Verdict::transient());
    }

    #[tokio::test]
    async fn lost_connection_may_have_done_the_work() {
        let error = error_when_server(Does::Vanish).await;
        assert_eq!(judge(&error), Verdict::transient(), "{error}");
        assert!(ErrorRef::new(&error, &[]).is::<io::Error>());
    }

    #[tokio::test]
    async fn queued_request_of_a_closed_connection_did_no_work() {
        let (near, far) = duplex(1024);
        let io = hyper_util::rt::TokioIo::new(near);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, String>(io).await.unwrap();
        drop((connection, far));
        let error = sender.send_request(Request::new(String::new())).await.unwrap_err();
        assert!(error.is_canceled(), "{error}");
        assert_eq!(judge(&error), Verdict::unavailable());
    }

    /// Returns the error of request 1 after the server sends GOAWAY with this error, and closes.
    async fn error_after_goaway(last_stream_id: u8, error: u8) -> h2::Error {
        let (near, mut far) = duplex(64 * 1024);
        let (mut client, connection) = h2::client::handshake(near).await.unwrap();
        let request = Request::post("https://a.test/").body(()).unwrap();
        let (answer, _) = client.send_request(request, true).unwrap();
        // RFC 9113 §4.1, §6.5, §6.8: empty SETTINGS, then GOAWAY (last stream id, error).
        far.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, last_stream_id, 0, 0, 0, error];
        far.write_all(&goaway).await.unwrap();
        far.shutdown().await.unwrap();
        let driver = tokio::spawn(connection);
        let error = answer.await.unwrap_err();
        let _ = driver.await;
        error
    }

    #[tokio::test]
    async fn goaway_proves_no_work_only_above_its_last_stream() {
        let above = error_after_goaway(0, 0).await;
        assert!(above.is_go_away(), "{above}");
        assert_eq!(judge(&above), Verdict::unavailable());
        let within = error_after_goaway(1, 0).await;
        assert_eq!(judge(&within), Verdict::transient(), "{within}");
        // REFUSED_STREAM is about a stream (RFC 9113 §7); for a connection it proves nothing.
        let refused = error_after_goaway(0, 7).await;
        assert!(refused.is_go_away() && refused.is_remote(), "{refused}");
        assert_eq!(refused.reason(), Some(h2::Reason::REFUSED_STREAM));
        assert_eq!(judge(&refused), Verdict::transient(), "{refused}");
    }

    #[tokio::test]
    async fn failed_connect_did_no_work() {
        use hyper_util::{client::legacy::Client, rt::TokioExecutor};
        // Bound and dropped, so that the port is closed.
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http::<String>();
        let error = client.get(format!("http://{address}/").parse().unwrap()).await.unwrap_err();
        assert!(error.is_connect());
        assert_eq!(judge(&error), Verdict::unavailable());
        // A connect that timed out did no work either.
        let boxed: BoxError = Box::new(error);
        assert_eq!(judge(&boxed), Verdict::unavailable());
    }
}

#[cfg(feature = "reqwest")]
#[test]
fn status_in_an_error_of_reqwest_counts_as_in_an_answer() {
    for (status, wanted) in [
        (401, Verdict::Unauthorized(Reason::Invalid)),
        (403, Verdict::Forbidden),
        (429, Verdict::limited()),
        (500, Verdict::transient()),
        (503, Verdict::unavailable()),
        (422, Verdict::Rejected),
    ] {
        let answer = http::Response::builder().status(status).body("").unwrap();
        let error = reqwest::Response::from(answer).error_for_status().unwrap_err();
        assert_eq!(judge(&error), wanted, "{status}");
        let boxed: BoxError = Box::new(io::Error::other(error));
        assert_eq!(judge(&boxed), wanted, "boxed {status}");
    }
}

#[cfg(feature = "tonic")]
mod grpc {
    use std::sync::Arc;

    use tonic::{Code, Status};

    use super::*;

    #[test]
    fn code_in_a_status_of_tonic_counts_as_in_an_answer() {
        for (code, wanted) in [
            (Code::Unauthenticated, Verdict::Unauthorized(Reason::Invalid)),
            (Code::PermissionDenied, Verdict::Forbidden),
            (Code::ResourceExhausted, Verdict::limited()),
            (Code::InvalidArgument, Verdict::Rejected),
            (Code::Internal, Verdict::transient()),
            // Whether anything was received before it is unknown.
            (Code::Unavailable, Verdict::transient()),
            (Code::Ok, Verdict::transient()),
        ] {
            assert_eq!(judge(&Status::new(code, "")), wanted, "{code:?}");
            let boxed: BoxError = Box::new(Status::new(code, ""));
            assert_eq!(judge(&boxed), wanted, "boxed {code:?}");
        }
        let expired = Status::unauthenticated("the token expired");
        assert_eq!(judge(&expired), Verdict::Unauthorized(Reason::Expired));
    }

    #[test]
    fn status_that_tonic_made_from_a_transport_error_has_its_verdict() {
        let mut status = Status::unavailable("connect");
        status.set_source(Arc::new(io::Error::from(io::ErrorKind::ConnectionRefused)));
        assert_eq!(judge(&status), Verdict::unavailable());
        let mut refused = Status::unauthenticated("");
        refused.set_source(Arc::new(io::Error::from(io::ErrorKind::ConnectionRefused)));
        assert!(judge(&refused).is_unauthorized());
    }
}
