//! The results and the output of `cargo run --example quickstart`, with several options.

#![allow(clippy::unwrap_used, reason = "a bad case is a panic")]

// The example uses each module whole, this test in part.
#[allow(dead_code)]
#[path = "../examples/quickstart/failover.rs"]
mod failover;
#[allow(dead_code)]
#[path = "../examples/quickstart/job.rs"]
mod job;
#[allow(dead_code)]
#[path = "../examples/quickstart/naive.rs"]
mod naive;
#[allow(dead_code)]
#[path = "../examples/quickstart/options.rs"]
mod options;
#[allow(dead_code)]
#[path = "../examples/quickstart/play.rs"]
mod play;
#[allow(dead_code)]
#[path = "../examples/quickstart/print.rs"]
mod print;
#[allow(dead_code)]
#[path = "../examples/quickstart/scenes.rs"]
mod scenes;
#[allow(dead_code)]
#[path = "../examples/quickstart/server.rs"]
mod server;

use job::{Job, Scene};
use naive::Naive;
use options::Options;
use play::Round;
use server::{Trouble, VideoApi};
use tower_failover::{Event, report::Followed};

async fn run(options: &Options) -> Vec<Round> {
    play::run(options).await.unwrap()
}

/// Returns calls, rejected calls, error lines, scenes made.
fn naive(round: &Round) -> (usize, usize, usize, usize) {
    let row = &round.naive;
    assert_eq!((row.request_reports, row.incidents), (None, None));
    (row.upstream_calls, row.rejected, row.error_lines.unwrap(), row.made)
}

/// Returns calls, rejected calls, reported failures, incidents, scenes made.
fn failover(round: &Round) -> (usize, usize, usize, usize, usize) {
    let row = &round.failover;
    assert_eq!(row.error_lines, None);
    let (reports, incidents) = (row.request_reports.unwrap(), row.incidents.unwrap());
    (row.upstream_calls, row.rejected, reports, incidents, row.made)
}

fn codes(round: &Round) -> Vec<&'static str> {
    round.events.iter().map(Event::code).collect()
}

fn outcomes(rounds: &[Round]) -> Vec<&str> {
    rounds.iter().map(|round| &*round.failover.outcome).collect()
}

#[tokio::test]
async fn dead_token_costs_one_call_instead_of_twelve() {
    let rounds = run(&Options::default()).await;
    assert_eq!(rounds.iter().map(naive).collect::<Vec<_>>()[..3], [(12, 12, 15, 0); 3]);
    assert_eq!(failover(&rounds[0]), (1, 1, 3, 1, 0));
    assert_eq!(failover(&rounds[1]), (4, 1, 0, 1, 3));
    assert_eq!(failover(&rounds[2]), (2, 1, 2, 1, 1));
    let clear = "401 credential_invalid";
    assert_eq!(outcomes(&rounds)[..3], [clear, "200", "401 credential_invalid, then 200"]);
    let failed = "request_failed";
    assert_eq!(codes(&rounds[0]), ["pool_dead", failed, failed, failed]);
    assert_eq!(codes(&rounds[1]), ["account_out"]);
    assert_eq!(codes(&rounds[2]), ["pool_dead", failed, failed]);
    assert_eq!(print::broken(&rounds), "");
}

#[tokio::test]
async fn numbers_scale_with_the_options() {
    let options = Options { scenes: 5, models: 3, accounts: 4, ..Options::default() };
    let rounds = run(&options).await;
    // 3 models at level 1 and 3 at level 3 are 6 calls and 7 lines a scene.
    assert_eq!(rounds.iter().map(naive).collect::<Vec<_>>()[..3], [(30, 30, 35, 0); 3]);
    assert_eq!(failover(&rounds[0]), (1, 1, 5, 1, 0));
    assert_eq!(failover(&rounds[1]), (6, 1, 0, 1, 5));
    assert_eq!(failover(&rounds[2]), (2, 1, 4, 1, 1));
    assert_eq!(rounds[1].scenario.tokens.len(), 4);
    assert_eq!(rounds.len(), 7);
    assert_eq!(print::broken(&rounds), "");
}

#[tokio::test]
async fn naive_retry_calls_each_model_again_for_each_copy() {
    let options = Options { models: 3, copies: 4, ..Options::default() };
    let rounds = run(&options).await;
    assert_eq!(rounds.iter().map(naive).collect::<Vec<_>>()[..3], [(45, 45, 48, 0); 3]);
    assert_eq!(failover(&rounds[0]), (1, 1, 3, 1, 0));
}

#[tokio::test]
async fn dead_tokens_are_sent_once_each_and_the_last_ends_the_pool() {
    let rounds = run(&Options { scenes: 5, dead: 4, ..Options::default() }).await;
    assert_eq!(naive(&rounds[0]), (20, 20, 25, 0));
    assert_eq!(failover(&rounds[0]), (4, 4, 5, 4, 0));
    let mut incidents = codes(&rounds[0]);
    incidents.retain(|code| *code != "request_failed");
    assert_eq!(incidents, ["account_out", "account_out", "account_out", "pool_dead"]);
    assert_eq!(attempts(&rounds[0]), [3, 1, 0, 0, 0]);
}

