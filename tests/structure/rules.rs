//! The rules but that of circles. Each function returns one line for each violation.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use crate::{
    graph::Graph,
    source::Source,
    tokens::{Token, behind_closing},
};

/// The ranks, highest first. Imports point from a higher one to a lower one, or stay in one.
const RANKS: [&[&str]; 12] = [
    &["lib"],
    &["guide", "fuzzing", "testing"],
    &["config", "inbound"],
    &["layer"],
    &["driver"],
    &["adapter", "answer", "body"],
    &["stage"],
    &["pool"],
    &["credential"],
    &["report"],
    &["classify"],
    &["clock", "sync"],
];

/// The stages: none of them imports another.
const STAGES: [&str; 4] = ["rotation", "gate", "retry", "models"];

const MOST_ENTRIES: usize = 20;
const MOST_LINES: usize = 320;
const MOST_BODY_LINES: usize = 50;
const MOST_IMPL_FILES: usize = 3;
const MOST_ROOT_NAMES: usize = 30;

fn rank(module: &str) -> Option<usize> {
    RANKS.iter().position(|names| names.contains(&module))
}

/// Modules whose rank is not known.
pub(crate) fn unranked(graph: &Graph) -> Vec<String> {
    let tops = graph.sources.iter().filter_map(|source| source.module().into_iter().next());
    let unknown: BTreeSet<_> = tops.filter(|top| rank(top).is_none()).collect();
    unknown.into_iter().map(|top| format!("src/{top}: no rank is given for it")).collect()
}

/// Imports of a higher rank, by the path as written and by the file that defines the item. An item
/// of the crate's root has the rank of `lib`.
pub(crate) fn upward_imports(graph: &Graph) -> Vec<String> {
    let mut wrong = BTreeSet::new();
    let written = graph.named().into_iter().filter_map(|named| {
        let top = named.path.first()?;
        let top =
            if graph.has_module(&named.path[..1]) && rank(top).is_some() { top } else { "lib" };
        Some((named.from, top.to_owned(), named.written))
    });
    let defined =
        graph.imports().into_iter().map(|import| (import.from, top(&import.to), import.path));
    for (from, to, path) in written.chain(defined) {
        if let (Some(own), Some(other)) = (rank(&top(&from)), rank(&to)) {
            if other < own {
                wrong.insert(format!("{from} imports {to}: {path}"));
            }
        }
    }
    wrong.into_iter().collect()
}

/// The module of the crate's root that a file is in.
fn top(file: &str) -> String {
    file.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned()
}

/// Imports of one stage by another.
pub(crate) fn sibling_imports(graph: &Graph) -> Vec<String> {
    let stage = |path: &[String]| match path {
        [top, name, ..] if top == "stage" => STAGES.iter().find(|stage| *stage == name),
        _ => None,
    };
    let module =
        |file: &str| file.trim_end_matches(".rs").split('/').map(str::to_owned).collect::<Vec<_>>();
    let written = graph.named().into_iter().map(|named| (named.from, named.path));
    let defined = graph.imports().into_iter().map(|import| (import.from, module(&import.to)));
    let mut wrong = BTreeSet::new();
    for (from, path) in written.chain(defined) {
        if let (Some(own), Some(other)) = (stage(&module(&from)), stage(&path)) {
            if own != other {
                wrong.insert(format!("{from} imports its sibling {other}"));
            }
        }
    }
    wrong.into_iter().collect()
}

/// Folders with too many entries. `entries` are paths below `src`. A file and a folder of the same
/// name are one entry; facades, unit tests and data files are none.
pub(crate) fn crowded_folders<'a>(paths: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut folders: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for path in paths {
        let names: Vec<_> = path.split('/').collect();
        let is_counted = Path::new(path)
            .extension()
            .is_some_and(|extension| extension == "rs" || extension == "md");
        if !is_counted || names.iter().any(|name| ["tests", "tests.rs"].contains(name)) {
            continue;
        }
        for (depth, name) in names.iter().enumerate() {
            let entry = name.trim_end_matches(".rs");
            if !["mod", "lib"].contains(&entry) {
                folders.entry(names[..depth].join("/")).or_default().insert(entry);
            }
        }
    }
    let crowded = folders.into_iter().filter(|(_, entries)| entries.len() > MOST_ENTRIES);
    crowded.map(|(folder, entries)| format!("src/{folder}: {} entries", entries.len())).collect()
}

pub(crate) fn long_files(graph: &Graph) -> Vec<String> {
    let long = graph.sources.iter().filter(|source| source.lines > MOST_LINES);
    long.map(|source| format!("{}: {} lines", source.path, source.lines)).collect()
}

pub(crate) fn long_functions(graph: &Graph) -> Vec<String> {
    let all = graph.sources.iter().flat_map(|source| {
        source.functions.iter().map(move |(name, lines)| (&source.path, name, *lines))
    });
    all.filter(|(_, _, lines)| *lines > MOST_BODY_LINES)
        .map(|(path, name, lines)| format!("{path}: fn {name} has {lines} lines"))
        .collect()
}

