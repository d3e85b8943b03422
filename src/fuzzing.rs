//! The parsers behind the layers, for the fuzz targets: built with `--cfg fuzzing` alone, and no
//! part of the API.

use bytes::Bytes;

use crate::{
    classify::challenge,
    stage::model::json::{self, Span},
};

/// One challenge of a `WWW-Authenticate` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// As it was sent.
    pub scheme: String,
    /// Names in lower case, values unescaped.
    pub params: Vec<(String, String)>,
    /// A token68 in place of parameters.
    pub token68: Option<String>,
}

/// The challenges of one line; `None` when it breaks the grammar.
pub fn challenges(line: &[u8]) -> Option<Vec<Challenge>> {
    let found = challenge::parse(line)?.into_iter().map(|one| {
        let challenge::Challenge { scheme, params, token68 } = one;
        Challenge { scheme, params, token68 }
    });
    Some(found.collect())
}

/// The result of a search for a member in a JSON body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A text, unescaped, and where it stands.
    Member(Place, String),
    /// Nothing.
    Missing,
    /// The member is not a string.
    NotAString,
    /// The body is no object.
    NotAnObject,
    /// Two members have that name.
    Ambiguous,
    /// The body is not JSON.
    Invalid,
}

/// Where a value stands in the body that it was found in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(Span);

/// Finds the member of that name.
pub fn find(body: &[u8], member: &str) -> Found {
    match json::find(body, member) {
        json::Found::Member(span, value) => Found::Member(Place(span), value.into_owned()),
        json::Found::Missing => Found::Missing,
        json::Found::NotAString => Found::NotAString,
        json::Found::NotAnObject => Found::NotAnObject,
        json::Found::Ambiguous => Found::Ambiguous,
        json::Found::Invalid => Found::Invalid,
    }
}

/// The body with another string in that place.
pub fn splice(body: &[u8], place: &Place, value: &str) -> Bytes {
    json::splice(body, &place.0, value)
}