#[tokio::test]
async fn scene_has_at_most_three_rejected_accounts() {
    let rounds = run(&Options { scenes: 5, dead: 20, ..Options::default() }).await;
    assert_eq!(failover(&rounds[0]), (15, 15, 5, 15, 0));
    assert!(!codes(&rounds[0]).contains(&"pool_dead"));
    assert_eq!(attempts(&rounds[0]), [3; 5]);
}

/// Returns the number of attempts of each failed request.
fn attempts(round: &Round) -> Vec<usize> {
    round.events.iter().filter_map(Event::record).map(|record| record.trail.len()).collect()
}

#[tokio::test]
async fn overloaded_model_is_replaced_and_the_answer_names_the_next() {
    let options = Options { scenes: 5, models: 3, accounts: 4, ..Options::default() };
    let round = &run(&options).await[3];
    assert_eq!((naive(round), &*round.naive.outcome), ((10, 0, 5, 5), "200"));
    assert_eq!((failover(round), &*round.failover.outcome), ((10, 0, 0, 0, 5), "200 by video-2"));

    let alone = Options { scenes: 4, models: 1, copies: 2, ..Options::default() };
    let round = &run(&alone).await[3];
    assert_eq!((naive(round), &*round.naive.outcome), ((12, 0, 12, 0), "529"));
    assert_eq!((failover(round), &*round.failover.outcome), ((4, 0, 4, 0, 0), "529"));
    assert_eq!(not_resent(round), ["no_fallback"; 4]);
}

#[tokio::test]
async fn delay_of_the_server_is_waited_for_once() {
    let options = Options { scenes: 4, models: 3, copies: 2, ..Options::default() };
    let rounds = run(&options).await;
    // 3 models at level 1 and for each of 2 copies.
    assert_eq!((naive(&rounds[4]), billed(&rounds[4])), ((36, 0, 36, 0), (0, 8)));
    assert_eq!(failover(&rounds[4]), (5, 0, 0, 0, 4));
}

#[tokio::test]
async fn outage_uses_up_the_budget_and_at_most_four_calls_a_scene() {
    for (models, calls, why) in [
        (1, [3, 1, 1, 1, 1], ["retries", "budget", "budget", "budget", "budget"]),
        (2, [4, 2, 2, 2, 2], ["attempts", "budget", "budget", "budget", "budget"]),
        (3, [4, 3, 3, 3, 3], ["attempts", "budget", "budget", "budget", "budget"]),
        (9, [4, 4, 4, 4, 4], ["attempts"; 5]),
    ] {
        let options = Options { scenes: 5, models, accounts: 3, copies: 2, ..Options::default() };
        let round = &run(&options).await[5];
        assert_eq!(naive(round), (15 * models, 0, 15 * models, 0));
        assert_eq!(failover(round), (calls.iter().sum(), 0, 5, 0, 0));
        assert_eq!((attempts(round), not_resent(round)), (calls.to_vec(), why.to_vec()));
    }
}

#[tokio::test]
async fn lost_answer_is_billed_once_and_naively_twice() {
    for (models, calls) in [(1, 8), (2, 6), (3, 6)] {
        let options = Options { scenes: 5, models, copies: 3, ..Options::default() };
        let round = &run(&options).await[6];
        assert_eq!(naive(round), (calls, 0, 1, 5));
        assert_eq!(failover(round), (5, 0, 1, 0, 4));
        assert_eq!(billed(round), (18, 15));
        assert_eq!(not_resent(round), ["perhaps_done"]);
    }
    let only = Options { scenes: 1, ..Options::default() };
    let round = &run(&only).await[6];
    assert_eq!((billed(round), &*round.failover.outcome), ((2, 1), "no answer"));
}

/// Returns the billed videos of the naive retry, and of this crate.
fn billed(round: &Round) -> (usize, usize) {
    (round.naive.billed, round.failover.billed)
}

/// Returns the reason why each failed request was not resent.
fn not_resent(round: &Round) -> Vec<&'static str> {
    let last = round.events.iter().filter_map(Event::record).filter_map(|r| r.trail.last());
    let why = last.map(|attempt| match attempt.followed {
        Followed::NotResent(why) => why.as_str(),
        _ => "sent again",
    });
    why.collect()
}

#[tokio::test]
async fn results_are_the_expected_ones_for_all_options() {
    for n in 0..3 * 2 * 3 * 4 * 2 {
        let options = Options {
            scenes: 1 + n % 3,
            models: 1 + n / 3 % 2,
            accounts: 1 + n / 6 % 3,
            dead: 1 + n / 18 % 4,
            copies: 1 + n / 72 % 2,
            json: false,
        };
        assert_eq!(print::broken(&run(&options).await), "", "{options:?}");
    }
}

