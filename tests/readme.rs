//! The README shows a program that can be copied: the text of an example, which is built and run.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

// Of each example, all but `main` is used: it reads the environment, which is not set here.
#[allow(dead_code)]
#[cfg(feature = "reqwest")]
#[path = "../examples/openai_stream.rs"]
mod openai_stream;
#[allow(dead_code)]
#[cfg(feature = "reqwest")]
#[path = "../examples/reqwest.rs"]
mod program;

const README: &str = include_str!("../README.md");
const PROGRAM: &str = include_str!("../examples/reqwest.rs");
const MANIFEST: &str = include_str!("../Cargo.toml");

/// The fenced blocks: language, and lines.
fn blocks(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            blocks.push((language, lines.by_ref().take_while(|line| *line != "```").collect()));
        }
    }
    blocks
}

/// The only block of this language.
fn block(language: &str) -> Vec<&'static str> {
    let found = blocks(README).into_iter().filter(|(name, _)| *name == language);
    let [lines] = &found.map(|(_, lines)| lines).collect::<Vec<_>>()[..] else {
        panic!("one block of {language}")
    };
    lines.clone()
}

/// The lines that rustdoc hides, and that every other renderer shows.
fn hidden(text: &str) -> Vec<&str> {
    let lines = blocks(text).into_iter().flat_map(|(_, lines)| lines);
    lines.filter(|line| line.trim() == "#" || line.trim_start().starts_with("# ")).collect()
}

/// The crates that a program names in its `use` lines.
fn used(program: &str) -> BTreeSet<&str> {
    let paths = program.lines().filter_map(|line| line.strip_prefix("use "));
    let names = paths.filter_map(|path| path.split("::").next());
    names.filter(|name| *name != "std").collect()
}

/// The small examples, and those that are built with the clients in `tests/compat`.
fn examples() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["examples", "tests/compat/examples"].map(|folder| root.join(folder));
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

#[test]
fn program_is_the_text_of_the_example() {
    let (_, program) = PROGRAM.split_once("\n\n").unwrap();
    assert_eq!(block("rust,no_run"), program.lines().collect::<Vec<_>>());
    let rust = blocks(README).into_iter().filter(|(language, _)| language.contains("rust"));
    assert_eq!(rust.count(), 1, "every other program would need a test of its own");
}

#[test]
fn blocks_have_no_hidden_lines() {
    assert_eq!(hidden(README), [""; 0]);
    assert_eq!(hidden("# A\n```rust\n# use a;\n#\n#[b]\nc # d\n```\n"), ["# use a;", "#"]);
}

#[test]
fn dependencies_are_those_of_the_program_in_versions_of_the_manifest() {
    let lines = block("toml");
    let shown: BTreeSet<_> =
        lines[1..].iter().map(|line| line.split_once(" = ").unwrap().0.replace('-', "_")).collect();
    let mut used = used(PROGRAM);
    used.extend(["reqwest", "tokio"]); // named by path
    assert_eq!(shown, used.into_iter().map(str::to_owned).collect());
    let version = |line: &str| line.split('"').nth(1).unwrap().to_owned();
    for line in lines.iter().filter(|line| line.contains(" = ") && !line.starts_with("tower-f")) {
        let name = line.split_once('=').unwrap().0;
        let (_, dependencies) = MANIFEST.split_once("\n[dependencies]\n").unwrap();
        let own = dependencies.lines().find(|own| own.starts_with(&format!("{name}= "))).unwrap();
        assert!(version(own).starts_with(&version(line)), "{line}\n{own}");
    }
}

#[test]
fn index_lists_every_small_example() {
    let (_, index) = README.split_once("\n## Examples\n").unwrap();
    let (index, _) = index.split_once("\n## ").unwrap();
    let rows: Vec<_> = index.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    let examples = examples();
    for path in &examples {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let named = |row: &&&str| row.contains(&format!("{name}.rs"));
        assert_eq!(rows.iter().filter(named).count(), 1, "{name} is listed");
        let lines = fs::read_to_string(path).unwrap().lines().count();
        assert!(lines < 80, "{name} has {lines} lines");
    }
    assert_eq!(rows.len(), examples.len(), "each row is an example");
}

