//! The cases of `status_classification.json` and `retry_after.json` that count attempts or measure
//! waits.

use http::Response;
use serde_json::Value;
use tower::ServiceExt;

use crate::{
    classification::{RETRY_AFTER_DRIVEN_ELSEWHERE, STATUS_DRIVEN_ELSEWHERE},
    expect::Expect,
    rig::{Rig, Shape, both, paused},
    script,
    support::{
        cases::{self, Outcome},
        frames::{Beat, Frames, Player, drain},
    },
};

#[test]
fn attempts_follow_the_profile() {
    only("status_classification.json", STATUS_DRIVEN_ELSEWHERE);
    only("retry_after.json", RETRY_AFTER_DRIVEN_ELSEWHERE);
}

/// Runs these cases of a file.
fn only(file: &str, ids: &[&str]) {
    let cases = cases::load(file);
    for id in ids {
        let case = cases.iter().find(|case| cases::id(case) == *id);
        let case = case.unwrap_or_else(|| panic!("{file}: no case is called {id}"));
        if let Err(what) = holds(case) {
            panic!("{id}: {what}");
        }
    }
}

fn holds(case: &Value) -> Outcome {
    if !case["upstream"][0]["then_error"].is_null() {
        return streamed(case);
    }
    both(case, Rig::of, |seen, expect| {
        // One callback for each attempt but the first.
        let retried = seen.upstream.calls() - seen.ends.len();
        expect.is("on_retry_callbacks", retried);
    })
}

/// Runs a case whose answer body breaks off.
pub(crate) fn streamed(case: &Value) -> Outcome {
    for shape in [Shape::Fused, Shape::Stacked] {
        let checked = paused(async {
            let rig = Rig::of(case);
            let by_token = case["upstream"]["by_token"].as_object();
            let entry = match by_token.and_then(|tokens| tokens.values().next()) {
                Some(list) => &list[0],
                None => &case["upstream"][0],
            };
            let chunks = entry["stream"].as_array().into_iter().flatten();
            let mut beats: Vec<_> =
                chunks.map(|chunk| Beat::Data(chunk.as_str().unwrap().to_owned().into())).collect();
            beats.push(Beat::Error(entry["then_error"].as_str().unwrap().to_owned()));
            let status = u16::try_from(entry["status"].as_u64().unwrap()).unwrap();
            let answer = Response::builder().status(status).body(Frames::new(beats)).unwrap();
            let player = Player::new([answer]);
            let request = script::requests(case).remove(0);
            let answer = rig.stack(shape, player.clone()).oneshot(request).await.unwrap();
            let (frames, error) = drain(answer.into_body()).await;
            let texts = frames.iter().filter_map(|frame| frame.data_ref());
            let texts: Vec<_> =
                texts.map(|data| String::from_utf8(data.to_vec()).unwrap()).collect();
            let mut expect = Expect::of(case);
            expect.is("calls", player.tokens());
            expect.is("attempts", player.calls());
            expect.is("retry", player.calls() > 1);
            expect.is("delivered", texts);
            expect.check(error.is_some(), || "the body's error is lost".into());
            expect.is("stream_error", error.is_some());
            expect.end()
        });
        checked.map_err(|what| format!("{shape:?}: {what}"))?;
    }
    Ok(())
}
