//! The documentation: an example for each public item or a link to one, and plain first sentences.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// A public item: its kind, and its documentation without the slashes.
struct Item {
    kind: String,
    docs: Vec<String>,
}

impl Item {
    fn has_example(&self) -> bool {
        let mut fences = self.docs.iter().filter(|line| line.starts_with("```"));
        let mut found = false;
        while let Some(open) = fences.next() {
            found |= open != "```text";
            fences.next();
        }
        found
    }

    /// The names of all link targets, without paths and methods.
    fn links(&self) -> impl Iterator<Item = String> {
        let text = self.docs.join("\n");
        let starts = ["[`", "](", "`]("].map(|start| {
            text.match_indices(start).map(|(at, _)| at + start.len()).collect::<Vec<_>>()
        });
        let target = |at: usize| {
            let end = text[at..].find(['`', ')', '#', '<']).map_or(text.len(), |end| at + end);
            let mut names = text[at..end].split("::");
            names.find(|name| !["crate", "super", "self"].contains(name)).map(str::to_owned)
        };
        let first_page = text.contains("](crate)").then(|| "first page".to_owned());
        let found: Vec<_> = starts.into_iter().flatten().filter_map(target).collect();
        found.into_iter().chain(first_page)
    }

    fn has(&self, heading: &str) -> bool {
        self.docs.iter().any(|line| line == heading)
    }
}

/// The items of a file, in and out of the macro that writes layers and services.
fn items(text: &str) -> Vec<(String, Item)> {
    let kinds = ["struct", "enum", "trait", "fn", "type"];
    let (mut found, mut docs) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let inner = line.trim_start();
        if let Some(doc) = inner.strip_prefix("///") {
            docs.push(doc.strip_prefix(' ').unwrap_or(doc).to_owned());
            continue;
        }
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        let mut words = words.by_ref().filter(|word| !["", "const"].contains(word));
        let known = match (words.next(), words.next(), words.next()) {
            (Some("pub"), Some(kind), Some(name)) if line.starts_with("pub ") => Some((kind, name)),
            (Some(kind @ ("layer" | "service")), Some(name), _) if line.starts_with("    ") => {
                Some((kind, name)).filter(|_| inner == format!("{kind} {name},"))
            }
            _ => None,
        };
        if let Some((kind, name)) =
            known.filter(|(kind, _)| kinds.contains(kind) || ["layer", "service"].contains(kind))
        {
            let docs = std::mem::take(&mut docs);
            found.push((name.to_owned(), Item { kind: kind.to_owned(), docs }));
        } else if line.is_empty() || line.ends_with([';', '}']) {
            docs.clear();
        }
    }
    found
}

/// The source files of a folder, with their paths below `src`.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    found.sort();
    found
}

/// The public modules: name, whether the page has an example, and the names on it.
fn pages() -> Vec<(String, bool, Vec<String>)> {
    let sources: BTreeMap<_, _> = sources().into_iter().collect();
    let lib = &sources["lib.rs"];
    let mut pages = Vec::new();
    for name in ["adapter", "answer", "body", "classify", "credential", "pool", "report"] {
        let text = &sources[&format!("{name}/mod.rs")];
        let example = text.lines().any(|line| line.starts_with("//! ```"));
        pages.push((name.to_owned(), example, exported(text)));
    }
    for (at, _) in lib.match_indices("\npub mod ").filter(|(at, _)| !hidden(&lib[..*at])) {
        let (name, rest) =
            lib[at + 9..].split_once(|c: char| !c.is_alphanumeric() && c != '_').unwrap();
        if let Some(inner) = rest.strip_prefix('{').and_then(|rest| rest.split("\n}\n").next()) {
            let docs = lib[..at].lines().rev().take_while(|line| line.starts_with("///"));
            let example = docs.filter(|line| *line == "/// ```").count() > 1;
            pages.push((name.to_owned(), example, exported(inner)));
        }
    }
    pages
}

/// Whether the item that follows this text is hidden.
fn hidden(before: &str) -> bool {
    before.trim_end().ends_with("#[doc(hidden)]")
}

/// Every public item, by its name.
fn public() -> BTreeMap<String, Item> {
    let mut names: BTreeSet<_> = pages().into_iter().flat_map(|(_, _, names)| names).collect();
    let sources = sources();
    let lib = sources.iter().find(|(path, _)| path == "lib.rs").unwrap();
    let root = lib.1.rfind("\n#[doc(inline)]\npub use self::").unwrap();
    names.extend(exported(&lib.1[root..]));
    let found = sources.iter().flat_map(|(_, text)| items(text));
    found.filter(|(name, _)| names.contains(name)).collect()
}

