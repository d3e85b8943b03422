use std::time::Duration;

use http::StatusCode;
use proptest::prelude::*;
use tokio::time::Instant;

use super::support::*;
use crate::{
    classify::{Code, Reason},
    clock::Now,
    pool::{
        Pool, PoolView, State,
        select::{Query, Unavailable},
    },
    report::{Event, OutReason},
};

const UNAUTHORIZED: Option<StatusCode> = Some(StatusCode::UNAUTHORIZED);

fn unavailable<T: std::fmt::Debug>(result: Result<T, Unavailable>) -> (Code, Option<u64>) {
    let error = result.unwrap_err();
    (error.code, error.retry_after.map(|time| time.as_secs()))
}

#[test]
fn rejection_quarantines_once_and_reports_once() {
    let reported = Reported::default();
    let bench = Bench::new(accounts(&["alice", "bob"]).reporter(reported.reporter()));
    let mut first = bench.pinned("alice").unwrap();
    let mut second = bench.pinned("alice").unwrap();
    let won = first.rejected(Reason::Invalid, UNAUTHORIZED, &mut bench.clock());
    assert!(won.won);
    assert_eq!(won.rest.as_secs(), 300);
    assert!(!second.still_good());
    let lost = second.rejected(Reason::Invalid, UNAUTHORIZED, &mut bench.clock());
    assert_eq!(lost, Rejection { won: false, rest: won.rest });
    let events = reported.events();
    let [Event::AccountOut(out)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&*out.account.id, out.account.ordinal, out.account.of), ("alice", 1, 2));
    assert_eq!(out.reason, OutReason::Rejected(Reason::Invalid));
    assert_eq!((out.generation, out.status), (1, UNAUTHORIZED));
    assert_eq!(bench.order(3), ["bob"; 3]);
}

