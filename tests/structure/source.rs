//! Reads from one source file all that the rules ask for.

use crate::tokens::{Token, behind_closing, tokens};

/// A source file below `src`, without its unit tests.
pub(crate) struct Source {
    /// Its path below `src`, with `/`.
    pub(crate) path: String,
    /// Its lines, unit tests left out.
    pub(crate) lines: usize,
    /// Its text, with comments, unit tests and the insides of strings blank.
    pub(crate) code: String,
    pub(crate) tokens: Vec<Token>,
    /// The names that its `use` declarations bring in.
    pub(crate) uses: Vec<Use>,
    /// All other paths of two or more segments.
    pub(crate) paths: Vec<PathAt>,
    /// The items that it defines, each with the inline module it is in.
    pub(crate) items: Vec<(Vec<String>, String)>,
    /// Its inline modules.
    pub(crate) inline: Vec<Vec<String>>,
    /// The types with an `impl` block that is not a trait's.
    pub(crate) inherent: Vec<PathAt>,
    /// The functions, each with the lines of code in its body.
    pub(crate) functions: Vec<(String, usize)>,
    /// The modules that it declares for tests only.
    pub(crate) test_modules: Vec<String>,
}

/// One name that a `use` declaration brings in.
pub(crate) struct Use {
    /// The inline module that the declaration is in.
    pub(crate) module: Vec<String>,
    pub(crate) path: Vec<String>,
    /// The name it goes by here; `*` for all names of the module at `path`.
    pub(crate) name: String,
    pub(crate) is_public: bool,
}

/// A path in the code, and the inline module it is in.
pub(crate) struct PathAt {
    pub(crate) module: Vec<String>,
    pub(crate) path: Vec<String>,
}

const ITEMS: [&str; 8] =
    ["fn", "struct", "enum", "union", "trait", "type", "static", "macro_rules"];

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (tokens, dropped, test_modules) = without_tests(&tokens(text));
        let test_lines =
            |line: usize| dropped.iter().any(|(from, to)| (*from..=*to).contains(&line));
        let mut source = Self {
            path: path.to_owned(),
            lines: (1..=text.lines().count()).filter(|line| !test_lines(*line)).count(),
            code: blanked(text, &tokens),
            tokens: Vec::new(),
            uses: Vec::new(),
            paths: Vec::new(),
            items: Vec::new(),
            inline: Vec::new(),
            inherent: Vec::new(),
            functions: Vec::new(),
            test_modules,
        };
        source.scan(&tokens, &[]);
        source.tokens = tokens;
        source
    }

    /// The names of the folders and of the file, without `mod` and `lib`.
    pub(crate) fn module(&self) -> Vec<String> {
        let path = self.path.trim_end_matches(".rs");
        let mut names: Vec<_> = path.split('/').map(str::to_owned).collect();
        if self.is_facade() {
            names.pop();
        }
        names
    }

    /// Returns whether this is a `mod.rs` or the `lib.rs`.
    pub(crate) fn is_facade(&self) -> bool {
        self.path == "lib.rs" || self.path == "mod.rs" || self.path.ends_with("/mod.rs")
    }

    /// The folder it is in, empty for `src` itself.
    pub(crate) fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    fn scan(&mut self, tokens: &[Token], module: &[String]) {
        let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
        let mut at = 0;
        while at < tokens.len() {
            let before = |back: usize| at.checked_sub(back).map_or("", text);
            let next = text(at + 1);
            match text(at) {
                "mod" if text(at + 2) == "{" => {
                    let end = behind_closing(tokens, at + 2);
                    let inner: Vec<_> = module.iter().cloned().chain([next.to_owned()]).collect();
                    self.inline.push(inner.clone());
                    self.scan(&tokens[at + 3..end - 1], &inner);
                    at = end;
                    continue;
                }
                "use" if before(1) != "." => {
                    let is_public = before(1) == "pub" || before(1) == ")";
                    let length = tokens[at..].iter().position(|token| token.text == ";");
                    let end = length.map_or(tokens.len(), |length| at + length);
                    for (path, name) in use_tree(&tokens[at + 1..end], &[]) {
                        self.uses.push(Use { module: module.to_vec(), path, name, is_public });
                    }
                    at = end;
                    continue;
                }
                "impl" if ["", "{", "}", ";", "]", "unsafe"].contains(&before(1)) => {
                    if let Some(path) = inherent_type(&tokens[at + 1..]) {
                        self.inherent.push(PathAt { module: module.to_vec(), path });
                    }
                }
                "fn" if tokens.get(at + 1).is_some_and(Token::is_name) => {
                    self.functions.push((next.to_owned(), body_lines(&tokens[at..])));
                }
                _ => {}
            }
            if ITEMS.contains(&text(at)) || text(at) == "const" {
                let name = if next == "!" { text(at + 2) } else { next };
                self.items.push((module.to_vec(), name.to_owned()));
            }
            // In `pub(in path)`, the path is no import.
            let is_scope = before(1) == "in" && before(2) == "(" && before(3) == "pub";
            let is_start =
                tokens[at].is_name() && ![".", "::", "'"].contains(&before(1)) && !is_scope;
            if is_start && next == "::" && (before(1) != "$" || text(at) == "crate") {
                self.paths.push(PathAt { module: module.to_vec(), path: path(&tokens[at..]) });
            }
            at += 1;
        }
    }
}

/// The segments of the path that begins here.
fn path(tokens: &[Token]) -> Vec<String> {
    let mut segments = vec![tokens[0].text.clone()];
    for pair in tokens[1..].chunks(2) {
        match pair {
            [colons, name] if colons.text == "::" && name.is_name() => {
                segments.push(name.text.clone());
            }
            _ => break,
        }
    }
    segments
}

