//! The memory of rejected credentials against a naive one, and its bounds.

use std::collections::HashMap;

use http::{Request, header::AUTHORIZATION};
use proptest::prelude::*;

use super::*;
use crate::stage::gate::default_credential_headers;

fn memory(capacity: usize) -> Arc<Memory> {
    Arc::new(Memory::new(true, default_credential_headers(), capacity))
}

fn key(memory: &Memory, uri: &str, token: &str) -> Option<Key> {
    let request = Request::get(uri).header(AUTHORIZATION, token).body(()).unwrap();
    Key::of(&request.into_parts().0, memory)
}

#[derive(Clone, Debug)]
enum Op {
    Enter(u8),
    Refused(u8),
    Healed(u8),
    Dropped(u8),
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0u8..3).prop_map(Op::Enter),
        2 => (0u8..3).prop_map(Op::Refused),
        1 => (0u8..3).prop_map(Op::Healed),
        1 => (0u8..3).prop_map(Op::Dropped),
        2 => (1u64..9).prop_map(Op::Wait),
    ]
}

/// A naive entry: the end of the quarantine, the strikes, and whether a probe is out.
#[derive(Clone, Copy, Debug)]
struct Naive {
    until: u64,
    strikes: u32,
    probing: bool,
}

proptest! {
    #[test]
    fn memory_matches_a_naive_list(ops in proptest::collection::vec(op(), 1..60)) {
        let memory = memory(100);
        let start = Instant::now();
        let mut seconds = 0u64;
        let mut naive: HashMap<u8, Naive> = HashMap::new();
        // The passes in flight, and whether each is a probe.
        let mut flying: Vec<(u8, Pass)> = Vec::new();
        for op in ops {
            let mut now = Now::at(start + Duration::from_secs(seconds));
            match op {
                Op::Wait(more) => seconds += more,
                Op::Enter(id) => {
                    let key = key(&memory, "http://a", &format!("t{id}")).unwrap();
                    let got = memory.enter(key, &mut now);
                    let (may, probe) = match naive.get_mut(&id) {
                        None => (true, false),
                        Some(dead) if dead.probing || dead.until > seconds => (false, false),
                        Some(dead) => { dead.probing = true; (true, true) }
                    };
                    prop_assert_eq!(got.is_ok(), may);
                    if let Ok(Some(pass)) = got {
                        prop_assert_eq!(pass.probe.is_some(), probe);
                        flying.push((id, pass));
                    }
                }
                Op::Refused(id) | Op::Healed(id) | Op::Dropped(id) => {
                    let Some(at) = flying.iter().position(|(flying, _)| *flying == id) else { continue };
                    let (_, pass) = flying.remove(at);
                    let probe = pass.probe.is_some();
                    match op {
                        Op::Refused(_) => {
                            memory.note_rejected(pass, Reason::Invalid, &mut now);
                            match naive.get_mut(&id) {
                                Some(dead) if probe => {
                                    dead.strikes += 1;
                                    dead.probing = false;
                                    let rest = (5u64 << dead.strikes.min(20)).min(3600);
                                    dead.until = dead.until.max(seconds + rest);
                                }
                                Some(_) => {}
                                None => {
                                    let new = Naive { until: seconds + 5, strikes: 0, probing: false };
                                    naive.insert(id, new);
                                }
                            }
                        }
                        Op::Healed(_) => {
                            memory.forget(pass);
                            if probe { naive.remove(&id); }
                        }
                        _ => {
                            drop(pass);
                            if let (true, Some(dead)) = (probe, naive.get_mut(&id)) {
                                dead.probing = false;
                            }
                        }
                    }
                }
            }
            prop_assert_eq!(memory.rejected.load(Ordering::Relaxed), naive.len());
        }
    }

    #[test]
    fn memory_never_exceeds_its_capacity(count in 1usize..80, capacity in 1usize..20) {
        let memory = memory(capacity);
        let mut now = Now::at(Instant::now());
        for token in 0..count {
            let key = key(&memory, "http://a", &token.to_string()).unwrap();
            if let Ok(Some(pass)) = memory.enter(key, &mut now) {
                memory.note_rejected(pass, Reason::Invalid, &mut now);
            }
        }
        prop_assert_eq!(memory.rejected.load(Ordering::Relaxed), count.min(capacity));
        // The newest entries are kept.
        let newest = key(&memory, "http://a", &(count - 1).to_string()).unwrap();
        prop_assert!(memory.enter(newest, &mut now).is_err());
        let oldest = key(&memory, "http://a", "0").unwrap();
        prop_assert_eq!(memory.enter(oldest, &mut now).is_ok(), count > capacity);
    }
}

#[test]
fn key_covers_origin_header_and_value() {
    let memory = memory(10);
    let known = key(&memory, "https://api.example.com/a", "Bearer x");
    assert_eq!(known, key(&memory, "https://user@API.example.com/b?c", "Bearer x"));
    for (uri, token) in [
        ("https://api.example.org/a", "Bearer x"),
        ("http://api.example.com/a", "Bearer x"),
        ("https://api.example.com:8443/a", "Bearer x"),
        ("https://api.example.com/a", "Bearer y"),
    ] {
        assert_ne!(known, key(&memory, uri, token), "{uri} {token}");
    }
    let (head, ()) = Request::get("/").body(()).unwrap().into_parts();
    assert_eq!(Key::of(&head, &memory), None);
}

#[test]
fn revoked_credential_is_quarantined_for_hours() {
    let memory = memory(10);
    let start = Instant::now();
    let known = key(&memory, "http://a", "t").unwrap();
    let pass = memory.enter(known, &mut Now::at(start)).unwrap().unwrap();
    memory.note_rejected(pass, Reason::Revoked, &mut Now::at(start));
    let cause = memory.enter(known, &mut Now::at(start + Duration::from_secs(3599))).unwrap_err();
    assert_eq!(cause.code, Code::CredentialRevoked);
    assert!(memory.enter(known, &mut Now::at(start + Duration::from_secs(3600))).is_ok());
}

#[test]
fn forgotten_entry_frees_its_place() {
    let memory = memory(2);
    let start = Instant::now();
    let mut now = Now::at(start);
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|token| key(&memory, "http://a", token).unwrap());
    let refuse = |key, now: &mut Now| {
        let pass = memory.enter(key, now).unwrap().unwrap();
        memory.note_rejected(pass, Reason::Invalid, now);
    };
    refuse(a, &mut now);
    refuse(b, &mut now);
    let mut now = Now::at(start + Duration::from_secs(5));
    let probe = memory.enter(a, &mut now).unwrap().unwrap();
    memory.forget(probe);
    refuse(c, &mut now);
    // Of `b` and `c`, `b` is the oldest now.
    refuse(d, &mut now);
    let known = [a, b, c, d].map(|key| memory.enter(key, &mut now).is_err());
    assert_eq!(known, [false, false, true, true]);
}