#[test]
fn last_rejection_is_one_incident_with_the_rejection_inside() {
    let reported = Reported::default();
    let builder = accounts(&["alice", "bob"]).help("log in again").reporter(reported.reporter());
    let bench = Bench::new(builder);
    for id in ["bob", "alice"] {
        bench.pinned(id).unwrap().rejected(Reason::Revoked, UNAUTHORIZED, &mut bench.clock());
    }
    let events = reported.events();
    let [Event::AccountOut(bob), Event::PoolDead(dead)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(&*bob.account.id, "bob");
    assert_eq!((dead.accounts, &*dead.cause.account.id), (2, "alice"));
    assert_eq!(dead.help.as_deref(), Some("log in again"));
    assert!(bench.pool.surely_dead());
    assert_eq!(unavailable(bench.pick()), (Code::CredentialRevoked, None));
}

#[test]
fn cooling_accounts_keep_a_pool_alive() {
    let reported = Reported::default();
    let bench = Bench::new(accounts(&["alice", "bob"]).reporter(reported.reporter()));
    bench.pinned("alice").unwrap().limited(None, Some(secs(60)), &mut bench.clock());
    bench.pinned("bob").unwrap().rejected(Reason::Invalid, None, &mut bench.clock());
    assert_eq!(reported.take(), ["out bob"]);
    assert_eq!(unavailable(bench.pick()), (Code::PoolLimited, Some(60)));
    assert!(!bench.pool.surely_dead());
}

#[test]
fn probe_is_sent_once_and_heals() {
    let reported = Reported::default();
    let mut bench = Bench::new(accounts(&["alice"]).reporter(reported.reporter()));
    bench.pick().unwrap().rejected(Reason::Expired, UNAUTHORIZED, &mut bench.clock());
    assert_eq!(reported.take(), ["dead alice"]);
    bench.pass(secs(299));
    assert_eq!(unavailable(bench.pick()), (Code::CredentialExpired, None));
    bench.pass(secs(2));
    assert!(bench.query(&Query { probes: false, ..ANY }).is_err());
    let mut probe = bench.pick().unwrap();
    assert!(probe.is_probe() && probe.still_good());
    assert_eq!(bench.state("alice"), State::Probing);
    assert_eq!(unavailable(bench.pick()), (Code::CredentialExpired, None));
    assert_eq!(unavailable(bench.pinned("alice")), (Code::CredentialExpired, None));
    probe.succeeded(None);
    assert!(!probe.is_probe());
    assert_eq!(bench.state("alice"), State::Usable);
    assert_eq!(bench.order(2), ["alice"; 2]);
    // It has succeeded now: a refusal is worth another look soon, and is a new incident.
    let again = bench.pick().unwrap().rejected(Reason::Expired, None, &mut bench.clock());
    assert_eq!((again.won, again.rest.as_secs()), (true, 5));
    assert_eq!(reported.take(), ["dead alice"]);
}

#[test]
fn failed_probe_doubles_and_reports_nothing() {
    let reported = Reported::default();
    let mut bench = Bench::new(accounts(&["alice"]).reporter(reported.reporter()));
    bench.pick().unwrap().rejected(Reason::Invalid, None, &mut bench.clock());
    reported.take();
    bench.pass(secs(301));
    let rejection = bench.pick().unwrap().rejected(Reason::Invalid, None, &mut bench.clock());
    assert_eq!((rejection.won, rejection.rest.as_secs()), (false, 600));
    assert!(reported.take().is_empty());
    bench.pass(secs(599));
    assert!(bench.pick().is_err());
    bench.pass(secs(2));
    assert!(bench.pick().unwrap().is_probe());
}

#[test]
fn inconclusive_probe_is_returned_and_changes_nothing() {
    let mut bench = Bench::new(accounts(&["alice"]));
    bench.pick().unwrap().rejected(Reason::Invalid, None, &mut bench.clock());
    bench.pass(secs(301));
    drop(bench.pick().unwrap());
    assert_eq!(bench.state("alice"), State::Quarantined);
    let mut probe = bench.pick().unwrap();
    assert!(probe.is_probe());
    probe.inconclusive();
    assert!(bench.pick().unwrap().is_probe(), "the next one may try at once");
}

#[test]
fn healthy_failure_of_a_probe_heals() {
    for how in ["forbidden", "limited", "quota", "model limited", "model missing"] {
        let mut bench = Bench::new(accounts(&["alice"]));
        bench.pick().unwrap().rejected(Reason::Invalid, None, &mut bench.clock());
        bench.pass(secs(301));
        let (mut probe, mut now) = (bench.pick().unwrap(), bench.clock());
        match how {
            "forbidden" => probe.healthy_failure(),
            "limited" => probe.limited(None, None, &mut now),
            "quota" => probe.out_of_quota(None, None, &mut now),
            "model limited" => probe.limited(Some("m"), None, &mut now),
            _ => probe.model_missing("m", None, &mut now),
        }
        drop(probe);
        let cooldowns = matches!(how, "limited" | "quota");
        let state = if cooldowns { State::Cooling } else { State::Usable };
        assert_eq!(bench.state("alice"), state, "{how}");
        assert!(!bench.pool.surely_dead(), "{how}");
    }
}

#[test]
fn cooldown_ends_by_itself_and_only_grows() {
    let mut bench = Bench::new(accounts(&["alice", "bob"]));
    let mut late = bench.pinned("alice").unwrap();
    bench.pinned("alice").unwrap().limited(None, Some(secs(60)), &mut bench.clock());
    bench.pass(secs(1));
    late.limited(None, Some(secs(5)), &mut bench.clock());
    assert!(!bench.pool.cool_down("alice", None, Duration::ZERO));
    assert_eq!(bench.order(3), ["bob"; 3]);
    bench.pass(secs(58));
    assert_eq!(bench.order(1), ["bob"]);
    bench.pass(secs(1));
    assert_eq!(bench.order(2), ["alice", "bob"]);
}

#[test]
fn doubling_goes_one_step_a_window_and_starts_anew_after_a_success() {
    let mut bench = Bench::new(accounts(&["alice"]));
    let wait = |bench: &Bench| bench.pick().unwrap_err().retry_after.unwrap().as_secs();
    for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
        let mut two = [bench.pick().unwrap(), bench.pick().unwrap()];
        for one in &mut two {
            one.limited(None, None, &mut bench.clock());
        }
        assert_eq!(wait(&bench), expected);
        bench.pass(secs(61));
    }
    bench.pick().unwrap().succeeded(None);
    bench.pick().unwrap().limited(None, None, &mut bench.clock());
    assert_eq!(wait(&bench), 1);
}