/// The names of each `pub use`, without those that are hidden.
fn exported(facade: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in facade.match_indices("pub use ").filter(|(at, _)| !hidden(&facade[..*at])) {
        let used = &facade[at..at + facade[at..].find(';').unwrap()];
        let words = used.split(|c: char| !c.is_alphanumeric() && c != '_');
        names.extend(words.filter(|word| !word.is_empty()).map(str::to_owned));
    }
    names
}

#[test]
fn item_has_an_example_or_a_link_to_one() {
    let (public, pages) = (public(), pages());
    assert!(public.len() > 100, "only {} items found", public.len());
    assert!(pages.len() > 12, "only {} pages found", pages.len());
    let page_shows = |module: &str| pages.iter().any(|(name, shows, _)| name == module && *shows);
    let on_page = |item: &str| {
        pages.iter().any(|(_, shows, names)| *shows && names.iter().any(|name| name == item))
    };
    let shown = |name: &String| {
        name == "first page" || page_shows(name) || public.get(name).is_some_and(Item::has_example)
    };
    let lacks: Vec<_> = public
        .iter()
        .filter(|(name, item)| !item.has_example() && !on_page(name))
        .filter(|(_, item)| !item.links().any(|name| shown(&name)))
        .map(|(name, item)| format!("{} {name}", item.kind))
        .collect();
    assert!(lacks.is_empty(), "no example, and no link to one:\n{}", lacks.join("\n"));
}

#[test]
fn position_cancel_safety_and_clone_are_documented() {
    let public = public();
    let of = |kind: &'static str| public.iter().filter(move |(_, item)| item.kind == kind);
    assert_eq!((of("layer").count(), of("service").count()), (6, 6));
    let placed = of("layer").map(|(name, _)| name.as_str()).chain(["FailureToErrLayer"]);
    let dropped = ["ResponseFuture", "FailureToErrFuture", "RetryWait", "FailoverBody"];
    let cloned = ["Pool", "ReporterHandle", "ChannelReporter", "FailureToErr"];
    let says = [
        ("# Position", placed.collect::<Vec<_>>()),
        ("# Cancel safety", dropped.to_vec()),
        ("# Clone", cloned.to_vec()),
    ];
    for (heading, names) in says {
        let lacks: Vec<_> = names.iter().filter(|name| !public[**name].has(heading)).collect();
        assert!(lacks.is_empty(), "no `{heading}`: {lacks:?}");
    }
    // The macro writes these once for all layers and services.
    let shell = include_str!("../src/layer/shell.rs");
    assert_eq!(shell.matches("/// # Clone").count(), 2);
    assert_eq!(shell.matches("/// # Cancel safety").count(), 1);
}

#[test]
fn item_without_an_example_is_detected() {
    let text = "/// ```text\n/// a drawing\n/// ```\n#[derive(Debug)]\npub struct A;\n\n\
                /// See [`A`], [b](crate::x::B::c) and [`D::e`].\npub const fn f() {}\n\n\
                named! {\n    /// ```\n    /// ```\n    layer L,\n    /// Its service.\n    service S,\n}\n";
    let items = items(text);
    let names: Vec<_> = items.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["A", "f", "L", "S"]);
    let shown: Vec<_> = items.iter().map(|(_, item)| item.has_example()).collect();
    assert_eq!(shown, [false, false, true, false]);
    assert_eq!(items[0].1.links().count(), 0);
    let links: BTreeSet<_> = items[1].1.links().collect();
    assert!(["A", "x", "D"].iter().all(|name| links.contains(*name)), "{links:?}");
}

/// The faults of the comments of one file: lines with riddles, and headless first sentences.
fn prose(text: &str) -> Vec<&str> {
    let mut faults = Vec::new();
    let mut in_docs = false;
    for line in text.lines() {
        let inner = line.trim_start();
        let doc = inner.starts_with("///") || inner.starts_with("//!");
        let comment = doc || inner.starts_with("//");
        let first = doc && !in_docs;
        in_docs = doc;
        let words = inner.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase);
        let riddle =
            |word: String| ["nobody", "somebody", "whoever", "whichever"].contains(&&*word);
        let says = inner.trim_start_matches(['/', '!', ' ']);
        if comment && words.into_iter().any(riddle) || first && says.starts_with("What ") {
            faults.push(inner);
        }
    }
    faults
}

#[test]
fn comments_are_plain() {
    let sources = sources();
    let mut lacks = Vec::new();
    for (path, text) in &sources {
        lacks.extend(prose(text).into_iter().map(|line| format!("{path}: {line}")));
    }
    assert!(lacks.is_empty(), "write it plainly:\n{}", lacks.join("\n"));
}

#[test]
fn comment_that_is_not_plain_is_detected() {
    let text = "//! What it is.\n//! What else.\n\n/// Tells nobody.\nfn a() {} // no word for whom\n\
                \n/// Returns.\n/// What it was.\nlet nobody = 1;\n    /// What a field is.\n";
    assert_eq!(prose(text), ["//! What it is.", "/// Tells nobody.", "/// What a field is."]);
}
