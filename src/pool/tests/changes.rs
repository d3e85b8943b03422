use super::support::*;
use crate::{
    classify::{Code, Reason},
    credential::Credential,
    pool::{Cascade, OwnCredential, Pool, State, select::Query},
    report::Event,
};

fn token(text: &str) -> Credential {
    Credential::bearer(text).unwrap()
}

#[test]
fn accounts_come_and_go_while_requests_are_under_way() {
    let bench = Bench::new(accounts(&[]).may_be_empty());
    assert_eq!(bench.pick().unwrap_err().code, Code::PoolEmpty);
    bench.pool.insert(account("alice")).unwrap();
    bench.pool.insert(account("bob").priority(1)).unwrap();
    assert!(!bench.pool.surely_dead());
    assert_eq!(bench.order(2), ["bob", "bob"]);
    let mut held = bench.pick().unwrap();
    assert!(bench.pool.remove("bob"));
    assert!(!bench.pool.remove("bob"));
    assert!(!held.still_good());
    held.succeeded(None);
    assert_eq!(bench.order(2), ["alice", "alice"]);
    assert_eq!((bench.pool.len(), bench.pool.contains("bob")), (1, false));
    assert_eq!(bench.pinned("bob").unwrap_err().code, Code::PinUnknown);
    bench.pool.insert(account("bob")).unwrap();
    assert_eq!(bench.pinned("bob").unwrap().generation(), 1);
}

#[test]
fn cooldowns_and_probes_survive_an_insert() {
    let mut bench = Bench::new(accounts(&["alice", "bob", "carol"]));
    bench.pinned("alice").unwrap().limited(None, Some(secs(10)), &mut bench.clock());
    bench.pinned("bob").unwrap().rejected(Reason::Invalid, None, &mut bench.clock());
    bench.pool.insert(account("first").priority(9)).unwrap();
    bench.pool.remove("first");
    assert_eq!(bench.order(2), ["carol", "carol"]);
    bench.pass(secs(10));
    assert_eq!(bench.order(2), ["alice", "carol"]);
    bench.pass(secs(300));
    bench.pool.insert(account("dave")).unwrap();
    let served = bench.order(4);
    assert!(["alice", "bob", "carol", "dave"].iter().all(|id| served.contains(&(*id).to_owned())));
}

#[test]
fn due_account_is_not_lost_by_an_insert() {
    let mut bench = Bench::new(accounts(&["alice"]));
    let mut lease = bench.pick().unwrap();
    let avoid = Without(vec![lease.uid()]);
    lease.limited(None, Some(secs(10)), &mut bench.clock());
    bench.pass(secs(10));
    assert!(bench.query(&Query { avoid: Some(&avoid), ..ANY }).is_err());
    bench.pool.insert(account("bob").priority(-1)).unwrap();
    assert_eq!(bench.order(2), ["alice", "alice"]);
}

#[test]
fn replacing_and_reviving_clear_everything() {
    let reported = Reported::default();
    let bench = Bench::new(accounts(&["alice"]).reporter(reported.reporter()));
    for how in ["replace", "revive"] {
        let mut lease = bench.pick().unwrap();
        lease.limited(Some("m"), Some(secs(60)), &mut bench.clock());
        lease.rejected(Reason::Invalid, None, &mut bench.clock());
        assert_eq!(reported.take(), ["dead alice"]);
        assert!(bench.pool.surely_dead());
        if how == "replace" {
            assert_eq!(bench.pool.replace("alice", token("tok-2")), Ok(2));
        } else {
            assert!(bench.pool.revive("alice"));
        }
        assert!(!bench.pool.surely_dead());
        let view = bench.pool.view();
        assert_eq!((view.accounts[0].state, view.accounts[0].generation), (State::Usable, 2));
        assert!(view.accounts[0].model_cooldowns.is_empty());
    }
    assert!(!bench.pool.revive("nobody"));
    assert!(reported.take().is_empty());
}

#[test]
fn revived_account_is_not_quarantined_by_earlier_requests() {
    let bench = Bench::new(accounts(&["alice"]));
    let mut late = bench.pick().unwrap();
    bench.pick().unwrap().rejected(Reason::Invalid, None, &mut bench.clock());
    bench.pool.revive("alice");
    assert!(!late.rejected(Reason::Invalid, None, &mut bench.clock()).won);
    assert_eq!(bench.order(1), ["alice"]);
}

#[test]
fn retired_account_returns_only_by_an_operator() {
    let reported = Reported::default();
    let mut bench = Bench::new(accounts(&["alice"]).reporter(reported.reporter()));
    let mut held = bench.pick().unwrap();
    assert!(bench.pool.retire("alice") && !bench.pool.retire("nobody"));
    assert!(!held.still_good());
    held.succeeded(None);
    assert!(!bench.pool.cool_down("alice", None, secs(60)));
    assert!(!bench.pool.invalidate("alice", Reason::Invalid));
    bench.pass(secs(1_000_000));
    assert_eq!(bench.pick().unwrap_err().code, Code::CredentialInactive);
    assert_eq!(bench.pinned("alice").unwrap_err().code, Code::CredentialInactive);
    assert!(bench.pool.surely_dead());
    assert!(reported.take().is_empty());
    assert!(bench.pool.revive("alice"));
    assert_eq!(bench.order(1), ["alice"]);
}