#[test]
fn commands_name_examples_that_exist() {
    let words: Vec<_> = README.split_whitespace().collect();
    let named = words.windows(2).filter(|pair| pair[0] == "--example").map(|pair| pair[1]);
    let named: BTreeSet<_> = named.map(|name| name.trim_end_matches('`')).collect();
    assert!(named.len() >= 3, "{named:?}");
    for name in named {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        let [file, program] = [format!("{name}.rs"), format!("{name}/main.rs")];
        assert!(folder.join(file).is_file() || folder.join(program).is_file(), "{name}");
    }
}

#[cfg(feature = "reqwest")]
mod run {
    use std::{convert::Infallible, sync::Arc};

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::{BodyExt, Full};
    use hyper::{body::Incoming, server::conn::http1, service::service_fn};
    use hyper_util::rt::TokioIo;
    use tokio::net::TcpListener;

    use crate::{openai_stream, program};

    const TEAM: &str = "token-of-team";
    const RESERVE: &str = "token-of-reserve";

    /// Serves an API that accepts the token of the reserve, and then answers with this status and body.
    async fn api(model: &'static str, status: u16, body: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = move |request: Request<Incoming>| async move {
            assert_eq!(request.uri(), "/v1/chat/completions");
            let good = request.headers()["authorization"] == "Bearer token-of-reserve";
            let asked = request.into_body().collect().await.unwrap().to_bytes();
            let asked: serde_json::Value = serde_json::from_slice(&asked).unwrap();
            let (status, body) = match (good, asked["model"] == model) {
                (false, _) => (401, "no"),
                (true, false) => (529, "overloaded"),
                (true, true) => (status, body),
            };
            let answer = Response::builder().status(status).body(Full::<Bytes>::from(body));
            Ok::<_, Infallible>(answer.unwrap())
        };
        tokio::spawn(async move {
            let answer = Arc::new(answer);
            while let Ok((stream, _)) = listener.accept().await {
                let answer = Arc::clone(&answer);
                let service = service_fn(move |request| answer(request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        url
    }

    #[tokio::test]
    async fn program_uses_the_reserve_and_the_second_model() {
        let url = api("gpt-5-mini", 200, "Hello.").await;
        let answer = program::complete(&url, TEAM, RESERVE).await.unwrap();
        assert_eq!(answer, "Hello.");
    }

    #[tokio::test]
    async fn program_fails_with_the_code_when_no_account_can_serve() {
        let url = api("gpt-5", 200, "Hello.").await;
        let error = program::complete(&url, TEAM, "token-of-other").await.unwrap_err();
        assert_eq!(error.to_string(), "no account can serve: credential_invalid");
    }

    #[tokio::test]
    async fn program_fails_with_the_status_of_another_failure() {
        let url = api("gpt-5", 400, "no").await;
        let error = program::complete(&url, TEAM, RESERVE).await.unwrap_err();
        assert_eq!(error.to_string(), "the API answered 400 Bad Request");
    }

    #[tokio::test]
    async fn openai_stream_writes_each_event_of_the_reserve() {
        let events = "data: {\"choices\": [{\"delta\": {\"content\": \"Once \"}}]}\n\n\
                      data: {\"choices\": [{\"delta\": {\"content\": \"upon\"}}]}\n\n\
                      : a comment\ndata: {\"choices\": []}\n\ndata: [DONE]\n\n";
        let url = api("gpt-5", 200, events).await;
        let mut out = Vec::new();
        openai_stream::stream(&url, TEAM, RESERVE, &mut out).await.unwrap();
        assert_eq!(out, b"Once upon");
    }

    #[tokio::test]
    async fn openai_stream_gives_the_text_of_an_error() {
        let url = api("gpt-5", 400, "no such model").await;
        let answer = openai_stream::stream(&url, TEAM, RESERVE, &mut Vec::new()).await;
        assert_eq!(answer.unwrap_err().to_string(), "400 Bad Request: no such model");
    }
}
