//! The results and the output of `cargo run --example video_pipeline`, and the counts of its server
//! for a program that behaves worse.

#![allow(clippy::unwrap_used, reason = "a bad case is a panic")]

// The example uses each module whole, this test in part.
#[allow(dead_code)]
#[path = "../examples/video_pipeline/accounts.rs"]
mod accounts;
#[allow(dead_code)]
#[path = "../examples/video_pipeline/desk.rs"]
mod desk;
#[allow(dead_code)]
#[path = "../examples/video_pipeline/figures.rs"]
mod figures;
#[allow(dead_code)]
#[path = "../examples/video_pipeline/film.rs"]
mod film;
#[allow(dead_code)]
#[path = "../examples/video_pipeline/options.rs"]
mod options;
#[allow(dead_code)]
#[path = "../examples/video_pipeline/play.rs"]
mod play;
#[allow(dead_code)]
#[path = "../examples/video_pipeline/server.rs"]
mod server;

use std::time::Duration;

use accounts::{Body, Login, PROJECT};
use desk::Counts;
use figures::Figures;
use film::Film;
use http::{Method, Request, header::AUTHORIZATION};
use options::Options;
use server::VideoApi;
use tower_failover::{
    Code, Pool,
    pool::State,
    report::{ReporterHandle, channel},
};

async fn run(scenes: usize) -> Figures {
    play::run(scenes, Duration::ZERO).await.unwrap()
}

#[tokio::test]
async fn videos_are_fetched_with_their_owner_and_one_refresh_serves_twelve() {
    let figures = run(Options::default().scenes).await;
    assert_eq!(
        figures.json(),
        "{\"scenes\":48,\"made\":48,\"downloaded\":48,\"downloaded_with_owner\":48,\
         \"refreshes\":1,\"sends_after_refusal\":0,\"reports\":1}\n"
    );
    assert_eq!((figures.together, figures.open), (12, 12));
    assert_eq!((figures.lost.len(), figures.local), (6, 6));
    assert!(figures.lost.iter().all(|(_, code)| *code == Code::CredentialRevoked));
    assert_eq!(figures.broken(), Vec::<String>::new());
}

#[tokio::test]
async fn revoked_account_serves_only_its_finished_scenes() {
    let figures = run(24).await;
    let of = |scene: usize| {
        let (job, _) = figures.videos.iter().find(|(job, _)| job.scene == scene).unwrap();
        job.by.account.as_deref().unwrap()
    };
    for (lost, _) in &figures.lost {
        assert_eq!(lost.by.account.as_deref(), Some(play::REVOKED));
        assert_ne!(of(lost.scene), play::REVOKED);
    }
    // In turn: three accounts in the first act, two in the second.
    assert_eq!([1, 2, 4, 5].map(of), ["alice", "bob", "alice", "bob"]);
    assert!((19..=24).all(|scene| of(scene) != play::REVOKED));
}

#[tokio::test]
async fn results_are_the_expected_ones_for_any_number_of_scenes() {
    for scenes in [6, 7, 8, 9, 10, 11, 12, 13, 20, 31, 100] {
        let figures = run(scenes).await;
        assert_eq!(figures.broken(), Vec::<String>::new(), "{scenes}");
        assert_eq!(figures.counts.scenes, scenes);
    }
}

#[tokio::test]
async fn unexpected_result_is_described() {
    let good = run(6).await;
    let counts: [fn(&mut Counts); 7] = [
        |counts| counts.scenes -= 1,
        |counts| counts.made += 1,
        |counts| counts.downloaded += 1,
        |counts| counts.downloaded_with_owner -= 1,
        |counts| counts.refreshes += 1,
        |counts| counts.sends_after_refusal += 1,
        |counts| counts.reports += 1,
    ];
    for spoil in counts {
        let mut figures = good.clone();
        spoil(&mut figures.counts);
        assert_eq!(figures.broken().len(), 1, "{:?}", figures.counts);
    }
    let mut figures = good;
    // The video of another scene.
    figures.videos[0].1 = figures.videos[1].1.clone();
    assert_eq!(figures.broken(), ["expected 6 different scenes in the film, but got 5"]);
}

