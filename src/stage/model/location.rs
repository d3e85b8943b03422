//! The location of the model in a request.

use std::{borrow::Cow, fmt, str, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Uri,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
    request::Parts,
    uri::PathAndQuery,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{
    access::{ModelAccess, Rewritten},
    json::{self, Found, Span},
    lookup::Model,
};
use crate::{classify::answer::is_json, report::NotResent};

/// The unreserved characters of RFC 3986 §2.3, which need no encoding.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Headers with a digest of the body, which a changed body makes wrong (RFC 9530, RFC 1864).
static DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// The location of the model in a request.
///
/// The default is the member `model` at the top of a JSON body.
///
/// ```
/// use tower_failover::{fallback::ModelAt, FailoverLayer, ModelChain};
///
/// // POST /v1/models/large:generate
/// let layer = FailoverLayer::builder()
///     .models(ModelChain::list(["large", "small"])?)
///     .model_at(ModelAt::path_after("models"))
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ModelAt(At);

#[derive(Clone)]
enum At {
    Json(Arc<str>),
    Path(Arc<str>),
    Query(Arc<str>),
    Header(HeaderName),
    Custom(Arc<dyn ModelAccess>),
}

impl ModelAt {
    /// Locates the model in a string member at the top of a JSON body.
    ///
    /// 1. Only the bytes of the name are replaced.
    /// 2. Names are compared after unescaping. If two members match, nothing is changed.
    /// 3. A body with a `content-encoding`, or of a type that is not JSON, is not changed.
    /// 4. `content-length` is updated, and digests of the old body are removed.
    pub fn json(member: impl Into<Arc<str>>) -> Self {
        Self(At::Json(member.into()))
    }

    /// Locates the model in the path segment after this one, up to a colon: `path_after("models")`
    /// finds `x` in `/v1/models/x:generate` ([AIP-136](https://google.aip.dev/136)). If two segments
    /// match, nothing is changed.
    pub fn path_after(segment: impl Into<Arc<str>>) -> Self {
        Self(At::Path(segment.into()))
    }

    /// Locates the model in a query parameter.
    pub fn query(key: impl Into<Arc<str>>) -> Self {
        Self(At::Query(key.into()))
    }

    /// Locates the model in a header.
    pub const fn header(name: HeaderName) -> Self {
        Self(At::Header(name))
    }

    /// Locates the model with code of your own.
    pub fn custom(code: impl ModelAccess) -> Self {
        Self(At::Custom(Arc::new(code)))
    }

    /// Returns whether the model may be in the body.
    pub(crate) const fn needs_body(&self) -> bool {
        matches!(self.0, At::Json(_) | At::Custom(_))
    }

    /// Returns the model that this request names.
    pub(crate) fn read(&self, head: &Parts, body: Option<&Bytes>) -> Model {
        let found = match &self.0 {
            At::Json(member) => return read_json(head, body, member),
            At::Path(segment) => match in_path(head.uri.path(), segment) {
                Ok(at) => at.map(|at| decoded(at.spelled)),
                Err(why) => return Model::Absent(why),
            },
            At::Query(key) => match in_query(head.uri.query().unwrap_or_default(), key) {
                Ok(at) => at.map(|at| decoded(at.spelled)),
                Err(why) => return Model::Absent(why),
            },
            At::Header(name) => {
                let mut values = head.headers.get_all(name).iter();
                let first = values.next().and_then(|value| str::from_utf8(value.as_bytes()).ok());
                if values.next().is_some() {
                    return Model::Absent(NotResent::AmbiguousModel);
                }
                first.map(|value| value.trim().to_owned())
            }
            At::Custom(code) => code.read(head, body),
        };
        match found.filter(|model| !model.is_empty()) {
            Some(model) => Model::Named(model.into(), None),
            None => Model::Absent(NotResent::NoModel),
        }
    }

    /// Puts another model on an attempt. `span` is the position that [`read`](Self::read) found.
    pub(crate) fn write(
        &self,
        head: &mut Parts,
        body: Option<&Bytes>,
        span: Option<&Span>,
        model: &str,
    ) -> Option<Rewritten> {
        let rewritten = match &self.0 {
            At::Json(member) => {
                let body = body?;
                match span {
                    Some(span) => Rewritten::Body(json::splice(body, span, model)),
                    // The caller named the model in the options, so the body was not searched yet.
                    None => match read_json(head, Some(body), member) {
                        Model::Named(_, Some(span)) => {
                            Rewritten::Body(json::splice(body, &span, model))
                        }
                        _ => return None,
                    },
                }
            }
            At::Path(segment) => {
                let at = in_path(head.uri.path(), segment).ok()??;
                let query = head.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
                let target = format!("{}{query}", at.with(model));
                replace(&mut head.uri, &target)?
            }
            At::Query(key) => {
                let at = in_query(head.uri.query()?, key).ok()??;
                let target = format!("{}?{}", head.uri.path(), at.with(model));
                replace(&mut head.uri, &target)?
            }
            // White space around a header value is not transmitted (RFC 9110 §5.5).
            At::Header(_) if model.trim() != model || model.is_empty() => return None,
            At::Header(name) => {
                head.headers.insert(name, HeaderValue::from_str(model).ok()?);
                Rewritten::SameBody
            }
            At::Custom(code) => code.write(head, body, model)?,
        };
        if let Rewritten::Body(body) = &rewritten {
            if head.headers.contains_key(CONTENT_LENGTH) {
                head.headers.insert(CONTENT_LENGTH, body.len().into());
            }
            for name in &DIGESTS {
                head.headers.remove(name);
            }
        }
        Some(rewritten)
    }
}

fn read_json(head: &Parts, body: Option<&Bytes>, member: &str) -> Model {
    let coded = head.headers.get(CONTENT_ENCODING).map(|coding| coding.as_bytes().trim_ascii());
    if coded.is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
        return Model::Absent(NotResent::EncodedBody);
    }
    let content_type = head.headers.get(CONTENT_TYPE);
    // A body without a type is read, because many callers leave the header to their client.
    if content_type.is_some_and(|value| !is_json(value.as_bytes())) {
        return Model::Absent(NotResent::NotJson);
    }
    let Some(body) = body else { return Model::Absent(NotResent::NoModel) };
    match json::find(body, member) {
        Found::Member(span, value) => Model::Named(Arc::from(&*value), Some(span)),
        Found::Ambiguous => Model::Absent(NotResent::AmbiguousModel),
        Found::Invalid | Found::NotAnObject => Model::Absent(NotResent::NotJson),
        Found::Missing | Found::NotAString => Model::Absent(NotResent::NoModel),
    }
}

