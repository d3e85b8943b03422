//! kube's client, built from a config.

use http::Request;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Config,
    api::PostParams,
    client::{Body, ClientBuilder},
};
use tower::buffer::BufferLayer;
use tower_failover::{body::TryCloned, failure};
use tower_failover_compat::{Rig, within_a_minute};

/// kube's own retry is off: one request has one budget.
fn config(rig: &Rig) -> Config {
    let mut config = Config::new(rig.upstream.origin().parse().unwrap());
    config.default_retry = false;
    config
}

fn keep() -> TryCloned<Body> {
    TryCloned::new(Body::try_clone).made_of(Body::from)
}

/// A success returns the object sent; a failure is kube's own error.
async fn create(client: &Client) -> u16 {
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let mut map = ConfigMap::default();
    map.metadata.name = Some("a-film".to_owned());
    match maps.create(&PostParams::default(), &map).await {
        Ok(made) => {
            assert_eq!(made, map);
            200
        }
        Err(kube::Error::Api(status)) => status.code,
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn fused_layer_serves_the_client() {
    let mut rig = Rig::echo().await;
    let failover = rig.fused().body_strategy(keep()).build().unwrap();
    // The service of a config is not `Clone`; a buffer is.
    let client = ClientBuilder::try_from(config(&rig))
        .unwrap()
        .with_layer(&BufferLayer::<Request<Body>>::new(64))
        .with_layer(&failover)
        .build();
    rig.check_failover(async || create(&client).await).await;
}

#[tokio::test]
async fn separate_layers_serve_the_client() {
    let mut rig = Rig::echo().await;
    let client = ClientBuilder::try_from(config(&rig))
        .unwrap()
        .with_layer(&rig.gate())
        .with_layer(&BufferLayer::<Request<Body>>::new(64))
        .with_layer(&rig.rotation().body_strategy(keep()))
        .with_layer(&rig.retry().body_strategy(keep()))
        .with_layer(&rig.models().body_strategy(keep()))
        .with_layer(&rig.dedup())
        .build();
    rig.check_failover(async || create(&client).await).await;
}

/// No layer resends, so nothing must be `Clone`.
#[tokio::test]
async fn send_once_needs_no_buffer() {
    let rig = Rig::echo().await;
    let client = ClientBuilder::try_from(config(&rig))
        .unwrap()
        .with_layer(&rig.gate())
        .with_layer(&rig.rotation().send_once())
        .build();
    assert_eq!(within_a_minute(create(&client)).await, 200);
    rig.upstream.reject("token-of-alice");
    assert_eq!(within_a_minute(create(&client)).await, 401, "it is sent once");
    assert_eq!(within_a_minute(create(&client)).await, 200, "alice is not used again");
    assert_eq!(rig.upstream.tokens(), ["token-of-alice", "token-of-alice", "token-of-bob"]);
}

/// Checks the error that a user of kube sees, and the typed cause below it.
#[tokio::test]
async fn dead_pool_is_an_api_error_of_kube() {
    let rig = Rig::echo().await;
    let failover = rig.fused().body_strategy(keep()).build().unwrap();
    let client = ClientBuilder::try_from(config(&rig))
        .unwrap()
        .with_layer(&BufferLayer::<Request<Body>>::new(64))
        .with_layer(&failover)
        .build();
    rig.pool.retire("alice");
    rig.pool.retire("bob");
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let Err(kube::Error::Api(status)) = within_a_minute(maps.get("a-film")).await else {
        panic!("an error of the API");
    };
    assert_eq!(status.code, 401);
    assert!(format!("{status:?}").contains("get new tokens in Settings"), "{status:?}");
    let answer = within_a_minute(client.send(Request::get("/api").body(Body::empty()).unwrap()))
        .await
        .unwrap();
    assert!(failure(&answer).is_some());
    assert_eq!(rig.upstream.tokens(), [""; 0]);
}
