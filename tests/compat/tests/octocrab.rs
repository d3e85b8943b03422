//! octocrab's client, built from a service.

use octocrab::{
    AuthState, OctoBody, Octocrab, OctocrabBuilder, service::middleware::base_uri::BaseUriLayer,
};
use serde_json::{Value, json};
use tower_failover::body::{BufferedAs, ReplayBody};
use tower_failover_compat::{CAP, Rig, client, within_a_minute};

/// A success contains the text sent.
async fn post(octocrab: &Octocrab) -> u16 {
    let film = json!({ "title": "a film" });
    match octocrab.post::<_, Value>("/videos", Some(&film)).await {
        Ok(made) => {
            assert_eq!(made, film);
            200
        }
        Err(octocrab::Error::GitHub { source, .. }) => source.status_code.as_u16(),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn fused_layer_serves_the_client() {
    let mut rig = Rig::echo().await;
    let failover = rig.fused().buffered_as(CAP, OctoBody::new::<ReplayBody<OctoBody>>);
    let octocrab = OctocrabBuilder::new_empty()
        .with_service(client::<OctoBody>())
        .with_layer(&BaseUriLayer::new(rig.upstream.origin().parse().unwrap()))
        .with_layer(&failover.build().unwrap())
        .with_auth(AuthState::None)
        .build()
        .unwrap();
    rig.check_failover(async || post(&octocrab).await).await;
}

fn keep() -> BufferedAs<fn(ReplayBody<OctoBody>) -> OctoBody> {
    BufferedAs::new(CAP, OctoBody::new)
}

fn separate_layers(rig: &Rig) -> Octocrab {
    OctocrabBuilder::new_empty()
        .with_service(client::<OctoBody>())
        .with_layer(&BaseUriLayer::new(rig.upstream.origin().parse().unwrap()))
        .with_layer(&rig.gate())
        .with_layer(&rig.rotation().body_strategy(keep()))
        .with_layer(&rig.retry().body_strategy(keep()))
        .with_layer(&rig.models().body_strategy(keep()))
        .with_layer(&rig.dedup())
        .with_auth(AuthState::None)
        .build()
        .unwrap()
}

#[tokio::test]
async fn separate_layers_serve_the_client() {
    let mut rig = Rig::echo().await;
    let octocrab = separate_layers(&rig);
    rig.check_failover(async || post(&octocrab).await).await;
}

#[tokio::test]
async fn request_without_a_body_is_resent() {
    let mut rig = Rig::echo().await;
    let octocrab = separate_layers(&rig);
    rig.check_failover(async || octocrab._get("/videos/1").await.unwrap().status().as_u16()).await;
}

#[tokio::test]
async fn dead_pool_is_a_github_error_of_octocrab() {
    let rig = Rig::echo().await;
    let octocrab = separate_layers(&rig);
    rig.pool.retire("alice");
    rig.pool.retire("bob");
    let error = within_a_minute(octocrab.get::<Value, _, ()>("/videos/1", None)).await.unwrap_err();
    let octocrab::Error::GitHub { source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.status_code, 401);
    assert!(source.message.contains("get new tokens in Settings"), "{source:?}");
    assert_eq!(rig.upstream.tokens(), [""; 0]);
}
