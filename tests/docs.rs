//! What a reader of the documentation finds: an example for everything, or a link to one.

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

    /// The names of all that is linked to, without paths and methods.
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
                Some((kind, name)).filter(|_| line.ends_with(','))
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

/// Every item of the crate that a facade names.
fn public() -> BTreeMap<String, Item> {
    fn walk(folder: &Path, names: &BTreeSet<String>, found: &mut BTreeMap<String, Item>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, names, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let items = items(&fs::read_to_string(&path).unwrap()).into_iter();
                found.extend(items.filter(|(name, _)| names.contains(name)));
            }
        }
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut names = BTreeSet::new();
    for facade in [
        "lib",
        "adapter/mod",
        "answer/mod",
        "body/mod",
        "classify/mod",
        "credential/mod",
        "pool/mod",
        "report/mod",
    ] {
        let text = fs::read_to_string(source.join(facade).with_extension("rs")).unwrap();
        names.extend(exported(&text));
    }
    let mut found = BTreeMap::new();
    walk(&source, &names, &mut found);
    found
}

/// The names behind each `pub use`, what is hidden left out.
fn exported(facade: &str) -> Vec<String> {
    let mut names = Vec::new();
    // What is hidden stands at the end, but for the root's own names, which are inlined.
    for (at, _) in facade.match_indices("pub use ") {
        let hidden = facade[..at].rfind("#[doc(hidden)]\npub mod ").map(|from| &facade[from..at]);
        if hidden.is_some_and(|module| {
            module.lines().nth(1).is_some_and(|line| line.ends_with('{')) && !module.contains("\n}")
        }) {
            continue;
        }
        let used = &facade[at..at + facade[at..].find(';').unwrap()];
        let words = used.split(|c: char| !c.is_alphanumeric() && c != '_');
        names.extend(words.filter(|word| !word.is_empty()).map(str::to_owned));
    }
    names
}

#[test]
fn everything_public_has_an_example_or_a_link_to_one() {
    let public = public();
    assert!(public.len() > 100, "only {} items found", public.len());
    let shown =
        |name: &String| name == "first page" || public.get(name).is_some_and(Item::has_example);
    let lacks: Vec<_> = public
        .iter()
        .filter(|(_, item)| !item.has_example() && !item.links().any(|name| shown(&name)))
        .map(|(name, item)| format!("{} {name}", item.kind))
        .collect();
    assert!(lacks.is_empty(), "neither an example nor a link to one:\n{}", lacks.join("\n"));
}

#[test]
fn what_has_a_place_in_a_stack_or_can_be_dropped_halfway_says_so() {
    let public = public();
    let of = |kind: &'static str| public.iter().filter(move |(_, item)| item.kind == kind);
    assert_eq!((of("layer").count(), of("service").count()), (6, 6));
    let placed = of("layer").map(|(name, _)| name.as_str()).chain(["FailureToErrLayer"]);
    let dropped = ["ResponseFuture", "FailureToErrFuture", "RetryWait", "Filling", "FailoverBody"];
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
    // Written once, for all layers and services.
    let shell = include_str!("../src/layer/shell.rs");
    assert_eq!(shell.matches("/// # Clone").count(), 2);
    assert_eq!(shell.matches("/// # Cancel safety").count(), 1);
}

#[test]
fn an_item_without_an_example_is_seen() {
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
