//! A job id opens as the job that it was made for, or not at all.

#![cfg(feature = "job-ids")]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;
use tower_failover::{
    Account, Code, Credential, Pool,
    pool::{JobIdError, JobIds, UpstreamIdError},
};

const KEY: [u8; 32] = *b"a key that is known to the test!";

fn account(id: &str) -> Account {
    Account::new(id, Credential::bearer("tok").unwrap())
}

fn pool<'a>(ids: impl IntoIterator<Item = &'a str>) -> Pool {
    let accounts = ids.into_iter().map(account);
    Pool::builder().accounts(accounts).any_origin().may_be_empty().build().unwrap()
}

/// Opens an id: the account, and the upstream's id.
fn opened(ids: &JobIds, pool: &Pool, id: &str) -> Result<(String, String), JobIdError> {
    let job = ids.open(pool, id)?;
    Ok((job.account().to_owned(), job.upstream_id().to_owned()))
}

/// The account's id and the upstream's.
fn some_job() -> impl Strategy<Value = (String, String)> {
    ("\\PC{1,20}", "[ -~]{1,40}|\\PC{1,10}")
}

proptest! {
    #[test]
    fn id_opens_to_its_account_and_job(
        (account, upstream_id) in some_job(),
        others in prop::collection::vec("\\PC{1,20}", 0..5),
        key in any::<[u8; 32]>(),
        scope in "\\PC{0,10}",
    ) {
        let all: BTreeSet<_> = others.iter().chain([&account]).map(String::as_str).collect();
        let ids = JobIds::new(key).scope(scope.as_str());
        let id = ids.seal(&account, &upstream_id).unwrap();
        prop_assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        prop_assert_eq!(id.len(), ((33 + upstream_id.len()) * 4).div_ceil(3));
        prop_assert_eq!(&ids.seal(&account, &upstream_id).unwrap(), &id);
        prop_assert_eq!(opened(&ids, &pool(all), &id), Ok((account, upstream_id)));
    }

    #[test]
    fn changed_id_is_invalid(
        (account, upstream_id) in some_job(),
        at in any::<prop::sample::Index>(),
        other in "[A-Za-z0-9_=+/ -]",
        tail in "\\PC{1,5}",
    ) {
        let (ids, pool) = (JobIds::new(KEY), pool([account.as_str()]));
        let id = ids.seal(&account, &upstream_id).unwrap();
        let none = |id: &str| is_invalid(&ids, &pool, id);

        let bytes = URL_SAFE_NO_PAD.decode(&id).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            none(&URL_SAFE_NO_PAD.encode(&bytes))?;
        }
        for len in 0..id.len() {
            none(&id[..len])?;
            none(&id[id.len() - len..])?;
        }
        let at = at.index(id.len());
        if id[at..=at] != other {
            none(&[&id[..at], &other, &id[at + 1..]].concat())?;
        }
        none(&[&id[..at], &other, &id[at..]].concat())?;
        none(&[&*id, &tail].concat())?;
        none(&[&*id, "="].concat())?;
        none(&[&*id, &id].concat())?;
        let (head, rest) = bytes.split_at(bytes.len() / 2);
        none(&URL_SAFE_NO_PAD.encode([rest, head].concat()))?;
        let (head, rest) = id.split_at(id.len() / 2);
        none(&[rest, head].concat())?;
    }

    #[test]
    fn id_made_of_two_ids_is_invalid(
        upstream_ids in ("[ -~]{1,40}", "[ -~]{1,40}"),
        same_account in any::<bool>(),
    ) {
        let (ids, pool) = (JobIds::new(KEY), pool(["alice", "bob"]));
        let second = if same_account { "alice" } else { "bob" };
        prop_assume!(!same_account || upstream_ids.0 != upstream_ids.1);
        let one = URL_SAFE_NO_PAD.decode(ids.seal("alice", &upstream_ids.0).unwrap()).unwrap();
        let other = URL_SAFE_NO_PAD.decode(ids.seal(second, &upstream_ids.1).unwrap()).unwrap();
        for at in 2..one.len().min(other.len()) {
            let made = [&one[..at], &other[at..]].concat();
            if made != one && made != other {
                is_invalid(&ids, &pool, &URL_SAFE_NO_PAD.encode(made))?;
            }
        }
    }

    #[test]
    fn foreign_text_is_not_an_id(text in "\\PC*|[A-Za-z0-9_-]{40,200}", bytes: Vec<u8>) {
        let (ids, pool) = (JobIds::new(KEY), pool(["alice"]));
        is_invalid(&ids, &pool, &text)?;
        is_invalid(&ids, &pool, &URL_SAFE_NO_PAD.encode([&[1], &*bytes].concat()))?;
    }

    #[test]
    fn id_does_not_open_with_another_key_or_scope(
        keys in (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u8; 32]>()),
        scopes in ("\\PC{0,6}", "\\PC{0,6}"),
        upstream_id in "[ -~]{1,40}",
    ) {
        prop_assume!(keys.0 != keys.1 && keys.0 != keys.2 && keys.1 != keys.2);
        let pool = pool(["alice"]);
        let (ids, other) = (JobIds::new(keys.0), JobIds::new(keys.1));
        let id = ids.seal("alice", &upstream_id).unwrap();
        is_invalid(&other, &pool, &id)?;
        let both = other.clone().previous_key(keys.2).previous_key(keys.0);
        let job = Ok(("alice".to_owned(), upstream_id.clone()));
        prop_assert_eq!(&opened(&both, &pool, &id), &job);
        // Older keys do not seal.
        let new = both.seal("alice", &upstream_id).unwrap();
        prop_assert_eq!(&new, &other.seal("alice", &upstream_id).unwrap());
        is_invalid(&ids, &pool, &new)?;

        let (one, two) = (ids.clone().scope(&*scopes.0), ids.scope(&*scopes.1));
        let id = one.seal("alice", &upstream_id).unwrap();
        if scopes.0 == scopes.1 {
            prop_assert_eq!(&opened(&two, &pool, &id), &job);
        } else {
            is_invalid(&two, &pool, &id)?;
        }
    }

    // After any change of the pools, an id opens exactly where its account is.
    #[test]
    fn id_opens_only_in_a_pool_with_its_account(
        ops in prop::collection::vec((0..4_u8, any::<bool>(), 0..6_usize), 1..60),
    ) {
        let names = ["a", "b", "c", "aa", "A", "a "];
        let ids = JobIds::new(KEY).previous_key([9; 32]);
        let old = JobIds::new([9; 32]);
        let pools = [pool(["a", "b"]), pool(["c"])];
        let mut present = [BTreeSet::from(["a", "b"]), BTreeSet::from(["c"])];
        for (op, second, index) in ops {
            let (at, name) = (usize::from(second), names[index]);
            match op {
                0 => {
                    let inserted = pools[at].insert(account(name)).is_ok();
                    prop_assert_eq!(inserted, present[at].insert(name));
                }
                1 => prop_assert_eq!(pools[at].remove(name), present[at].remove(name)),
                2 => {
                    let credential = Credential::bearer("tok-2").unwrap();
                    let replaced = pools[at].replace(name, credential).is_ok();
                    prop_assert_eq!(replaced, present[at].contains(name));
                }
                _ => {
                    pools[at].retire(name);
                }
            }
            for by in [&ids, &old] {
                let id = by.seal(name, "7").unwrap();
                for (pool, present) in pools.iter().zip(&present) {
                    let job = (name.to_owned(), "7".to_owned());
                    let expected =
                        if present.contains(name) { Ok(job) } else { Err(JobIdError::AccountUnknown) };
                    prop_assert_eq!(opened(&ids, pool, &id), expected);
                }
            }
        }
    }
}

