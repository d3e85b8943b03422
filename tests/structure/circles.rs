//! Circles of imports.
//!
//! A folder's entries are its files and its subfolders, each subfolder taken whole. Within every
//! folder, the imports between entries must form no circle. This one rule holds all others:
//!
//! - Files of one folder form no circle: they are entries of that folder.
//! - Sibling folders form no circle: they are entries of the folder around them. The same holds for
//!   folders further apart, at the folder that holds both.
//! - A folder and a file beside it form no circle, even if the files that import each other differ:
//!   else neither could be read, or moved, without the other.
//! - There is no circle of files anywhere: the innermost folder that holds all its files would have
//!   a circle of entries.
//!
//! A file may import the subfolders beside it, or a subfolder the files beside it, but not both ways
//! round. The facade of a folder (`mod.rs`) imports nothing by re-exporting the folder's items.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::{Graph, Import};

/// The imports between the entries of one folder, each with one example.
type Entries = BTreeMap<String, BTreeMap<String, Import>>;

/// Describes each circle: the folder, its entries, and one import for each step.
pub(crate) fn circles(graph: &Graph) -> Vec<String> {
    let folders = entries(graph);
    folders.iter().flat_map(|(folder, entries)| circles_of(folder, entries)).collect()
}

fn entries(graph: &Graph) -> BTreeMap<String, Entries> {
    let files: BTreeSet<_> = graph.sources.iter().map(|source| source.path.as_str()).collect();
    let mut folders: BTreeMap<String, Entries> = BTreeMap::new();
    for import in graph.imports() {
        let (from, to) = (place(&files, &import.from), place(&files, &import.to));
        let Some(depth) = from.iter().zip(&to).position(|(from, to)| from != to) else { continue };
        let entries = folders.entry(from[..depth].join("/")).or_default();
        let steps = entries.entry(from[depth].clone()).or_default();
        steps.entry(to[depth].clone()).or_insert(import);
    }
    folders
}

/// The folders that a file is in, and its name. A file `x.rs` with a folder `x` is in that folder.
fn place(files: &BTreeSet<&str>, file: &str) -> Vec<String> {
    let mut names: Vec<_> = file.split('/').map(str::to_owned).collect();
    let folder = format!("{}/", file.trim_end_matches(".rs"));
    if files.iter().any(|other| other.starts_with(&folder)) {
        let name = names.pop().unwrap_or_default();
        names.extend([name.trim_end_matches(".rs").to_owned(), name]);
    }
    names
}

fn circles_of(folder: &str, entries: &Entries) -> Vec<String> {
    let reached: BTreeMap<_, _> =
        entries.keys().map(|entry| (entry.as_str(), reachable(entries, entry))).collect();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (entry, below) in reached.iter().filter(|(entry, below)| below.contains(*entry)) {
        let is_back = |other: &&&str| reached.get(**other).is_some_and(|back| back.contains(entry));
        let circle: Vec<_> = below.iter().filter(is_back).copied().collect();
        if !seen.insert(circle.clone()) {
            continue;
        }
        let steps = circle.iter().flat_map(|from| entries[*from].iter());
        let inside = steps.filter(|(to, _)| circle.contains(&to.as_str()));
        let lines: Vec<_> = inside
            .map(|(_, import)| format!("    {} -> {}: {}", import.from, import.to, import.path))
            .collect();
        found.push(format!("src/{folder}: {}\n{}", circle.join(", "), lines.join("\n")));
    }
    found
}

/// The entries that an entry imports, and those that they import.
fn reachable<'a>(entries: &'a Entries, from: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&str> = vec![from];
    while let Some(entry) = next.pop() {
        for to in entries.get(entry).into_iter().flat_map(BTreeMap::keys) {
            if found.insert(to.as_str()) {
                next.push(to);
            }
        }
    }
    found
}