#[test]
fn doubling_starts_anew_after_an_operator_acts_and_not_after_an_outdated_success() {
    let limit = |bench: &mut Bench| {
        bench.pick().unwrap().limited(None, None, &mut bench.clock());
        let wait = bench.pick().unwrap_err().retry_after.unwrap().as_secs();
        bench.pass(secs(61));
        wait
    };
    let mut bench = Bench::new(accounts(&["alice"]));
    assert_eq!((limit(&mut bench), limit(&mut bench)), (1, 2));
    bench.pool.revive("alice");
    assert_eq!(limit(&mut bench), 1);
    let mut outdated = bench.pick().unwrap();
    bench.pool.replace("alice", crate::Credential::bearer("new").unwrap()).unwrap();
    assert_eq!(limit(&mut bench), 1);
    outdated.succeeded(None);
    assert_eq!(limit(&mut bench), 2);
}

#[test]
fn server_delay_is_kept_up_to_max_rest() {
    let bench = Bench::new(accounts(&["alice"]).max_rest(secs(100)));
    bench.pick().unwrap().limited(None, Some(Duration::MAX), &mut bench.clock());
    assert_eq!(unavailable(bench.pick()), (Code::PoolLimited, Some(100)));
    let bench = Bench::new(accounts(&["alice"]));
    bench.pick().unwrap().limited(None, Some(Duration::ZERO), &mut bench.clock());
    assert!(bench.pick().is_ok(), "a delay of zero is none");
}

#[test]
fn disabled_cooling_ignores_a_429() {
    let bench = Bench::new(accounts(&["alice"]).cooling(false));
    bench.pick().unwrap().limited(None, Some(secs(60)), &mut bench.clock());
    bench.pick().unwrap().limited(Some("m"), None, &mut bench.clock());
    assert!(bench.query(&Query { model: Some("m"), ..ANY }).is_ok());
}

#[test]
fn out_of_quota_is_one_incident_a_cooldown() {
    let reported = Reported::default();
    let mut bench = Bench::new(accounts(&["alice"]).reporter(reported.reporter()));
    let mut late = bench.pick().unwrap();
    bench.pick().unwrap().out_of_quota(None, UNAUTHORIZED, &mut bench.clock());
    late.out_of_quota(Some(secs(7200)), None, &mut bench.clock());
    assert_eq!(reported.take(), ["out alice"], "not dead: what rests is alive");
    assert_eq!(unavailable(bench.pick()), (Code::OutOfQuota, Some(7200)));
    bench.pass(secs(7201));
    bench.pick().unwrap().out_of_quota(None, None, &mut bench.clock());
    assert_eq!(reported.take(), ["out alice"]);
    assert_eq!(unavailable(bench.pick()), (Code::OutOfQuota, Some(1800)));
}

#[test]
fn limited_account_among_those_without_quota_is_limited() {
    let bench = Bench::new(accounts(&["alice", "bob"]));
    bench.pinned("alice").unwrap().out_of_quota(None, None, &mut bench.clock());
    bench.pinned("bob").unwrap().limited(None, Some(secs(9000)), &mut bench.clock());
    assert_eq!(unavailable(bench.pick()), (Code::PoolLimited, Some(1800)));
}

#[test]
fn model_cools_and_the_account_serves_others() {
    let mut bench = Bench::new(accounts(&["alice", "bob"]));
    let model = |model| Query { model: Some(model), ..ANY };
    bench.pinned("alice").unwrap().limited(Some("big"), Some(secs(60)), &mut bench.clock());
    for _ in 0..3 {
        assert_eq!(&**bench.query(&model("big")).unwrap().id(), "bob");
    }
    bench.pinned("bob").unwrap().model_missing("big", None, &mut bench.clock());
    assert_eq!(unavailable(bench.query(&model("big"))), (Code::PoolLimited, Some(60)));
    assert!(bench.query(&model("small")).is_ok());
    assert!(bench.pick().is_ok(), "a request without a model goes to anyone");
    let view = crate::pool::view::view(bench.pool.shared(), &mut bench.clock());
    assert_eq!(&*view.accounts[0].model_cooldowns[0].model, "big");
    assert_eq!(view.accounts[0].state, State::Usable);
    bench.pass(secs(60));
    assert_eq!(&**bench.query(&model("big")).unwrap().id(), "alice");
    bench.pass(secs(540));
    let mut served: Vec<_> =
        (0..2).map(|_| bench.query(&model("big")).unwrap().id().to_string()).collect();
    served.sort();
    assert_eq!(served, ["alice", "bob"]);
}

