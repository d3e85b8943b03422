//! The shape of the sources: imports point down, one place knows status codes, files stay small.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The ranks, highest first. An import points from a higher one to a lower one, or stays inside.
const RANKS: [&str; 10] = [
    "lib",
    "guide",
    "fuzzing",
    "inbound",
    "driver",
    "stage",
    "credential",
    "report",
    "classify",
    "clock",
];

/// The stages: none of them knows another.
const STAGES: [&str; 3] = ["gate", "retry", "rotation"];

/// The most lines of a source file, tests left out.
const MOST_LINES: usize = 320;

/// A source file: its path below `src`, and its code without comments and unit tests.
struct Source {
    path: PathBuf,
    code: String,
    lines: usize,
}

impl Source {
    fn new(path: &Path, text: &str) -> Self {
        let text = without_tests(text);
        Self { path: path.to_owned(), lines: text.lines().count(), code: without_comments(&text) }
    }

    /// The names of the modules that this file is in, the crate left out.
    fn modules(&self) -> Vec<String> {
        let path = self.path.with_extension("");
        let mut names: Vec<_> = path.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
        names.retain(|name| !["mod", "lib"].contains(&name.as_str()));
        names
    }

    fn rank(&self) -> usize {
        let modules = self.modules();
        let top = modules.first().map_or("lib", String::as_str);
        rank(top).unwrap_or_else(|| panic!("{}: no rank is known for it", self.path.display()))
    }

    fn is_facade(&self) -> bool {
        ["mod.rs", "lib.rs"].iter().any(|name| self.path.ends_with(name))
    }

    fn is_test(&self) -> bool {
        self.modules().iter().any(|module| module == "tests")
    }
}

fn rank(module: &str) -> Option<usize> {
    RANKS.iter().position(|name| *name == module)
}

/// All but the modules of unit tests, whether they stand here or in a file of their own.
fn without_tests(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let test = line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test");
        if test && lines.peek().is_some_and(|next| next.starts_with("mod ")) {
            let inline = lines.next().is_some_and(|module| module.ends_with('{'));
            while inline && lines.next().is_some_and(|line| line != "}") {}
        } else {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// Every line up to its `//`. No string of the sources holds one that is followed by an import.
fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default().to_owned() + "\n").collect()
}

/// Every path that the code takes from the crate's root, as the names in it.
fn paths(source: &Source) -> Vec<Vec<String>> {
    let depth = source.modules().len();
    let mut found = Vec::new();
    for (at, _) in source.code.match_indices("crate::") {
        let before = source.code[..at].chars().next_back();
        if !before.is_some_and(|c| c.is_alphanumeric() || "_$".contains(c)) {
            tree(&source.code[at + "crate::".len()..], &[], &mut found);
        }
    }
    for (at, _) in source.code.match_indices("super::") {
        if source.code[..at].ends_with("super::") {
            continue;
        }
        let mut rest = &source.code[at..];
        let mut above = 0;
        while let Some(next) = rest.strip_prefix("super::") {
            (rest, above) = (next, above + 1);
        }
        // A file's own module is one below the module of its folder.
        if above <= depth {
            tree(rest, &source.modules()[..depth - above], &mut found);
        }
    }
    found
}

/// The paths of a use tree that begins here, each behind `prefix`.
fn tree(text: &str, prefix: &[String], found: &mut Vec<Vec<String>>) {
    let text = text.trim_start();
    let Some(group) = text.strip_prefix('{') else {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        let mut path = prefix.to_vec();
        path.push(text[..end].to_owned());
        match text[end..].strip_prefix("::") {
            Some(rest) if !rest.starts_with(['<', '*']) => tree(rest, &path, found),
            _ => found.push(path),
        }
        return;
    };
    let (mut level, mut start) = (0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => level += 1,
            '}' | ',' if level == 0 => {
                if !group[start..at].trim().is_empty() {
                    tree(&group[start..at], prefix, found);
                }
                if c == '}' {
                    return;
                }
                start = at + 1;
            }
            '}' => level -= 1,
            _ => {}
        }
    }
}

fn upward_imports(source: &Source) -> Vec<String> {
    let own = source.rank();
    let mut wrong = Vec::new();
    for path in paths(source) {
        // What is no module is an item of the facade.
        let to = path.first().and_then(|top| rank(top)).unwrap_or(0);
        if to < own {
            wrong.push(format!("{} imports crate::{}", source.path.display(), path.join("::")));
        }
        let modules = source.modules();
        let stage = |path: &[String]| match path {
            [top, name, ..] if top == "stage" => STAGES.iter().position(|stage| stage == name),
            _ => None,
        };
        if let (Some(from), Some(to)) = (stage(&modules), stage(&path)) {
            if from != to {
                wrong.push(format!("{} imports its sibling {}", source.path.display(), STAGES[to]));
            }
        }
    }
    wrong
}

