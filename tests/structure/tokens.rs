//! Splits Rust source text into tokens, without comments.

/// One token of a source file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    /// The token as written. A literal with quotes is only its quotes, a lifetime only `'`.
    pub(crate) text: String,
    /// The first line it stands on, from 1.
    pub(crate) line: usize,
    /// The last line it stands on.
    pub(crate) last_line: usize,
    /// Its first byte.
    pub(crate) start: usize,
}

impl Token {
    /// Returns whether this is an identifier or a keyword.
    pub(crate) fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// Punctuation that is one token although it has two characters.
const PAIRS: [&str; 4] = ["::", "->", "=>", ".."];

/// Splits `text`. Comments, doc comments among them, are left out.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let length = if first.is_whitespace() {
            first.len_utf8()
        } else if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else {
            let (length, shown) = token(rest, first);
            let last_line = line + rest[..length].matches('\n').count();
            found.push(Token { text: shown, line, last_line, start: at });
            length
        };
        line += rest[..length].matches('\n').count();
        at += length;
    }
    found
}

/// The length of the comment that begins here. Block comments nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The length of the token that begins here, and its text.
fn token(rest: &str, first: char) -> (usize, String) {
    let name = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let quoted = rest[name..].starts_with(['"', '\'', '#']);
    if ["r", "br", "cr"].contains(&&rest[..name]) && quoted {
        let hashes = rest[name..].len() - rest[name..].trim_start_matches('#').len();
        let open = name + hashes;
        if rest[open..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let body = &rest[open + 1..];
            let end = body.find(&close).map_or(rest.len(), |at| open + 1 + at + close.len());
            return (end, "\"\"".to_owned());
        }
    }
    if ["b", "c", ""].contains(&&rest[..name]) && quoted {
        if rest[name..].starts_with('"') {
            return (name + closing(&rest[name..], '"'), "\"\"".to_owned());
        }
        let mut after = rest[name..].chars().skip(1);
        let (next, then) = (after.next(), after.next());
        if rest[name..].starts_with('\'') && (next == Some('\\') || then == Some('\'')) {
            return (name + closing(&rest[name..], '\''), "''".to_owned());
        }
    }
    if first == '\'' {
        let rest = &rest[1..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        return (1 + end, "'".to_owned());
    }
    let length = if first.is_ascii_digit() {
        let fraction = rest[name..]
            .strip_prefix('.')
            .filter(|fraction| fraction.starts_with(|c: char| c.is_ascii_digit()));
        let end = |text: &str| text.find(|c: char| !c.is_alphanumeric() && c != '_');
        fraction.map_or(name, |text| name + 1 + end(text).unwrap_or(text.len()))
    } else if name > 0 {
        name
    } else if PAIRS.iter().any(|pair| rest.starts_with(pair)) {
        2
    } else {
        first.len_utf8()
    };
    (length, rest[..length].to_owned())
}

/// The length of the quoted literal that begins here, both quotes counted.
fn closing(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    rest.len()
}

/// The position behind the bracket that closes the one at `open`.
pub(crate) fn behind_closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

#[test]
fn tokens_leave_comments_and_the_insides_of_literals_out() {
    let texts = |text: &str| tokens(text).into_iter().map(|token| token.text).collect::<Vec<_>>();
    assert_eq!(texts("a::b // c\n/* d /* e */ f */ g"), ["a", "::", "b", "g"]);
    assert_eq!(
        texts(r##"x("// a", r#"b " c"#, b"\"", '"', '\'', 'a')"##).concat(),
        r#"x("","","",'','','')"#
    );
    assert_eq!(
        texts("fn f<'a>(x: &'a str) -> 1.5"),
        ["fn", "f", "<", "'", ">", "(", "x", ":", "&", "'", "str", ")", "->", "1.5"]
    );
    let lines: Vec<_> = tokens("a\n\"b\nc\" d").iter().map(|t| (t.line, t.last_line)).collect();
    assert_eq!(lines, [(1, 1), (2, 3), (3, 3)]);
}