#[test]
fn models_doubling_starts_anew_after_a_success_with_it() {
    let mut bench = Bench::new(accounts(&["alice"]));
    let query = Query { model: Some("m"), ..ANY };
    let rest = |bench: &Bench| {
        bench.query(&query).unwrap().limited(Some("m"), None, &mut bench.clock());
        bench.query(&query).unwrap_err().retry_after.unwrap().as_secs()
    };
    assert_eq!(rest(&bench), 1);
    bench.pass(secs(5));
    assert_eq!(rest(&bench), 2);
    bench.pass(secs(5));
    bench.query(&query).unwrap().succeeded(None);
    assert_eq!(rest(&bench), 1);
}

#[test]
fn models_are_kept_up_to_64() {
    let bench = Bench::new(accounts(&["alice"]));
    for i in 0..65_u64 {
        let mut lease = bench.pick().unwrap();
        lease.limited(Some(&format!("m{i}")), Some(secs(100 + i)), &mut bench.clock());
    }
    assert!(bench.query(&Query { model: Some("m0"), ..ANY }).is_ok());
    assert!(bench.query(&Query { model: Some("m1"), ..ANY }).is_err());
    assert!(bench.query(&Query { model: Some("m64"), ..ANY }).is_err());
}

#[test]
fn evidence_about_an_old_credential_never_touches_the_new_one() {
    let reported = Reported::default();
    let bench = Bench::new(accounts(&["alice"]).reporter(reported.reporter()));
    let mut old: Vec<_> = (0..7).map(|_| bench.pick().unwrap()).collect();
    let new = crate::credential::Credential::bearer("tok-new-alice").unwrap();
    assert_eq!(bench.pool.replace("alice", new).unwrap(), 2);
    assert!(old.iter().all(|lease| !lease.still_good()));
    let before = bench.pool.view();
    let now = &mut bench.clock();
    assert_eq!(
        old[0].rejected(Reason::Revoked, UNAUTHORIZED, now),
        Rejection { won: false, rest: Duration::ZERO }
    );
    old[1].limited(None, Some(secs(60)), now);
    old[2].limited(Some("m"), Some(secs(60)), now);
    old[3].out_of_quota(None, None, now);
    old[4].model_missing("m", None, now);
    old[5].succeeded(None);
    old[6].healthy_failure();
    assert!(reported.take().is_empty());
    assert_eq!(bench.pool.view(), before);
    let mut new = bench.query(&Query { model: Some("m"), ..ANY }).unwrap();
    assert_eq!(new.generation(), 2);
    let rejection = new.rejected(Reason::Invalid, None, now);
    assert_eq!(rejection.rest.as_secs(), 300, "the new one is not trusted yet");
}

#[test]
fn late_success_never_clears_a_rejection() {
    let bench = Bench::new(accounts(&["alice"]));
    let mut late = bench.pick().unwrap();
    bench.pick().unwrap().rejected(Reason::Invalid, None, &mut bench.clock());
    late.succeeded(None);
    assert_eq!(bench.state("alice"), State::Quarantined);
    assert!(bench.pick().is_err());
}

#[test]
fn pick_at_counts_cooldowns_that_are_over_by_then_and_no_probes() {
    let bench = Bench::new(accounts(&["alice", "bob"]));
    bench.pinned("alice").unwrap().limited(None, Some(secs(3)), &mut bench.clock());
    bench.pinned("bob").unwrap().rejected(Reason::Invalid, None, &mut bench.clock());
    let at = |time| bench.pool.pick_at(&ANY, bench.now + time);
    assert_eq!(unavailable(at(secs(2))), (Code::PoolLimited, Some(1)));
    assert_eq!(&**at(secs(3)).unwrap().id(), "alice");
    assert_eq!(&**at(secs(1000)).unwrap().id(), "alice");
    assert_eq!(&**at(secs(1000)).unwrap().id(), "alice", "never the one in quarantine");
    // Looking forward has changed nothing, and who is not due is not looked at twice.
    assert_eq!(unavailable(bench.pick()), (Code::PoolLimited, Some(3)));
    assert!(bench.pool.shared().roster.load().usable.is_empty());
    assert_eq!(bench.state("alice"), State::Cooling);
    assert_eq!(bench.state("bob"), State::Quarantined);
    let mut later = Bench { pool: bench.pool.clone(), now: bench.now };
    later.pass(secs(3));
    assert_eq!(later.order(2), ["alice", "alice"]);
    later.pass(secs(300));
    assert_eq!(later.order(2), ["bob", "alice"], "bob is due, and heals");
}