#[tokio::test]
async fn text_lists_the_scenes_of_each_account() {
    let text = run(48).await.person();
    for line in [
        "\nThe token of bob expires: 12 polls meet that together, and 1 refresh serves them all.\n",
        "\ncarol is revoked: 6 unfinished scenes are lost with it, and made again by others \
         (alice 3, bob 3).\n",
        "\n  alice   21: 1 3* 4 7 10 13 15* 16 19 22 25 27* 28 31 34 37 39 41 43 45 47\n",
        "\n  carol    6: 6 12 18 24 30 36\n",
        "\n  account \"carol\" (#3 of 3): token rejected (401 credential_revoked); quarantined for 3600 s\n",
        "\n  downloaded with owner   48\n",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    assert!(!text.contains("token-"), "a secret is in\n{text}");
}

/// Makes one call without this crate, and returns the status.
async fn send(
    server: &VideoApi,
    who: &Login,
    method: Method,
    path: &str,
    body: &'static str,
) -> u16 {
    let request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", server.url()))
        .header(AUTHORIZATION, format!("Bearer {}", who.token))
        .header(PROJECT, who.project)
        .body(Body::from(body));
    accounts::http().request(request.unwrap()).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn download_with_another_account_is_counted() {
    let logins = play::logins();
    let [alice, bob] = [&logins[0], &logins[1]];
    let server = VideoApi::start(&logins).await.unwrap();
    assert_eq!(send(&server, bob, Method::POST, "/v1/scenes", r#"{"scene": 7}"#).await, 201);
    assert_eq!(send(&server, alice, Method::GET, "/v1/scenes/0", "").await, 404);
    for _ in 0..2 {
        assert_eq!(send(&server, bob, Method::GET, "/v1/scenes/0/video", "").await, 404);
        assert_eq!(send(&server, bob, Method::GET, "/v1/scenes/0", "").await, 200);
    }
    assert_eq!(send(&server, alice, Method::GET, "/v1/scenes/0/video", "").await, 200);
    let counts = Counts { scenes: 1, made: 1, downloaded: 1, ..Counts::default() };
    assert_eq!(server.desk.counts(), counts);
    assert_eq!(send(&server, bob, Method::GET, "/v1/scenes/0/video", "").await, 200);
    assert_eq!(server.desk.counts(), Counts { downloaded: 2, downloaded_with_owner: 1, ..counts });
    // The token of one account with the project of another.
    let mixed = Login { project: bob.project, ..alice.clone() };
    assert_eq!(send(&server, &mixed, Method::GET, "/v1/scenes/0/video", "").await, 403);
}

#[tokio::test]
async fn rejected_token_that_is_sent_again_is_counted() {
    let logins = play::logins();
    let server = VideoApi::start(&logins).await.unwrap();
    server.desk.revoke(play::REVOKED);
    for again in 0..3 {
        assert_eq!(send(&server, &logins[2], Method::GET, "/v1/scenes/0", "").await, 401);
        assert_eq!(server.desk.counts().sends_after_refusal, again);
    }
    // The token of another account does not count.
    assert_eq!(send(&server, &logins[0], Method::GET, "/v1/scenes/0", "").await, 404);
    assert_eq!(server.desk.counts().sends_after_refusal, 2);
}

#[tokio::test]
async fn refresh_is_counted_and_fails_for_a_revoked_account() {
    let logins = play::logins();
    let server = VideoApi::start(&logins).await.unwrap();
    let alice = "grant_type=refresh_token&refresh_token=refresh-token-of-alice";
    for times in 1..=2 {
        assert_eq!(send(&server, &logins[0], Method::POST, "/oauth/token", alice).await, 200);
        assert_eq!(server.desk.counts().refreshes, times);
    }
    server.desk.revoke(play::REVOKED);
    let carol = "grant_type=refresh_token&refresh_token=refresh-token-of-carol";
    assert_eq!(send(&server, &logins[2], Method::POST, "/oauth/token", carol).await, 400);
    assert_eq!(server.desk.counts().refreshes, 2);
}

/// Builds a film over its own server.
async fn film(logins: &[Login]) -> (VideoApi, Pool, Film) {
    let server = VideoApi::start(&play::logins()).await.unwrap();
    let (reporter, _) = channel(100);
    let reporter = ReporterHandle::new(reporter);
    let pool = accounts::pool(&server.url(), logins, reporter.clone()).unwrap();
    let film = Film::new(accounts::client(pool.clone(), reporter).unwrap(), server.url());
    (server, pool, film)
}

#[tokio::test]
async fn account_with_a_terminated_login_is_retired_and_its_scenes_are_made_again() {
    let mut logins = play::logins();
    logins[1].refresh_token = "not-bobs-any-more".to_owned();
    let (server, pool, mut film) = film(&logins).await;
    for scene in 1..=6 {
        film.create(scene).await.unwrap();
    }
    server.desk.expire(play::EXPIRES);
    for _ in 0..4 {
        film.round().await.unwrap();
    }
    assert_eq!(pool.view().accounts[1].state, State::Retired);
    assert!(film.lost.iter().all(|(job, _)| job.by.account.as_deref() == Some("bob")));
    assert_eq!((film.lost.len(), film.videos.len(), film.working.len()), (2, 6, 0));
    let counts = server.desk.counts();
    assert_eq!((counts.downloaded_with_owner, counts.refreshes), (6, 0));
    assert_eq!(counts.sends_after_refusal, 0);
}

#[tokio::test]
async fn scene_of_a_removed_account_is_not_downloaded_by_another() {
    let (server, _, mut film) = film(&play::logins()).await;
    for scene in 1..=3 {
        film.create(scene).await.unwrap();
    }
    for account in ["alice", "bob", "carol"] {
        server.desk.revoke(account);
    }
    // No account is left to make them again.
    let error = film.round().await.unwrap_err();
    assert!(error.to_string().contains("401"), "{error}");
    assert_eq!((film.videos.len(), server.desk.counts().downloaded), (0, 0));
}

#[test]
fn arguments_are_parsed() {
    let options = parse("--scenes 96 --json").unwrap().unwrap();
    assert_eq!((options.scenes, options.json), (96, true));
    assert!(parse("--json --help").unwrap().is_none());
    for (args, message) in [
        ("--scenes", "--scenes needs a number"),
        ("--scenes 5", "--scenes needs a number from 6 to 300, not \"5\""),
        ("--scenes 301", "--scenes needs a number from 6 to 300, not \"301\""),
        ("--scenes many", "--scenes needs a number from 6 to 300, not \"many\""),
        ("--jsn", "unknown argument \"--jsn\""),
    ] {
        assert_eq!(parse(args).unwrap_err(), message, "{args}");
    }
}

fn parse(args: &str) -> Result<Option<Options>, String> {
    Options::parse(args.split_whitespace().map(str::to_owned))
}
