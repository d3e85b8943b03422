// Shared by the examples of the guide and hidden in them: an upstream with a constant answer.

use tower::{Layer as _, ServiceExt as _};

type Body = http_body_util::Full<bytes::Bytes>;
type Answer = http::Response<tower_failover::body::FailoverBody<Body>>;
type Client = tower::util::BoxCloneService<http::Request<Body>, Answer, tower::BoxError>;

fn get(uri: &str) -> http::Request<Body> {
    http::Request::get(uri).body(Body::default()).expect("a request")
}

/// Builds a client that uses `pool`, for an upstream that gives this answer.
fn client(
    pool: &tower_failover::Pool,
    status: u16,
    name: &'static str,
    value: &'static str,
) -> Client {
    let upstream = tower::service_fn(move |_: http::Request<Body>| async move {
        let answer = http::Response::builder().status(status).header(name, value);
        Ok::<_, tower::BoxError>(answer.body(Body::default())?)
    });
    let layer = tower_failover::FailoverLayer::builder().rotation(pool.clone()).served_by(true);
    Client::new(layer.build().expect("a layer").layer(upstream))
}
