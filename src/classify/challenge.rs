//! The parser of `WWW-Authenticate` challenges (RFC 9110 §11.6.1).

use http::{HeaderMap, header::WWW_AUTHENTICATE};

use super::reason::Reason;

/// One challenge: a scheme with its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// The scheme as sent. Schemes are case-insensitive.
    pub(crate) scheme: String,
    /// The parameters in the order sent: names in lower case, values unescaped.
    pub(crate) params: Vec<(String, String)>,
    /// The token that some schemes (Negotiate) send instead of parameters.
    pub(crate) token68: Option<String>,
}

impl Challenge {
    /// Returns the first parameter of this name, which is in lower case.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Parses the challenges of all header lines, without the lines that break the grammar.
pub(crate) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let lines = headers.get_all(WWW_AUTHENTICATE).into_iter();
    lines.filter_map(|line| parse(line.as_bytes())).flatten().collect()
}

/// Returns why the credential was rejected, if a challenge has an error code (RFC 6750 §3.1).
///
/// A challenge without an error code gives no reason: it *should* mean that no credential was sent (§3), but
/// many servers send it for a rejected one.
pub(crate) fn reason(headers: &HeaderMap) -> Option<Reason> {
    challenges(headers).iter().find_map(|challenge| match challenge.param("error")? {
        "invalid_token" => {
            let said = challenge.param("error_description").and_then(Reason::described_by);
            Some(said.unwrap_or(Reason::Invalid))
        }
        "insufficient_scope" => Some(Reason::InsufficientScope),
        _ => None,
    })
}

/// Parses the challenges of one header line; `None` if it breaks the grammar.
pub(crate) fn parse(line: &[u8]) -> Option<Vec<Challenge>> {
    let mut text = Text(line);
    let mut found: Vec<Challenge> = Vec::new();
    loop {
        // Empty list elements are allowed (RFC 9110 §5.6.1.2).
        while text.skip_blank() | text.take(b',') {}
        if text.0.is_empty() {
            return Some(found);
        }
        let name = text.token()?;
        if let Some(challenge) = found.last_mut() {
            if let Some(value) = text.value()? {
                challenge.params.push((lower(name), value));
                text.end_of_element()?;
                continue;
            }
        }
        let mut challenge = Challenge { scheme: owned(name), ..Challenge::default() };
        if text.skip_blank() {
            text.after_scheme(&mut challenge)?;
        }
        found.push(challenge);
        text.end_of_element()?;
    }
}

/// The rest of the line.
struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// Parses a parameter or a token68 after a scheme, if there is one.
    fn after_scheme(&mut self, challenge: &mut Challenge) -> Option<()> {
        if matches!(self.0.first(), None | Some(b',')) {
            return Some(());
        }
        if let Some(token) = self.token68() {
            challenge.token68 = Some(owned(token));
            return Some(());
        }
        let name = self.token()?;
        let value = self.value()??;
        challenge.params.push((lower(name), value));
        Some(())
    }

    /// Parses a token68 that is the whole list element (RFC 9110 §11.2); takes nothing otherwise.
    fn token68(&mut self) -> Option<&'a [u8]> {
        let part = |b: &u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(b);
        let body = self.0.iter().take_while(|b| part(b)).count();
        let pad = self.0[body..].iter().take_while(|b| **b == b'=').count();
        let (token, rest) = self.0.split_at(body + pad);
        let mut rest = Text(rest);
        rest.skip_blank();
        (body > 0 && matches!(rest.0.first(), None | Some(b','))).then(|| {
            *self = rest;
            token
        })
    }

    /// Parses the `= value` of a parameter: `Some(None)` if no `=` follows, `None` if the value is malformed.
    #[expect(clippy::option_option, reason = "absent and malformed differ")]
    fn value(&mut self) -> Option<Option<String>> {
        let start = self.0;
        self.skip_blank();
        if !self.take(b'=') {
            self.0 = start;
            return Some(None);
        }
        self.skip_blank();
        if self.take(b'"') { self.quoted().map(Some) } else { self.token().map(|v| Some(owned(v))) }
    }

    /// Parses the rest of a quoted string, unescaped (RFC 9110 §5.6.4).
    fn quoted(&mut self) -> Option<String> {
        let mut value = Vec::new();
        loop {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            match byte {
                b'"' => return Some(owned(&value)),
                b'\\' => {
                    let (&escaped, rest) = self.0.split_first()?;
                    self.0 = rest;
                    value.push(escaped);
                }
                _ => value.push(byte),
            }
        }
    }

    fn token(&mut self) -> Option<&'a [u8]> {
        let part = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
        let end = self.0.iter().take_while(|b| part(b)).count();
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        (end > 0).then_some(token)
    }

    fn end_of_element(&mut self) -> Option<()> {
        self.skip_blank();
        matches!(self.0.first(), None | Some(b',')).then_some(())
    }

    fn take(&mut self, byte: u8) -> bool {
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn skip_blank(&mut self) -> bool {
        let blank = self.0.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        self.0 = &self.0[blank..];
        blank > 0
    }
}

fn owned(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn lower(bytes: &[u8]) -> String {
    owned(bytes).to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