/// Checks that the id does not open.
#[track_caller]
fn is_invalid(ids: &JobIds, pool: &Pool, id: &str) -> Result<(), TestCaseError> {
    prop_assert_eq!(opened(ids, pool, id), Err(JobIdError::Invalid), "{}", id);
    Ok(())
}

/// Computed with Python's `hmac`, `hashlib` and `base64`: ids stay valid from release to release.
#[test]
fn id_format_is_stable() {
    let key = std::array::from_fn(|i| u8::try_from(i).unwrap());
    let long = "operations/0123456789abcdef0123456789abcdef0123456789abcdef";
    for (scope, account, upstream_id, id) in [
        ("", "bob", "video/7", "AcZzNWfiUFRUfw18xlsDAIXHdFAvfH07etYXX9nXw8-9pKC9v2Poeg"),
        (
            "videos",
            "büro-2",
            long,
            "AapJSfUJzz9SEdlWqqOBd7YgW03QkpwSV08Wr-GYZOi_24PIUzJ92vTtKmls9oVrV-Hvb6lwvfWzWfRiDleuU2kur35NtJ9ltbRLNHyE3sWcth2aVJ1Rfex1Jqs",
        ),
    ] {
        let ids = JobIds::new(key).scope(scope);
        assert_eq!(ids.seal(account, upstream_id).unwrap(), id);
        let job = (account.to_owned(), upstream_id.to_owned());
        assert_eq!(opened(&ids, &pool([account]), id), Ok(job));
    }
}

