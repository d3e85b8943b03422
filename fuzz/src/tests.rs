//! Runs the targets on random bytes, on stable Rust and without a fuzzer.

use crate::{challenge, delay, json, jwt, request};

/// Runs `target` on pseudo-random bytes mixed with `words`.
fn walk(target: fn(&[u8]), words: &[&[u8]], times: usize) {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap()
    };
    for _ in 0..times {
        let mut bytes = Vec::new();
        for _ in 0..next() % 64 {
            match next() % 3 {
                0 => bytes.extend_from_slice(words[next() % words.len()]),
                1 => bytes.extend_from_slice(&next().to_le_bytes()[..next() % 8]),
                _ => bytes.push(b" =,\"\\{}[]:0129azZ"[next() % 17]),
            }
        }
        target(&bytes);
    }
}

#[test]
fn delay_accepts_any_bytes() {
    walk(delay::run, &[b"12", b"0.5", b"1h2m", b"ms", b"Sun, 06 Nov 1994 08:49:37 GMT"], 20_000);
}

#[test]
fn challenge_accepts_any_bytes() {
    walk(challenge::run, &[b"Bearer ", b"realm", b"abc==", b", ", b"\"x\\\"y\""], 20_000);
}

#[test]
fn json_accepts_any_bytes() {
    walk(json::run, &[b"{\"model\":\"m\"}", b"\"model\":", b"\\ud83d", b"null", b"[1,2]"], 20_000);
}

#[test]
fn jwt_accepts_any_bytes() {
    walk(jwt::run, &[b"{\"exp\":", b"13", b".5", b"eyJleHAiOjF9", b"."], 20_000);
}

#[test]
fn request_accepts_any_bytes() {
    walk(
        request::run,
        &[b"{\"error\":{\"code\":\"x\"}}", b"\x01\x03", b"\0\0\0", b"\x01", b"16"],
        3_000,
    );
}