#[tokio::test]
async fn unexpected_result_is_printed() {
    let mut rounds = run(&Options::default()).await;
    rounds[1].failover.rejected += 1;
    let printed = print::broken(&rounds);
    assert_eq!(printed.lines().count(), 2, "{printed}");
}

#[tokio::test]
async fn naive_retry_uploads_the_image_again_after_a_400_only() {
    let [tokens, models] = [["good"], ["m1"]].map(|names| names.map(str::to_owned));
    let server = VideoApi::start(&tokens, &models, Trouble::None).await.unwrap();
    // The first two are unknown to the server: two calls in vain at each level.
    let asked = ["m2", "m3", "m1"].map(str::to_owned);
    let mut naive = Naive::new(&server.url(), &tokens, &asked);
    let job = |image: &str| Job { prompt: "a cat".into(), image: image.into(), copies: 1 };
    let made = Scene { made: true, outcome: "200".into() };
    assert_eq!(naive.make(&job(server::IMAGE)).await.unwrap(), made);
    assert_eq!(statuses(&server), [404, 404, 200]);
    assert_eq!(naive.make(&job("img-gone")).await.unwrap(), made);
    assert_eq!(statuses(&server)[3..], [404, 404, 400, 201, 404, 404, 200]);
    assert_eq!(naive.lines[4], "HTTP 400: The image \"img-gone\" has expired.");
    assert_eq!(naive.lines.len(), 7);
}

fn statuses(server: &VideoApi) -> Vec<u16> {
    server.answers().iter().map(http::StatusCode::as_u16).collect()
}

#[tokio::test]
async fn json_has_one_object_a_line_with_members_in_order() {
    let text = print::json(&run(&Options::default()).await);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 14);
    assert_eq!(
        lines[..2],
        [
            r#"{"scenario":1,"who":"naive","upstream_calls":12,"error_lines":15,"request_reports":null,"incidents":null,"made":0,"outcome":"401"}"#,
            r#"{"scenario":1,"who":"failover","upstream_calls":1,"error_lines":null,"request_reports":3,"incidents":1,"made":0,"outcome":"401 credential_invalid"}"#,
        ]
    );
    let row: serde_json::Value = serde_json::from_str(lines[3]).unwrap();
    assert_eq!((row["scenario"].as_u64(), row["who"].as_str()), (Some(2), Some("failover")));
    assert_eq!(
        lines[6..8],
        [
            r#"{"scenario":4,"who":"naive","upstream_calls":6,"error_lines":3,"request_reports":null,"incidents":null,"made":3,"outcome":"200"}"#,
            r#"{"scenario":4,"who":"failover","upstream_calls":6,"error_lines":null,"request_reports":0,"incidents":0,"made":3,"outcome":"200 by video-2"}"#,
        ]
    );
}

#[tokio::test]
async fn text_has_each_line_once() {
    let options = Options::default();
    let text = print::person(&run(&options).await, &options);
    for line in [
        "\n1. One dead token\n   Each dead token costs one call and one report, not one for each model and scene.\n",
        "\n   calls          12                1\n",
        "\n   reported       15 error lines    1 incident, 3 failed requests\n",
        "\n     12 x HTTP 401: All 1 authentication token(s) are invalid or expired.\n",
        "\n      3 x HTTP 401: Token #1 is invalid (401 Unauthorized)\n",
        "\n      1 x account \"account-1\" (#1 of 2): token rejected (401 credential_invalid); \
         quarantined for 300 s\n",
        "\n   outcome        200               200 by video-2\n",
        "\n   tower-failover reports nothing\n",
        "\n          [2] account \"account-2\", model \"video-2\": 503 transient, not_resent: budget\n",
        "\n   videos billed  4                 3\n",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    assert!(!text.contains("token-1"), "a secret is in\n{text}");
}

#[test]
fn arguments_are_parsed() {
    let options = parse("--scenes 5 --models 3 --accounts 4 --json").unwrap().unwrap();
    assert_eq!((options.scenes, options.models, options.accounts), (5, 3, 4));
    assert_eq!((options.dead, options.copies, options.json), (1, 1, true));
    assert!(parse("--scenes 5 --help").unwrap().is_none());
}

#[test]
fn bad_arguments_are_errors_that_name_them() {
    for (args, message) in [
        ("--scenes", "--scenes needs a number"),
        ("--scenes 0", "--scenes needs a number from 1 to 1000, not \"0\""),
        ("--models -1", "--models needs a number from 1 to 1000, not \"-1\""),
        ("--accounts many", "--accounts needs a number from 1 to 1000, not \"many\""),
        ("--dead 1001", "--dead needs a number from 1 to 1000, not \"1001\""),
        ("--jsn", "unknown argument \"--jsn\""),
        ("5", "unknown argument \"5\""),
    ] {
        assert_eq!(parse(args).unwrap_err(), message, "{args}");
    }
}

fn parse(args: &str) -> Result<Option<Options>, String> {
    Options::parse(args.split_whitespace().map(str::to_owned))
}