#[test]
fn clock_is_not_read_while_no_account_cools() {
    let bench = Bench::new(accounts(&["alice", "bob"]));
    let mut now = Now::unread();
    let lease = bench.pool.pick(&ANY, &mut now).unwrap();
    let mut lease = Leased::new(&bench.pool, lease);
    lease.sent();
    lease.succeeded(Some(3));
    assert_eq!(format!("{now:?}"), format!("{:?}", Now::unread()));
}

#[test]
fn strict_pin_ignores_cooldowns_and_not_rejections() {
    let mut bench = Bench::new(accounts(&["alice", "bob"]));
    bench.pinned("alice").unwrap().limited(None, Some(secs(60)), &mut bench.clock());
    bench.pinned("alice").unwrap().limited(Some("m"), Some(secs(60)), &mut bench.clock());
    assert_eq!(&**bench.pinned("alice").unwrap().id(), "alice");
    let prefer = Query { pin: Some(crate::pool::select::Pin::Prefer("alice")), ..ANY };
    assert_eq!(&**bench.query(&prefer).unwrap().id(), "bob");
    bench.pinned("alice").unwrap().rejected(Reason::Inactive, None, &mut bench.clock());
    assert_eq!(unavailable(bench.pinned("alice")), (Code::CredentialInactive, None));
    bench.pass(secs(301));
    let probe = bench.pinned("alice").unwrap();
    assert!(probe.is_probe());
    assert_eq!(unavailable(bench.pinned("nobody")), (Code::PinUnknown, None));
    let prefer = Query { pin: Some(crate::pool::select::Pin::Prefer("nobody")), ..ANY };
    assert_eq!(&**bench.query(&prefer).unwrap().id(), "bob");
}

#[test]
fn code_is_the_most_common_reason() {
    let bench = Bench::new(accounts(&["a", "b", "c"]));
    for (id, reason) in [("a", Reason::Expired), ("b", Reason::Revoked), ("c", Reason::Revoked)] {
        bench.pinned(id).unwrap().rejected(reason, None, &mut bench.clock());
    }
    assert_eq!(unavailable(bench.pick()), (Code::CredentialRevoked, None));
    // The answer is kept, and forgotten when something changes.
    assert_eq!(unavailable(bench.pick()), (Code::CredentialRevoked, None));
    assert!(bench.pool.remove("b"));
    assert_eq!(unavailable(bench.pick()), (Code::CredentialExpired, None));
    assert!(bench.pool.cool_down("a", None, secs(600)), "a longer quarantine");
    assert_eq!(unavailable(bench.pick()), (Code::CredentialExpired, None));
}

#[test]
fn kept_answer_gives_the_time_from_now() {
    let mut bench = Bench::new(accounts(&["a", "b"]));
    bench.pinned("a").unwrap().limited(None, Some(secs(60)), &mut bench.clock());
    bench.pinned("b").unwrap().limited(None, Some(secs(90)), &mut bench.clock());
    assert_eq!(unavailable(bench.pick()), (Code::PoolLimited, Some(60)));
    bench.pass(secs(50));
    assert_eq!(unavailable(bench.pick()), (Code::PoolLimited, Some(10)));
    bench.pass(secs(10));
    assert_eq!(bench.order(2), ["a", "a"]);
}

#[test]
fn kept_answer_ends_with_the_cooldown() {
    let mut bench = Bench::new(accounts(&["a"]));
    let mut lease = bench.pick().unwrap();
    let avoid = Without(vec![lease.uid()]);
    lease.limited(None, Some(secs(10)), &mut bench.clock());
    assert_eq!(unavailable(bench.pick()), (Code::PoolLimited, Some(10)));
    bench.pass(secs(10));
    let avoiding = Query { avoid: Some(&avoid), ..ANY };
    assert_eq!(unavailable(bench.query(&avoiding)), (Code::PoolEmpty, None));
}

#[test]
fn cooldown_that_grows_a_thousand_times_is_queued_once() {
    let bench = Bench::new(accounts(&["a"]));
    for time in 1..1000 {
        assert!(bench.pool.cool_down("a", None, secs(time)));
    }
    assert_eq!(bench.pool.shared().timers.len(), 1);
}