/// The position of a model in a part of a URI.
struct UriSlot<'a> {
    before: &'a str,
    /// The text to insert between `before` and a model.
    glue: &'static str,
    /// The model as it is written.
    spelled: &'a str,
    after: &'a str,
}

impl UriSlot<'_> {
    fn with(&self, model: &str) -> String {
        format!("{}{}{}{}", self.before, self.glue, encoded(model), self.after)
    }
}

/// Returns the model in a path. An error if several segments match.
fn in_path<'a>(path: &'a str, segment: &str) -> Result<Option<UriSlot<'a>>, NotResent> {
    let mut found = None;
    let mut from = 0;
    let mut parts = path.split('/');
    while let Some(part) = parts.next() {
        from += part.len() + 1;
        if part != segment {
            continue;
        }
        // The next segment is a model, even if it equals the segment.
        let Some(part) = parts.next() else { break };
        if found.is_some() {
            return Err(NotResent::AmbiguousModel);
        }
        let spelled = part.split(':').next().unwrap_or_default();
        let (before, rest) = path.split_at_checked(from).unwrap_or((path, ""));
        let after = rest.get(spelled.len()..).unwrap_or_default();
        // The search goes on, because a second match is an error.
        found = Some(UriSlot { before, glue: "", spelled, after });
    }
    Ok(found)
}

/// Returns the model in a query. An error if several parameters match.
fn in_query<'a>(query: &'a str, key: &str) -> Result<Option<UriSlot<'a>>, NotResent> {
    let mut found = None;
    let mut from = 0;
    for pair in query.split('&') {
        let (name, spelled, glue) = match pair.split_once('=') {
            Some((name, spelled)) => (name, spelled, ""),
            None => (pair, "", "="),
        };
        if decoded(name) == key {
            if found.is_some() {
                return Err(NotResent::AmbiguousModel);
            }
            let at = from + pair.len() - spelled.len();
            let (before, rest) = query.split_at_checked(at).unwrap_or((query, ""));
            let after = rest.get(spelled.len()..).unwrap_or_default();
            found = Some(UriSlot { before, glue, spelled, after });
        }
        from += pair.len() + 1;
    }
    Ok(found)
}

fn replace(uri: &mut Uri, target: &str) -> Option<Rewritten> {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    *uri = Uri::from_parts(parts).ok()?;
    Some(Rewritten::SameBody)
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn encoded(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, UNRESERVED).into()
}

impl Default for ModelAt {
    fn default() -> Self {
        Self::json("model")
    }
}

impl fmt::Debug for ModelAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            At::Json(member) => f.debug_tuple("Json").field(member).finish(),
            At::Path(segment) => f.debug_tuple("Path").field(segment).finish(),
            At::Query(key) => f.debug_tuple("Query").field(key).finish(),
            At::Header(name) => f.debug_tuple("Header").field(name).finish(),
            At::Custom(_) => f.write_str("Custom"),
        }
    }
}

#[cfg(test)]
mod tests;
