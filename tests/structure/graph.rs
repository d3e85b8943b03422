//! The import graph: which file uses what which file defines.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::Source;

/// One file uses an item that another defines, or a module that another holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Import {
    pub(crate) from: String,
    pub(crate) to: String,
    /// The path as written.
    pub(crate) path: String,
}

/// A path that begins in this crate.
pub(crate) struct Named {
    pub(crate) from: String,
    /// The path from the crate's root, before re-exports are followed.
    pub(crate) path: Vec<String>,
    pub(crate) written: String,
}

/// What a module binds: the file it is in, its names, and the modules of its globs.
#[derive(Default)]
struct Module {
    file: String,
    is_facade: bool,
    items: BTreeSet<String>,
    bound: Vec<(String, Vec<String>)>,
    globs: Vec<Vec<String>>,
}

/// The sources of a crate, unit tests left out.
pub(crate) struct Graph {
    pub(crate) sources: Vec<Source>,
    modules: BTreeMap<Vec<String>, Module>,
    /// The paths of all modules, those of folders without a facade among them.
    known: BTreeSet<Vec<String>>,
}

/// How many re-exports are followed for one path.
const MOST_STEPS: usize = 32;

impl Graph {
    /// Reads the files, each a path below `src` and its text.
    pub(crate) fn new<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut sources: Vec<_> =
            files.into_iter().map(|(path, text)| Source::new(path, text)).collect();
        let tests: BTreeSet<_> = sources.iter().flat_map(test_modules).collect();
        sources.retain(|source| {
            let module = source.module();
            let is_test = |depth| tests.contains(&module[..depth]);
            !module.iter().any(|name| name == "tests") && !(1..=module.len()).any(is_test)
        });
        let mut modules: BTreeMap<_, Module> = BTreeMap::new();
        for source in &sources {
            let own = source.module();
            let within = |inline: &[String]| [own.as_slice(), inline].concat();
            let inline = source.inline.iter().map(|inline| within(inline));
            for path in inline.chain([own.clone()]) {
                let module = modules.entry(path).or_default();
                module.file.clone_from(&source.path);
                module.is_facade = source.is_facade();
            }
            for (inline, item) in &source.items {
                modules.entry(within(inline)).or_default().items.insert(item.clone());
            }
            for import in &source.uses {
                let module = modules.entry(within(&import.module)).or_default();
                if import.name == "*" {
                    module.globs.push(import.path.clone());
                } else {
                    module.bound.push((import.name.clone(), import.path.clone()));
                }
            }
        }
        let depths = |module: &Vec<String>| -> Vec<_> {
            (1..=module.len()).map(|depth| module[..depth].to_vec()).collect()
        };
        let known = modules.keys().flat_map(depths).collect();
        Self { sources, modules, known }
    }

    /// All imports between files. A re-export by a facade is no import of what lies in its folder:
    /// whoever imports the name imports it from the file that defines it.
    pub(crate) fn imports(&self) -> BTreeSet<Import> {
        let mut found = BTreeSet::new();
        for source in &self.sources {
            for (module, path, is_glob) in paths(source) {
                let mut files = BTreeSet::new();
                if is_glob {
                    self.all_of(&module, &path, &mut files);
                } else {
                    self.follow(&module, &path, &mut files, MOST_STEPS);
                }
                let inside = format!("{}/", source.folder());
                files.retain(|file| {
                    let own = source.folder().is_empty() || file.starts_with(&inside);
                    *file != source.path && !(source.is_facade() && own)
                });
                found.extend(files.into_iter().map(|to| Import {
                    from: source.path.clone(),
                    to,
                    path: path.join("::"),
                }));
            }
        }
        found
    }

    /// Every path that names something of this crate, from the root, as it is written.
    pub(crate) fn named(&self) -> Vec<Named> {
        let mut found = Vec::new();
        for source in &self.sources {
            for (module, path, _) in paths(source) {
                if let Some((module, rest)) = self.begin(&module, &path, MOST_STEPS) {
                    let written = path.join("::");
                    let path = module.iter().chain(rest).cloned().collect();
                    found.push(Named { from: source.path.clone(), path, written });
                }
            }
        }
        found
    }

    /// The file that defines the type that `path` names in a module.
    pub(crate) fn definer(&self, module: &[String], path: &[String]) -> Option<String> {
        let own = self.modules.get(module)?;
        if let [name] = path {
            if own.items.contains(name) {
                return Some(own.file.clone());
            }
        }
        let mut files = BTreeSet::new();
        self.follow(module, path, &mut files, MOST_STEPS);
        files.into_iter().find(|file| *file != own.file)
    }

    /// The name of the item that `path` names in a module, before a `use` declaration renames it.
    pub(crate) fn original_name(&self, module: &[String], path: &[String]) -> String {
        let bound = self.modules.get(module).into_iter().flat_map(|own| &own.bound);
        let mut targets = bound.filter(|(name, _)| path == [name.clone()]);
        let target = targets.next().map_or(path, |(_, target)| target);
        target.last().cloned().unwrap_or_default()
    }

    /// Returns whether the name that a `use` declaration in `module` binds is a module's.
    pub(crate) fn is_module(&self, module: &[String], path: &[String]) -> bool {
        self.begin(module, path, MOST_STEPS)
            .is_some_and(|(start, rest)| self.has_module(&[start.as_slice(), rest].concat()))
    }

    /// Returns whether there is a module at this path from the root.
    pub(crate) fn has_module(&self, path: &[String]) -> bool {
        self.known.contains(path)
    }

    /// The module where a path of `module` begins, and the rest of the path. None for a path into
    /// another crate.
    fn begin<'a>(
        &self,
        module: &[String],
        path: &'a [String],
        steps: usize,
    ) -> Option<(Vec<String>, &'a [String])> {
        let steps = steps.checked_sub(1)?;
        let first = path.first()?;
        if first == "crate" {
            return Some((Vec::new(), &path[1..]));
        }
        if first == "self" {
            return self.begin_below(module, &path[1..]);
        }
        if first == "super" {
            let above = module.len().checked_sub(1)?;
            return self.begin_below(&module[..above], &path[1..]);
        }
        let child = [module, &path[..1]].concat();
        if self.has_module(&child) {
            return Some((child, &path[1..]));
        }
        // A name of a `use` declaration that stands for a module.
        let own = self.modules.get(module)?;
        let (_, target) = own.bound.iter().find(|(name, _)| name == first)?;
        let (start, rest) = self.begin(module, target, steps)?;
        let target = [start.as_slice(), rest].concat();
        self.has_module(&target).then_some((target, &path[1..]))
    }

    fn begin_below<'a>(
        &self,
        module: &[String],
        rest: &'a [String],
    ) -> Option<(Vec<String>, &'a [String])> {
        if rest.first().is_some_and(|next| next == "super") {
            return self.begin(module, rest, MOST_STEPS);
        }
        Some((module.to_vec(), rest))
    }

    /// Adds the files that define what `path` names in `module`.
    fn follow(
        &self,
        module: &[String],
        path: &[String],
        files: &mut BTreeSet<String>,
        steps: usize,
    ) {
        if let Some((start, rest)) = self.begin(module, path, steps) {
            self.walk(&start, rest, files, steps);
        } else if let Some(own) = self.modules.get(module) {
            for (_, target) in own.bound.iter().filter(|(name, _)| path.first() == Some(name)) {
                // An import of another crate's name binds the name to itself.
                if target != path && steps > 0 {
                    let target = [target, &path[1..]].concat();
                    self.follow(module, &target, files, steps - 1);
                }
            }
        }
    }

    fn walk(&self, at: &[String], rest: &[String], files: &mut BTreeSet<String>, steps: usize) {
        let Some(steps) = steps.checked_sub(1) else { return };
        let module = self.modules.get(at);
        let add = |files: &mut BTreeSet<String>| {
            let file = module.filter(|module| !module.is_facade).map(|module| module.file.clone());
            files.extend(file);
        };
        let Some(name) = rest.first() else { return add(files) };
        let child = [at, &rest[..1]].concat();
        let is_child = self.has_module(&child);
        if is_child {
            self.walk(&child, &rest[1..], files, steps);
        }
        let Some(own) = module else { return };
        // A module and an item may have the same name: the end of a path names both.
        let mut is_bound = is_child;
        if !is_child || rest.len() == 1 {
            for (_, target) in own.bound.iter().filter(|(bound, _)| bound == name) {
                is_bound = true;
                add(files);
                self.follow(at, &[target, &rest[1..]].concat(), files, steps);
            }
        }
        if is_bound || own.items.contains(name) {
            if !is_child {
                add(files);
            }
            return;
        }
        let globs: Vec<_> =
            own.globs.iter().filter(|glob| self.holds(at, glob, name, steps)).collect();
        for glob in &globs {
            self.follow(at, &[glob, rest].concat(), files, steps);
        }
        add(files);
    }

    /// Returns whether the module that a glob of `at` names has something called `name`.
    fn holds(&self, at: &[String], glob: &[String], name: &str, steps: usize) -> bool {
        let Some((start, rest)) = self.begin(at, glob, steps) else { return false };
        let target = [start.as_slice(), rest].concat();
        self.modules.get(&target).is_some_and(|module| {
            module.items.contains(name)
                || module.bound.iter().any(|(bound, _)| bound == name)
                || module
                    .globs
                    .iter()
                    .any(|glob| steps > 0 && self.holds(&target, glob, name, steps - 1))
        })
    }

    /// Adds the files of all that a glob of `module` brings in: the file of the module it names, or
    /// all files whose items that facade re-exports.
    fn all_of(&self, module: &[String], glob: &[String], files: &mut BTreeSet<String>) {
        self.follow(module, glob, files, MOST_STEPS);
        let Some((start, rest)) = self.begin(module, glob, MOST_STEPS) else { return };
        let target = [start.as_slice(), rest].concat();
        let Some(facade) = self.modules.get(&target).filter(|module| module.is_facade) else {
            return;
        };
        for (_, path) in &facade.bound {
            self.follow(&target, path, files, MOST_STEPS);
        }
    }
}

/// The modules that a file declares for tests only.
fn test_modules(source: &Source) -> Vec<Vec<String>> {
    let own = source.module();
    let child = |name: &String| [own.as_slice(), std::slice::from_ref(name)].concat();
    source.test_modules.iter().map(child).collect()
}

/// All paths of a file, each with its module, and whether it is a glob.
fn paths(source: &Source) -> Vec<(Vec<String>, Vec<String>, bool)> {
    let own = source.module();
    let within = |inline: &[String]| [own.as_slice(), inline].concat();
    let uses = source
        .uses
        .iter()
        .map(|import| (within(&import.module), import.path.clone(), import.name == "*"));
    let inline = source.paths.iter().map(|at| (within(&at.module), at.path.clone(), false));
    uses.chain(inline).collect()
}