#[test]
fn pool_that_can_never_serve_says_so() {
    let bench = Bench::new(accounts(&[]).may_be_empty());
    assert_eq!(unavailable(bench.pick()), (Code::PoolEmpty, None));
    assert!(bench.pool.surely_dead());
    let only = account("alice").models(["small"]);
    let bench = Bench::new(accounts(&[]).account(only));
    let big = Query { model: Some("big"), ..ANY };
    assert_eq!(unavailable(bench.query(&big)), (Code::PoolEmpty, None));
    assert!(bench.query(&Query { model: Some("small"), ..ANY }).is_ok());
    assert!(bench.pick().is_ok());
}

#[test]
fn counts_show_the_outcomes_of_attempts() {
    let bench = Bench::new(accounts(&["alice"]));
    let mut all: Vec<_> = (0..6).map(|_| bench.pick().unwrap()).collect();
    for lease in &mut all {
        lease.sent();
    }
    all[0].succeeded(None);
    all[0].succeeded(None);
    all[1].limited(None, None, &mut bench.clock());
    all[2].rejected(Reason::Invalid, None, &mut bench.clock());
    all[3].inconclusive();
    all.pop();
    let PoolView { accounts, .. } = bench.pool.view();
    let counts = accounts[0].counts;
    assert_eq!((counts.sent, counts.succeeded), (6, 1));
    assert_eq!((counts.rejected, counts.limited), (1, 1));
    assert_eq!(accounts[0].in_flight, 1);
    all.clear();
    assert_eq!(bench.pool.view().accounts[0].in_flight, 0);
}

/// An account as a person would write it down: the oracle of a whole pool.
#[derive(Clone, Debug)]
struct Naive {
    out: bool,
    until: Duration,
}