/// The lines that decide something by a status code.
fn status_matches(source: &Source) -> Vec<String> {
    let decides = |line: &str| {
        let compared =
            ["== StatusCode::", "!= StatusCode::", "is_client_error()", "is_server_error()"];
        let arm = line.contains("StatusCode::")
            && (line.contains("=>") || line.trim_start().starts_with('|'));
        let number = line.find("as_u16()").is_some_and(|at| {
            let rest = line[at + "as_u16()".len()..].trim_start();
            ["==", "!=", "<", ">", "{", ", "].iter().any(|sign| rest.starts_with(sign))
                && (!rest.starts_with([',', '{']) || line.contains("match"))
        });
        compared.iter().any(|sign| line.contains(sign))
            || arm
            || number
            || line.contains("status().is_success()")
            || line.contains("status.is_success()")
    };
    let lines = source.code.lines().filter(|line| decides(line));
    lines.map(|line| format!("{}: {}", source.path.display(), line.trim())).collect()
}

/// The items of a facade that are neither modules nor re-exports.
fn own_items(source: &Source) -> Vec<String> {
    let is_item = |line: &&str| {
        let mut words = line
            .split([' ', '<', '!', '(', ')'])
            .filter(|word| !["", "pub", "crate", "super", "const", "async", "in"].contains(word));
        let kinds = ["fn", "impl", "struct", "enum", "trait", "type", "static", "macro_rules"];
        words.next().is_some_and(|word| kinds.contains(&word)) || line.contains("const ")
    };
    let lines = source.code.lines().filter(is_item);
    lines.map(|line| format!("{}: {}", source.path.display(), line.trim())).collect()
}

fn sources() -> Vec<Source> {
    fn walk(root: &Path, folder: &Path, found: &mut Vec<Source>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push(Source::new(path.strip_prefix(root).unwrap(), &text));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    assert!(found.len() > 50, "only {} sources found", found.len());
    found
}

fn sample(path: &str, text: &str) -> Source {
    Source::new(Path::new(path), text)
}

#[test]
fn imports_point_down() {
    let sources = sources();
    let wrong: Vec<_> = sources.iter().filter(|s| !s.is_test()).flat_map(upward_imports).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let seen: usize = sources.iter().map(|source| paths(source).len()).sum();
    assert!(seen > 200, "only {seen} imports seen");
}

#[test]
fn an_upward_import_is_seen_however_it_is_written() {
    for (path, text) in [
        ("classify/a.rs", "use crate::stage::options::RequestOptions;"),
        ("classify/a.rs", "use crate::{\n    clock,\n    report::{Event},\n};"),
        ("classify/x/a.rs", "use super::super::super::driver::Keep;"),
        ("report/a.rs", "fn f(pool: &crate::credential::Pool) {}"),
        ("clock.rs", "use super::classify::Verdict;"),
        ("stage/a.rs", "use crate::Verdict;"),
        ("stage/gate/core.rs", "use crate::stage::{options, retry::Backoff};"),
        ("stage/rotation.rs", "use super::gate::Gate;"),
    ] {
        assert_eq!(upward_imports(&sample(path, text)).len(), 1, "{path}: {text}");
    }
    for (path, text) in [
        ("lib.rs", "pub use crate::{driver::Keep, stage::Budget};"),
        ("driver/a.rs", "use super::keep::Keep; use crate::{clock::Now, stage::{retry::Backoff}};"),
        ("credential/pool/a.rs", "use super::super::secret::Secret; use crate::report::Event;"),
        ("stage/retry/core.rs", "use super::policy::Settings; use crate::stage::options;"),
        ("classify/a.rs", "/// See [`Pool`](crate::Pool).\nuse super::verdict::Verdict;"),
    ] {
        assert_eq!(upward_imports(&sample(path, text)), [""; 0], "{path}: {text}");
    }
}

#[test]
fn only_the_classifier_decides_by_a_status_code() {
    let sources = sources();
    let outside = sources.iter().filter(|s| !s.path.starts_with("classify") && !s.is_test());
    let wrong: Vec<_> = outside.flat_map(status_matches).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let inside = sources.iter().filter(|s| s.path.starts_with("classify"));
    assert!(inside.flat_map(status_matches).count() > 3, "those of the table are seen");
    for line in [
        "if answer.status() == StatusCode::NOT_FOUND {",
        "    StatusCode::UNAUTHORIZED => Next::Pass,",
        "match status.as_u16() {",
        "if status.as_u16() >= 500 {",
        "if response.status().is_server_error() {",
    ] {
        assert_eq!(status_matches(&sample("driver/a.rs", line)).len(), 1, "{line}");
    }
}

#[test]
fn facades_hold_names_only() {
    let sources = sources();
    let facades: Vec<_> = sources.iter().filter(|source| source.is_facade()).collect();
    assert!(facades.len() >= 6, "only {} facades found", facades.len());
    let wrong: Vec<_> = facades.into_iter().flat_map(own_items).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for item in ["pub(crate) const fn f() {}", "impl<T> A for T {}", "pub struct A;", "enum A {}"] {
        assert_eq!(own_items(&sample("stage/mod.rs", item)).len(), 1, "{item}");
    }
}

#[test]
fn no_source_file_is_long() {
    let wrong: Vec<_> = sources()
        .iter()
        .filter(|source| !source.is_test() && source.lines > MOST_LINES)
        .map(|source| format!("{}: {} lines", source.path.display(), source.lines))
        .collect();
    assert!(wrong.is_empty(), "more than {MOST_LINES} lines without tests:\n{}", wrong.join("\n"));
    let inline = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
    let apart = "#[cfg(test)]\nmod tests;\nfn a() {}\n";
    for text in [inline, apart] {
        assert_eq!(sample("a.rs", text).code, "fn a() {}\n");
    }
}