#[test]
fn invalidate_is_a_rejection_without_a_status() {
    let reported = Reported::default();
    let bench = Bench::new(accounts(&["alice", "bob"]).reporter(reported.reporter()));
    assert!(bench.pool.invalidate("alice", Reason::Revoked));
    assert!(!bench.pool.invalidate("alice", Reason::Revoked));
    assert!(!bench.pool.invalidate("nobody", Reason::Revoked));
    let events = reported.events();
    let [Event::AccountOut(out)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((out.status, out.out_for), (None, secs(3600)));
    assert_eq!(bench.order(2), ["bob", "bob"]);
}

#[test]
fn cool_down_only_grows_a_cooldown() {
    let pool = accounts(&["alice"]).build().unwrap();
    assert!(pool.cool_down("alice", None, secs(60)));
    assert!(!pool.cool_down("alice", None, secs(1)));
    assert!(pool.cool_down("alice", None, secs(600)));
    assert!(pool.cool_down("alice", Some("m"), secs(60)));
    assert!(!pool.cool_down("alice", Some("m"), secs(1)));
    assert!(!pool.cool_down("nobody", None, secs(60)));
}

#[test]
fn admitted_credential_is_known_by_number_and_generation() {
    let mut bench = Bench::new(accounts(&["alice"]));
    let uid = bench.pick().unwrap().uid();
    let invalid = Some(Code::CredentialInvalid);
    assert_eq!(bench.pool.admit(uid, 1, false).err(), None);
    bench.pick().unwrap().rejected(Reason::Revoked, None, &mut bench.clock());
    assert_eq!(bench.pool.admit(uid, 1, false).err(), Some(Code::CredentialRevoked));
    assert_eq!(bench.pool.admit(uid, 1, true).err(), Some(Code::CredentialRevoked));
    bench.pass(secs(3600));
    let probe = bench.pick().unwrap();
    assert_eq!(bench.pool.admit(uid, 1, true).err(), None);
    assert_eq!(bench.pool.admit(uid, 1, false).err(), Some(Code::CredentialRevoked));
    drop(probe);
    bench.pool.replace("alice", token("tok-2")).unwrap();
    assert_eq!(bench.pool.admit(uid, 1, false).err(), invalid);
    assert_eq!(bench.pool.admit(uid, 2, false).err(), None);
    bench.pool.remove("alice");
    assert_eq!(bench.pool.admit(uid, 2, false).err(), invalid);
}

#[test]
fn groups_are_distinct() {
    let list = [
        account("a").group("g1"),
        account("b").group("g2"),
        account("c").group("g1"),
        account("d"),
    ];
    let bench = Bench::new(Pool::builder().any_origin().accounts(list));
    let group = |id| bench.pinned(id).unwrap().group();
    assert_eq!(group("a"), group("c"));
    assert_ne!(group("a"), group("b"));
    assert_eq!(group("d"), None);
    bench.pool.insert(account("e").group("g2")).unwrap();
    assert_eq!(group("e"), group("b"));
    assert_eq!(bench.pool.view().accounts[1].group.as_deref(), Some("g2"));
}

#[test]
fn settings_are_available_to_stages() {
    let default = accounts(&["a"]).build().unwrap();
    assert_eq!((default.own(), default.cascade()), (OwnCredential::Keep, Cascade::SameGroup));
    assert_eq!(default.help(), None);
    let builder = accounts(&["a"]).own_credential(OwnCredential::Refuse).cascade(Cascade::Never);
    let other = builder.help("log in").build().unwrap();
    assert_eq!((other.own(), other.cascade()), (OwnCredential::Refuse, Cascade::Never));
    assert_eq!(other.help().map(|text| &**text), Some("log in"));
    assert_ne!(default.id(), other.id());
    assert_eq!(other.clone().id(), other.id());
}

#[test]
fn ordinals_follow_the_list_whatever_the_order_of_serving() {
    let list = [account("c"), account("b").priority(3), account("a")];
    let bench = Bench::new(Pool::builder().any_origin().accounts(list));
    bench.pool.remove("c");
    let view = bench.pool.view();
    let places: Vec<_> =
        view.accounts.iter().map(|account| (&*account.id, account.ordinal)).collect();
    assert_eq!(places, [("b", 1), ("a", 2)]);
}

#[tokio::test(start_paused = true)]
async fn cooldown_with_the_same_end_is_not_longer() {
    let pool = accounts(&["alice"]).build().unwrap();
    for model in [None, Some("m")] {
        assert!(pool.cool_down("alice", model, secs(60)));
        assert!(!pool.cool_down("alice", model, secs(60)));
        assert!(pool.cool_down("alice", model, secs(61)));
    }
}

#[test]
fn pool_is_empty_while_it_has_no_account() {
    let pool = Pool::builder().any_origin().may_be_empty().build().unwrap();
    assert!(pool.is_empty());
    pool.insert(account("alice")).unwrap();
    assert!(!pool.is_empty());
    pool.insert(account("bob")).unwrap();
    assert!(pool.remove("alice") && !pool.is_empty());
    assert!(pool.remove("bob") && pool.is_empty());
}