proptest! {
    // Round robin with skips, rests and quarantines against a list that is walked from the start.
    #[test]
    fn pool_agrees_with_a_plain_list(
        n in 1..150_usize,
        ops in prop::collection::vec((0..10_u8, any::<prop::sample::Index>(), 1..400_u64), 1..120),
    ) {
        let ids: Vec<String> = (0..n).map(|i| format!("a{i:03}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let mut bench = Bench::new(accounts(&ids));
        let start = bench.now;
        let mut naive = vec![Naive { out: false, until: Duration::ZERO }; n];
        let mut cursor = 0;
        for (what, who, time) in ops {
            let who = who.index(n);
            match what {
                0..=1 => bench.pass(secs(time)),
                2 => {
                    if let Ok(mut lease) = bench.pinned(ids[who]) {
                        let passed = bench.now - start;
                        if lease.is_probe() {
                            prop_assert!(naive[who].out && naive[who].until <= passed);
                        } else {
                            prop_assert!(!naive[who].out);
                        }
                        let rejection = lease.rejected(Reason::Invalid, None, &mut bench.clock());
                        naive[who] = Naive { out: true, until: passed + rejection.rest };
                    }
                }
                3..=4 => {
                    if let Ok(mut lease) = bench.pinned(ids[who]) {
                        lease.limited(None, Some(secs(time)), &mut bench.clock());
                        let until = bench.now - start + secs(time);
                        let one = &mut naive[who];
                        one.out = false;
                        one.until = one.until.max(until);
                    }
                }
                _ => {
                    let passed = bench.now - start;
                    let free = |one: &Naive| one.until <= passed;
                    let expected = (0..n).map(|i| (cursor + i) % n).find(|i| free(&naive[*i]));
                    match (bench.pick(), expected) {
                        (Ok(mut lease), Some(i)) => {
                            prop_assert_eq!(&**lease.id(), ids[i]);
                            prop_assert_eq!(lease.is_probe(), naive[i].out);
                            lease.succeeded(None);
                            naive[i].out = false;
                            cursor = (i + 1) % n;
                        }
                        (Err(error), None) => {
                            let resting = naive.iter().filter(|one| !one.out).map(|one| one.until);
                            let soonest = resting.min().map(|until| until.saturating_sub(passed));
                            prop_assert_eq!(error.retry_after, soonest);
                            let dead = error.code == Code::CredentialInvalid;
                            prop_assert_eq!(dead, soonest.is_none());
                        }
                        (lease, expected) => {
                            prop_assert!(false, "{:?} instead of {:?}", lease, expected);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn time_before_the_build_is_accepted() {
    let bench = Bench::new(accounts(&["alice"]));
    let early = Instant::now().checked_sub(secs(3600)).unwrap_or(bench.now);
    let mut now = Now::at(early);
    bench.pick().unwrap().limited(None, Some(secs(1)), &mut now);
    assert!(bench.pick().is_ok() || bench.pick().is_err());
}

#[test]
fn pick_at_hides_no_cooldown_from_current_requests() {
    let bench = Bench::new(accounts(&["alice"]));
    let mut lease = bench.pick().unwrap();
    let alice = lease.uid();
    lease.limited(None, Some(secs(10)), &mut bench.clock());
    drop(lease);
    let query = Query { avoid: Some(&Without(vec![alice])), ..ANY };
    assert!(bench.pool.pick_at(&query, bench.now + secs(20)).is_err());
    assert_eq!(unavailable(bench.pick()), (Code::PoolLimited, Some(10)));
}

#[test]
fn request_handles_at_most_one_batch_of_due_timers() {
    let ids: Vec<String> = (0..600).map(|i| i.to_string()).collect();
    let mut bench =
        Bench::new(Pool::builder().any_origin().accounts(ids.iter().map(|id| account(id))));
    for id in &ids {
        bench.pinned(id).unwrap().limited(None, Some(secs(60)), &mut bench.clock());
    }
    assert!(bench.pick().is_err());
    assert_eq!(bench.pool.shared().timers.len(), 600);
    bench.pass(secs(60));
    for left in [344, 88, 0, 0] {
        assert!(bench.pick().is_ok());
        assert_eq!(bench.pool.shared().timers.len(), left);
    }
    let mut served = bench.order(600);
    served.sort();
    served.dedup();
    assert_eq!(served.len(), 600);
}

#[test]
fn requests_that_were_limited_together_for_a_model_are_one_step_of_its_doubling() {
    let mut bench = Bench::new(accounts(&["alice"]));
    let query = Query { model: Some("m"), ..ANY };
    for rest in [1, 2] {
        let mut flying: Vec<_> = (0..5).map(|_| bench.query(&query).unwrap()).collect();
        for lease in &mut flying {
            lease.limited(Some("m"), None, &mut bench.clock());
        }
        let view = crate::pool::view::view(bench.pool.shared(), &mut bench.clock());
        assert_eq!(view.accounts[0].model_cooldowns.len(), 1);
        assert_eq!(unavailable(bench.query(&query)), (Code::PoolLimited, Some(rest)));
        bench.pass(secs(rest));
        // To the millisecond.
        let view = crate::pool::view::view(bench.pool.shared(), &mut bench.clock());
        assert!(view.accounts[0].model_cooldowns.is_empty(), "{view:?}");
        assert!(bench.query(&query).is_ok());
    }
}

#[test]
fn success_with_a_model_says_nothing_about_another() {
    let mut bench = Bench::new(accounts(&["alice"]));
    let query = |model| Query { model: Some(model), ..ANY };
    let (mut one, mut two) = (bench.pick().unwrap(), bench.pick().unwrap());
    one.limited(Some("m1"), None, &mut bench.clock());
    two.limited(Some("m2"), None, &mut bench.clock());
    bench.pass(secs(1));
    bench.query(&query("m1")).unwrap().succeeded(None);
    for (model, rest) in [("m1", 1), ("m2", 2)] {
        bench.query(&query(model)).unwrap().limited(Some(model), None, &mut bench.clock());
        assert_eq!(unavailable(bench.query(&query(model))), (Code::PoolLimited, Some(rest)));
    }
}

#[test]
fn success_with_a_model_does_not_end_a_later_cooldown() {
    let mut bench = Bench::new(accounts(&["alice"]));
    let query = Query { model: Some("m"), ..ANY };
    bench.query(&query).unwrap().limited(Some("m"), None, &mut bench.clock());
    bench.pass(secs(1));
    let (mut early, mut late) = (bench.query(&query).unwrap(), bench.query(&query).unwrap());
    late.limited(Some("m"), Some(secs(60)), &mut bench.clock());
    early.succeeded(None);
    assert_eq!(unavailable(bench.query(&query)), (Code::PoolLimited, Some(60)));
}
