//! Requests per second over a loopback socket, 64 in flight, keep-alive.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use http::{Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::net::TcpListener;
use tower::{Service, ServiceExt};

use crate::{
    requests::{Model, Requests},
    rounds::median,
    stacks::{failover, keys::Keys, nested_tower, tower_retry::Transient},
    upstream::Body,
};

const IN_FLIGHT: usize = 64;
const ROUNDS: usize = 3;
const REQUESTS: usize = 20_000;

/// Measures the stacks and prints a line for each.
pub fn run() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let address = serve().await;
        let client = || {
            let mut connector = HttpConnector::new();
            connector.set_nodelay(true);
            Client::builder(TokioExecutor::new()).build::<_, Body>(connector)
        };
        let pool = failover::socket_pool(8);
        let keys = Arc::new(Keys::new(8));
        let bare = client();
        let retry = tower::retry::Retry::new(Transient::at_once(), client());
        let nested = nested_tower::stack(client(), &keys);
        let ours = failover::fused(client(), &pool);
        let stacked = failover::stacked(client(), &pool);
        let names = ["bare", "tower-retry", "nested-tower", "failover", "failover-stacked"];
        let mut taken = [const { Vec::new() }; 5];
        for round in 0..=ROUNDS {
            let rates = [
                rate(&bare, address).await,
                rate(&retry, address).await,
                rate(&nested, address).await,
                rate(&ours, address).await,
                rate(&stacked, address).await,
            ];
            // The first round opens the connections.
            for (taken, rate) in taken.iter_mut().zip(rates).filter(|_| round > 0) {
                taken.push(rate);
            }
        }
        println!("over a socket, {IN_FLIGHT} in flight, {ROUNDS} rounds of {REQUESTS}");
        println!("{:<20} {:>12} {:>8}", "", "requests/s", "of bare");
        for (name, rates) in names.iter().zip(&taken) {
            let of_bare = median(rates.iter().zip(&taken[0]).map(|(rate, bare)| rate / bare));
            println!("{name:<20} {:>12.0} {of_bare:>8.3}", median(rates.iter().copied()));
        }
        println!("bar: failover at least 0.96 of bare");
    });
}

async fn rate<S, B>(service: &S, address: SocketAddr) -> f64
where
    S: Service<Request<Body>, Response = Response<B>, Error: std::fmt::Debug, Future: Send>
        + Clone
        + Send
        + 'static,
    B: http_body::Body<Data: Send, Error: std::fmt::Debug> + Send + 'static,
{
    let left = Arc::new(AtomicUsize::new(REQUESTS));
    let start = Instant::now();
    let workers: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let (left, service) = (left.clone(), service.clone());
            let mut requests = Requests::new(1024, Model::First, false);
            requests.to(Uri::try_from(format!("http://{address}/v1/messages")).unwrap());
            tokio::spawn(async move {
                while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let answer = service.clone().oneshot(requests.one()).await.unwrap();
                    assert_eq!(answer.status(), StatusCode::OK);
                    answer.into_body().collect().await.unwrap();
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    REQUESTS as f64 / start.elapsed().as_secs_f64()
}

async fn serve() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(answer)),
            );
        }
    });
    address
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let _ = request.into_body().collect().await;
    Ok(Response::new(Body::from("{\"ok\":true}")))
}