/// Types whose inherent methods stand in too many files, or in files of more than one folder.
pub(crate) fn scattered_types(graph: &Graph) -> Vec<String> {
    let mut types: BTreeMap<(String, String), BTreeSet<(&str, &str)>> = BTreeMap::new();
    for source in &graph.sources {
        for block in &source.inherent {
            let module = [source.module(), block.module.clone()].concat();
            let definer = graph.definer(&module, &block.path);
            let definer = definer.unwrap_or_else(|| source.path.clone());
            let name = graph.original_name(&module, &block.path);
            let files = types.entry((definer, name)).or_default();
            files.insert((source.folder(), &source.path));
        }
    }
    let mut wrong = Vec::new();
    for ((definer, name), files) in types {
        let folders: BTreeSet<_> = files.iter().map(|(folder, _)| folder).collect();
        if files.len() > MOST_IMPL_FILES || folders.len() > 1 {
            let paths: Vec<_> = files.iter().map(|(_, path)| *path).collect();
            wrong.push(format!("{name} of {definer} has methods in {}", paths.join(", ")));
        }
    }
    wrong
}

/// What a facade holds besides docs, `mod` lines and re-exports. The `lib.rs` may have public
/// modules of re-exports.
pub(crate) fn items_in_facades(graph: &Graph) -> Vec<String> {
    let facades = graph.sources.iter().filter(|source| source.is_facade());
    facades.flat_map(|source| own_items(source, &source.tokens, source.path == "lib.rs")).collect()
}

fn own_items(source: &Source, tokens: &[Token], may_have_inline: bool) -> Vec<String> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut wrong = Vec::new();
    let (mut at, mut is_public) = (0, false);
    while at < tokens.len() {
        let start = at;
        match text(at) {
            "#" => {
                at = behind_closing(tokens, if text(at + 1) == "!" { at + 2 } else { at + 1 });
                continue;
            }
            "pub" => {
                is_public = true;
                at = if text(at + 1) == "(" { behind_closing(tokens, at + 1) } else { at + 1 };
                continue;
            }
            "mod" if text(at + 2) == ";" => at += 3,
            "mod" if text(at + 2) == "{" && may_have_inline => {
                let end = behind_closing(tokens, at + 2);
                wrong.extend(own_items(source, &tokens[at + 3..end - 1], false));
                at = end;
            }
            keyword => {
                let end =
                    tokens[at..].iter().position(|token| [";", "{"].contains(&token.text.as_str()));
                let end = end.map_or(tokens.len() - 1, |end| at + end);
                if keyword == "use" {
                    let end = tokens[at..].iter().position(|token| token.text == ";");
                    at = end.map_or(tokens.len(), |end| at + end + 1);
                } else {
                    at = if text(end) == "{" { behind_closing(tokens, end) } else { end + 1 };
                }
                if keyword != "use" || !is_public {
                    let shown: Vec<_> = (start..(start + 3).min(at)).map(text).collect();
                    wrong.push(format!("{}: {}", source.path, shown.join(" ")));
                }
            }
        }
        is_public = false;
    }
    wrong
}

/// The lines outside of `classify` that decide something by a status code.
pub(crate) fn status_matches_outside(graph: &Graph) -> Vec<String> {
    let outside = graph.sources.iter().filter(|source| top(&source.path) != "classify");
    outside.flat_map(status_matches).collect()
}

/// The lines of a file that decide something by a status code.
pub(crate) fn status_matches(source: &Source) -> Vec<String> {
    let decides = |line: &str| {
        let compared =
            ["== StatusCode::", "!= StatusCode::", "is_client_error()", "is_server_error()"];
        let arm = line.contains("StatusCode::")
            && (line.contains("=>")
                || line.trim_start().starts_with('|')
                || line.contains("matches!("));
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
    lines.map(|line| format!("{}: {}", source.path, line.trim())).collect()
}

/// The names at the crate's root that are no modules, if there are too many.
pub(crate) fn root_names(graph: &Graph) -> Vec<String> {
    let lib = graph.sources.iter().filter(|source| source.path == "lib.rs");
    let uses = lib.flat_map(|source| &source.uses).filter(|import| {
        import.is_public
            && import.module.is_empty()
            && (import.name == "*" || !graph.is_module(&[], &import.path))
    });
    let names: BTreeSet<_> = uses.map(|import| import.name.clone()).collect();
    if names.contains("*") {
        return vec!["lib.rs: a glob at the root hides the names".to_owned()];
    }
    if names.len() <= MOST_ROOT_NAMES {
        return Vec::new();
    }
    let names: Vec<_> = names.into_iter().collect();
    vec![format!("lib.rs: {} names at the root: {}", names.len(), names.join(", "))]
}
