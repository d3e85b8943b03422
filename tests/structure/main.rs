//! The layout of the sources: imports point down and form no circle, folders and files stay small,
//! a type has one home, and one place decides by status codes.
//!
//! The rules read the sources as text: `tokens` splits it, `source` finds declarations and paths,
//! `graph` follows each path through re-exports to the file that defines the item. `samples` shows
//! for each rule that a violation is seen.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod circles;
mod graph;
mod rules;
mod samples;
mod source;
mod tokens;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use crate::graph::Graph;

/// The paths below `src` and the texts of all files there.
///
/// A file that is no source has no text.
fn files() -> Vec<(String, String)> {
    fn walk(root: &Path, folder: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let names = path.strip_prefix(root).unwrap().iter();
                let names: Vec<_> = names.map(|name| name.to_str().unwrap()).collect();
                let text = if is_source(&path) {
                    fs::read_to_string(&path).unwrap()
                } else {
                    String::new()
                };
                found.push((names.join("/"), text));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    found.sort();
    assert!(found.len() > 50, "only {} files found", found.len());
    found
}

fn is_source(path: impl AsRef<Path>) -> bool {
    path.as_ref().extension().is_some_and(|extension| extension == "rs")
}

fn sources() -> &'static Graph {
    static GRAPH: OnceLock<Graph> = OnceLock::new();
    GRAPH.get_or_init(|| {
        let files = files();
        let sources = files.iter().filter(|(path, _)| is_source(path));
        Graph::new(sources.map(|(path, text)| (path.as_str(), text.as_str())))
    })
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn imports_form_no_circle() {
    assert_none(&circles::circles(sources()));
}

#[test]
fn imports_point_down() {
    let graph = sources();
    assert_none(&rules::unranked(graph));
    assert_none(&rules::upward_imports(graph));
    let seen = graph.imports().len();
    assert!(seen > 500, "only {seen} imports seen");
}

#[test]
fn stages_do_not_import_each_other() {
    assert_none(&rules::sibling_imports(sources()));
}

#[test]
fn folders_have_few_entries() {
    assert_none(&rules::crowded_folders(files().iter().map(|(path, _)| path.as_str())));
}

#[test]
fn files_are_short() {
    assert_none(&rules::long_files(sources()));
}

#[test]
fn functions_are_short() {
    let graph = sources();
    assert_none(&rules::long_functions(graph));
    let seen: usize = graph.sources.iter().map(|source| source.functions.len()).sum();
    assert!(seen > 500, "only {seen} functions seen");
}

#[test]
fn clippy_allows_functions_of_the_same_length() {
    let settings = include_str!("../../clippy.toml");
    assert!(settings.contains("too-many-lines-threshold = 50\n"));
}

#[test]
fn methods_of_a_type_stand_together() {
    let graph = sources();
    assert_none(&rules::scattered_types(graph));
    let seen: usize = graph.sources.iter().map(|source| source.inherent.len()).sum();
    assert!(seen > 100, "only {seen} blocks of methods seen");
}

#[test]
fn facades_hold_names_only() {
    let graph = sources();
    assert_none(&rules::items_in_facades(graph));
    let seen = graph.sources.iter().filter(|source| source.is_facade()).count();
    assert!(seen >= 6, "only {seen} facades seen");
}

#[test]
fn status_codes_are_matched_in_classify_only() {
    let graph = sources();
    assert_none(&rules::status_matches_outside(graph));
    let seen = graph.sources.iter().flat_map(rules::status_matches).count();
    assert!(seen > 3, "only {seen} matches seen in classify");
}

#[test]
fn root_has_few_names() {
    assert_none(&rules::root_names(sources()));
}