/// The paths of a use tree, each with the name it binds. A path into another crate that is written
/// with a leading `::` has no segments.
fn use_tree(tokens: &[Token], prefix: &[String]) -> Vec<(Vec<String>, String)> {
    let mut path = prefix.to_vec();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "::" if at == 0 => return Vec::new(),
            // Within a macro, `$crate` is the crate.
            "::" | "$" => {}
            "*" => return vec![(path, "*".to_owned())],
            "{" => {
                let group = &tokens[at + 1..behind_closing(tokens, at) - 1];
                return split(group).into_iter().flat_map(|tree| use_tree(tree, &path)).collect();
            }
            "as" => {
                let name = tokens.get(at + 1).map_or("_", |name| name.text.as_str());
                return vec![(path, name.to_owned())];
            }
            "self" if !path.is_empty() => {}
            name => path.push(name.to_owned()),
        }
        at += 1;
    }
    let name = path.last().cloned().unwrap_or_default();
    vec![(path, name)]
}

/// The parts of a group between its commas.
fn split(group: &[Token]) -> Vec<&[Token]> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, token) in group.iter().enumerate() {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 0 => {
                parts.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&group[start..]);
    parts.retain(|part| !part.is_empty());
    parts
}

/// The path of the type whose inherent `impl` block begins behind this `impl`; none for a trait's.
fn inherent_type(tokens: &[Token]) -> Option<Vec<String>> {
    let mut angle = 0;
    let mut found = None;
    for (at, token) in tokens.iter().enumerate() {
        let last = at.checked_sub(1).map_or("", |last| tokens[last].text.as_str());
        match token.text.as_str() {
            "<" => angle += 1,
            ">" => angle -= 1,
            _ if angle > 0 => {}
            "for" => return None,
            "{" | "where" => return found,
            // In a macro, the type may be a parameter.
            _ if last == "$" => return None,
            "dyn" | "mut" | "const" => {}
            _ if token.is_name() && last != "::" => found = Some(path(&tokens[at..])),
            _ => {}
        }
    }
    None
}

/// The lines with code between the braces of the function that begins here, as clippy counts them.
fn body_lines(tokens: &[Token]) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "(" | "[" => depth += 1,
            ")" | "]" => depth -= 1,
            ";" if depth == 0 => return 0,
            "{" if depth == 0 => {
                let end = behind_closing(tokens, at) - 1;
                let inside = &tokens[at + 1..end];
                let mut lines: Vec<_> = inside.iter().flat_map(|t| t.line..=t.last_line).collect();
                lines.dedup();
                return lines.len();
            }
            _ => {}
        }
    }
    0
}

/// Leaves out every item, field or statement under `#[cfg(test)]`. Returns what is left, the first
/// and last lines of what is not, and the names of the modules among it.
fn without_tests(tokens: &[Token]) -> (Vec<Token>, Vec<(usize, usize)>, Vec<String>) {
    let (mut kept, mut dropped, mut modules) = (Vec::new(), Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        if !is_test_attribute(&tokens[at..]) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let mut item = at;
        while tokens.get(item).is_some_and(|token| token.text == "#") {
            item = behind_closing(tokens, item + 1);
        }
        let end = item_end(tokens, item);
        dropped.push((tokens[at].line, tokens[end - 1].last_line));
        if let Some(name) = tokens[item..end].windows(2).find(|pair| pair[0].text == "mod") {
            modules.push(name[1].text.clone());
        }
        at = end;
    }
    (kept, dropped, modules)
}

fn is_test_attribute(tokens: &[Token]) -> bool {
    let starts = ["#", "[", "cfg", "("];
    tokens.len() > starts.len()
        && tokens.iter().zip(starts).all(|(token, start)| token.text == start)
        && {
            let inside = &tokens[..behind_closing(tokens, 1)];
            inside.iter().any(|token| token.text == "test")
                && !inside.iter().any(|token| ["not", "any"].contains(&token.text.as_str()))
        }
}

/// The position behind the item, field or statement that begins at `start`.
fn item_end(tokens: &[Token], start: usize) -> usize {
    let words = ["pub", "unsafe", "async", "extern"];
    let mut at = start;
    while words.contains(&tokens[at].text.as_str()) {
        at += 1;
        if tokens[at].text == "(" {
            at = behind_closing(tokens, at);
        }
    }
    let is_fn = tokens.get(at + 1).is_some_and(|next| next.text == "fn");
    let keyword = tokens[at].text.as_str();
    let to_semicolon = ["use", "const", "static", "let", "type"].contains(&keyword) && !is_fn;
    let is_item = to_semicolon || ITEMS.contains(&keyword) || ["impl", "mod"].contains(&keyword);
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            ";" => return at + 1,
            "," if !is_item => return at + 1,
            "}" | ")" | "]" => return at,
            "{" if !to_semicolon => return behind_closing(tokens, at),
            "(" | "[" | "{" => at = behind_closing(tokens, at),
            _ => at += 1,
        }
    }
    at
}

/// The text with only the tokens left, each at its place.
fn blanked(text: &str, tokens: &[Token]) -> String {
    let mut code: Vec<u8> =
        text.bytes().map(|byte| if byte == b'\n' { byte } else { b' ' }).collect();
    for token in tokens {
        let end = token.start + token.text.len();
        code[token.start..end].copy_from_slice(token.text.as_bytes());
    }
    String::from_utf8_lossy(&code).into_owned()
}
