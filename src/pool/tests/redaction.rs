//! The secrets that are redacted in foreign text, and for how long.

use super::support::*;
use crate::{
    credential::Credential,
    pool::{Pool, shared::registry::MANY_SECRETS},
    report::text::foreign,
};

fn many(n: usize) -> Pool {
    Pool::builder().any_origin().accounts((0..n).map(|i| account(&i.to_string()))).build().unwrap()
}

fn replace(pool: &Pool, id: &str, token: &str) {
    pool.replace(id, Credential::bearer(token).unwrap()).unwrap();
}

fn secrets(pool: &Pool) -> Vec<String> {
    let mut seen = Vec::new();
    pool.visit_secrets(&mut |secret| seen.push(String::from_utf8(secret.to_vec()).unwrap()));
    seen
}

#[test]
fn newest_token_is_kept_out_of_messages() {
    let pool = accounts(&["alice"]).build().unwrap();
    let shown = |text: &str| foreign(text, &**pool.shared());
    assert_eq!(&*shown("no: tok-of-alice-0"), "no: [redacted]");
    for token in ["sk-11111111", "sk-22222222"] {
        let text = format!("no: {token}");
        assert_eq!(*shown(&text), *text, "nobody's secret yet");
        replace(&pool, "alice", token);
        assert_eq!(&*shown(&text), "no: [redacted]");
    }
}

#[test]
fn messages_are_withheld_from_1025_accounts_on() {
    assert_eq!(MANY_SECRETS, 1024);
    for (n, withheld) in [(1023, false), (1024, false), (1025, true), (1026, true)] {
        let pool = many(n);
        assert_eq!(pool.too_many_secrets(), withheld, "{n}");
        let shown = foreign("the vault is sealed", &**pool.shared());
        assert_eq!(shown.contains("withheld"), withheld, "{shown}");
        assert_eq!(shown.contains("sealed"), !withheld, "{shown}");
    }
}

#[test]
fn former_tokens_are_kept_four_for_each_account_and_eight_when_withheld() {
    for (accounts, room) in [(1, 8), (3, 12), (1024, 4096), (1025, 8)] {
        let pool = many(accounts);
        for i in 0..room + 5 {
            replace(&pool, "0", &format!("new-tok-{i}"));
        }
        let former = secrets(&pool).len() - accounts;
        assert_eq!(former, room, "{accounts}");
    }
}

#[test]
fn former_tokens_of_other_accounts_survive_many_refreshes() {
    let pool = accounts(&["a", "b", "c"]).build().unwrap();
    replace(&pool, "c", "new-of-c");
    replace(&pool, "b", "next-of-b");
    replace(&pool, "b", "new-of-b");
    for i in 0..100 {
        replace(&pool, "a", &format!("new-of-a-{i}"));
    }
    let seen = secrets(&pool);
    for former in ["tok-of-c-0", "tok-of-b-0", "next-of-b", "new-of-a-98", "new-of-a-97"] {
        assert!(seen.iter().any(|secret| secret == former), "{former} in {seen:?}");
    }
    assert!(!seen.contains(&"tok-of-a-0".to_owned()));
}