#[test]
fn id_of_another_version_is_not_read() {
    let (ids, pool) = (JobIds::new(KEY), pool(["alice"]));
    let mut bytes = URL_SAFE_NO_PAD.decode(ids.seal("alice", "7").unwrap()).unwrap();
    for version in (0..=u8::MAX).filter(|version| *version != 1) {
        bytes[0] = version;
        let id = URL_SAFE_NO_PAD.encode(&bytes);
        assert_eq!(opened(&ids, &pool, &id), Err(JobIdError::Invalid));
    }
}

#[test]
fn id_reveals_neither_account_nor_job_nor_their_relation() {
    let ids = JobIds::new(KEY);
    let (account, job) = ("alice-of-accounting", "projects/1234567/operations/job-7");
    let decode = |id: &str| URL_SAFE_NO_PAD.decode(id).unwrap();
    let one = decode(&ids.seal(account, job).unwrap());
    for clear in [account, job] {
        for part in clear.as_bytes().windows(4) {
            assert!(!one.windows(4).any(|bytes| bytes == part));
        }
    }
    // Apart from the version, ids of one account have no more in common than those of two.
    for (account, job) in [(account, "job-8"), ("bob", job), ("bob", "job-8")] {
        let other = decode(&ids.seal(account, job).unwrap());
        let same = one[1..33].iter().zip(&other[1..33]).filter(|(a, b)| a == b).count();
        assert!(same < 5, "{same} of 32 bytes");
    }
}

#[test]
fn error_and_debug_texts_reveal_nothing() {
    let ids = JobIds::new(KEY).previous_key([b'z'; 32]);
    let id = ids.seal("alice", "7").unwrap();
    assert_eq!(format!("{ids:?}"), r#"JobIds { keys: 2, scope: "", .. }"#);
    let gone = ids.open(&pool(["bob"]), &id).unwrap_err();
    let mangled = ids.open(&pool(["bob"]), &id[1..]).unwrap_err();
    assert_eq!((gone, mangled), (JobIdError::AccountUnknown, JobIdError::Invalid));
    for error in [gone, mangled] {
        assert_eq!(error.code(), Code::PinUnknown);
        let text = format!("{error} {error:?}");
        assert!(!text.contains("alice") && !text.contains(&id[1..]), "{text}");
    }
    assert!(UpstreamIdError::TooLong.to_string().contains(&JobIds::MAX_UPSTREAM_ID.to_string()));
}

#[test]
fn id_length_is_bounded() {
    let (ids, pool) = (JobIds::new(KEY), pool(["alice"]));
    let longest = "j".repeat(JobIds::MAX_UPSTREAM_ID);
    let id = ids.seal("alice", &longest).unwrap();
    assert_eq!(ids.open(&pool, &id).unwrap().upstream_id(), longest);
    assert_eq!(ids.seal("alice", &(longest + "j")), Err(UpstreamIdError::TooLong));
    assert_eq!(ids.seal("alice", ""), Err(UpstreamIdError::Empty));
    for len in [id.len() + 1, 1 << 20] {
        assert_eq!(opened(&ids, &pool, &"A".repeat(len)), Err(JobIdError::Invalid));
    }
}

#[test]
fn reinserted_account_opens_its_job_ids_again() {
    let (ids, pool) = (JobIds::new(KEY), pool(["alice", "bob"]));
    let id = ids.seal("alice", "7").unwrap();
    assert_eq!(ids.open(&pool, &id).unwrap().account(), "alice");
    pool.remove("alice");
    for _ in 0..2 {
        assert_eq!(opened(&ids, &pool, &id), Err(JobIdError::AccountUnknown));
    }
    pool.insert(account("alice")).unwrap();
    assert_eq!(ids.open(&pool, &id).unwrap().account(), "alice");
}

#[test]
fn scope_separates_pools_with_accounts_of_one_name() {
    let (videos, images) = (JobIds::new(KEY).scope("videos"), JobIds::new(KEY).scope("images"));
    let pools = [pool(["main"]), pool(["main"])];
    let id = videos.seal("main", "7").unwrap();
    assert!(videos.open(&pools[0], &id).is_ok());
    assert_eq!(opened(&images, &pools[1], &id), Err(JobIdError::Invalid));
    // An id with a scope is invalid for a key without one.
    assert_eq!(opened(&JobIds::new(KEY), &pools[0], &id), Err(JobIdError::Invalid));
}
