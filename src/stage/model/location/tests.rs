//! Reading and replacing models, in usual and unusual requests.

use http::{Request, header::HeaderMap};
use proptest::prelude::*;

use super::*;

fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::post(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

/// Returns the model of the request, or why it cannot be read.
fn read(at: &ModelAt, head: &Parts) -> Result<String, NotResent> {
    match at.read(head, None) {
        Model::Named(model, _) => Ok(model.to_string()),
        Model::Absent(why) => Err(why),
        Model::Unread => panic!("it was read"),
    }
}

fn write(at: &ModelAt, uri: &str, model: &str) -> Option<String> {
    let mut head = head(uri, &[]);
    at.write(&mut head, None, None, model)?;
    Some(head.uri.to_string())
}

#[test]
fn path_model_follows_its_segment_up_to_a_colon() {
    let at = ModelAt::path_after("models");
    for (uri, model) in [
        ("/v1/models/m1", Ok("m1")),
        ("/v1/models/m1/", Ok("m1")),
        ("/v1/models/m1:generate", Ok("m1")),
        ("/v1/models/m1:stream:twice?model=q", Ok("m1")),
        ("/v1/models/m%2F1%20%C3%BC%3Ax:generate", Ok("m/1 ü:x")),
        ("/v1/models/%FF", Ok("\u{fffd}")),
        ("/v1/publishers/p/models/m1:predict/rest", Ok("m1")),
        ("/v1/models", Err(NotResent::NoModel)),
        ("/v1/models/", Err(NotResent::NoModel)),
        ("/v1/models/:list", Err(NotResent::NoModel)),
        ("/v1/models//m1", Err(NotResent::NoModel)),
        ("/v1/Models/m1", Err(NotResent::NoModel)),
        ("/v1/models:list", Err(NotResent::NoModel)),
        ("https://a.example?models/m1", Err(NotResent::NoModel)),
        ("https://models/m1", Err(NotResent::NoModel)),
    ] {
        assert_eq!(read(&at, &head(uri, &[])), model.map(str::to_owned), "{uri}");
    }
}

#[test]
fn path_with_two_matching_segments_is_ambiguous() {
    let at = ModelAt::path_after("models");
    for uri in ["/models/a/models/b", "/models/a:x/models/b?q", "/models/models/models/b"] {
        assert_eq!(read(&at, &head(uri, &[])), Err(NotResent::AmbiguousModel), "{uri}");
        assert_eq!(write(&at, uri, "c"), None, "{uri}");
    }
    // The next segment is a model, whatever its name; after the last segment there is none.
    for uri in ["/models/models", "/models/models/x", "/models/models:generate"] {
        assert_eq!(read(&at, &head(uri, &[])), Ok("models".into()), "{uri}");
    }
    assert_eq!(read(&at, &head("/models/a/models", &[])), Ok("a".into()));
    assert_eq!(write(&at, "/models/models/x", "c").unwrap(), "/models/c/x");
}

#[test]
fn query_model_is_one_parameter() {
    let at = ModelAt::query("the model");
    for (uri, model) in [
        ("/?the%20model=m1", Ok("m1")),
        ("/?a=1&%74he%20model=m%261&b", Ok("m&1")),
        ("/?the%20model=a=b", Ok("a=b")),
        ("/?the%20model", Err(NotResent::NoModel)),
        ("/?the%20model=", Err(NotResent::NoModel)),
        ("/?a=the%20model", Err(NotResent::NoModel)),
        ("/", Err(NotResent::NoModel)),
        ("/?", Err(NotResent::NoModel)),
        ("/?the%20model=a&the%20model=a", Err(NotResent::AmbiguousModel)),
        ("/?the%20model&the%20model=a", Err(NotResent::AmbiguousModel)),
    ] {
        assert_eq!(read(&at, &head(uri, &[])), model.map(str::to_owned), "{uri}");
    }
    let at = ModelAt::query("m");
    for (uri, changed) in [
        ("/p?a&m=1&b=%20", Some("/p?a&m=x%26y&b=%20")),
        ("/p?m=", Some("/p?m=x%26y")),
        // The caller named the model in the options; the replacement goes into the query.
        ("/p?m", Some("/p?m=x%26y")),
        ("/p?a=1&m&b", Some("/p?a=1&m=x%26y&b")),
        ("/p?a=1", None),
        ("/p", None),
    ] {
        assert_eq!(write(&at, uri, "x&y").as_deref(), changed, "{uri}");
    }
}

#[test]
fn header_model_is_one_header() {
    let at = ModelAt::header(HeaderName::from_static("x-model"));
    let with = |values: &[&'static str]| {
        let pairs: Vec<_> = values.iter().map(|value| ("x-model", *value)).collect();
        head("/", &pairs)
    };
    assert_eq!(read(&at, &with(&["m1"])), Ok("m1".into()));
    assert_eq!(read(&at, &with(&[" m1\t"])), Ok("m1".into()));
    assert_eq!(read(&at, &with(&["m1", "m1"])), Err(NotResent::AmbiguousModel));
    assert_eq!(read(&at, &with(&["ü"])), Ok("ü".into()));
    for none in [&[][..], &[""], &["  "]] {
        assert_eq!(read(&at, &with(none)), Err(NotResent::NoModel), "{none:?}");
    }
    // A model that a header cannot hold is not sent: it would arrive as another model, or as none.
    for model in ["a\nb", " m2", "m2 ", "\u{a0}m2", ""] {
        let mut head = with(&["m1"]);
        assert_eq!(at.write(&mut head, None, None, model), None, "{model:?}");
        assert_eq!(head.headers["x-model"], "m1");
    }
}

#[test]
fn model_named_in_the_options_is_replaced_in_the_body() {
    let body = Bytes::from_static(br#"{"n":1,"model":"m1"}"#);
    let at = ModelAt::default();
    let mut asked = head("/", &[("content-length", "20")]);
    let written = at.write(&mut asked, Some(&body), None, "m2-large");
    assert_eq!(written, Some(Rewritten::Body(r#"{"n":1,"model":"m2-large"}"#.into())));
    assert_eq!(asked.headers[CONTENT_LENGTH], "26");
    for (headers, body) in [
        (&[][..], Some(r#"{"n":1}"#)),
        (&[], Some(r#"{"model":"a","model":"b"}"#)),
        (&[("content-type", "text/plain")], Some(r#"{"model":"a"}"#)),
        (&[("content-encoding", "gzip")], Some(r#"{"model":"a"}"#)),
        (&[], None),
    ] {
        let body = body.map(Bytes::from);
        assert_eq!(at.write(&mut head("/", headers), body.as_ref(), None, "m2"), None, "{body:?}");
    }
}

#[test]
fn target_without_a_path_is_unchanged() {
    for at in [ModelAt::path_after("models"), ModelAt::query("m")] {
        for uri in ["*", "example.com:443", "example.com", "http://example.com"] {
            assert_eq!(read(&at, &head(uri, &[])), Err(NotResent::NoModel), "{at:?} {uri}");
            assert_eq!(write(&at, uri, "m2"), None, "{at:?} {uri}");
        }
    }
}

/// URIs of every form, with matching pieces in the wrong positions.
fn uris() -> impl Strategy<Value = Uri> {
    let piece = prop_oneof![
        Just("models"),
        Just("/"),
        Just("/models/"),
        Just(":"),
        Just("%2F"),
        Just("%"),
        Just("m=1"),
        Just("m"),
        Just("&"),
        Just("="),
        Just("?"),
        Just("#"),
        Just("*"),
        Just("//"),
        Just("é"),
        Just("%C3%BC"),
        Just("+"),
        Just("."),
        Just("[::1]"),
        Just("@"),
        Just("a.b:80"),
    ];
    let start = prop_oneof![Just(""), Just("/"), Just("https://a.example"), Just("*"), Just("a:1")];
    let text = (start, proptest::collection::vec(piece, 0..10))
        .prop_map(|(start, pieces)| format!("{start}{}", pieces.concat()));
    prop_oneof![text, any::<String>(), "/[ -~]{0,30}"]
        .prop_filter_map("no URI", |text| text.parse().ok())
}

fn models() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9.-]{1,12}", "[ -~]{1,12}", any::<String>(), Just("..".to_owned())]
        .prop_filter("a model has a name", |model| !model.is_empty())
}

fn pairs(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

proptest! {
    #[test]
    fn written_model_is_read_back_and_nothing_else_changes(
        uri in uris(),
        model in models(),
        key in prop_oneof![Just("models".to_owned()), Just("m".to_owned()), any::<String>()],
        values in proptest::collection::vec("[ -~]{0,8}", 0..3),
    ) {
        let name = HeaderName::from_static("x-model");
        let ats = [
            ModelAt::path_after(&*key), ModelAt::query(&*key), ModelAt::header(name.clone()),
        ];
        for at in ats {
            let (mut asked, ()) = Request::new(()).into_parts();
            asked.uri = uri.clone();
            asked.headers.insert("x-other", HeaderValue::from_static("1"));
            for value in &values {
                asked.headers.append(&name, HeaderValue::from_str(value).unwrap());
            }
            let before = asked.clone();
            let named = read(&at, &asked);
            let written = at.write(&mut asked, None, None, &model);
            if written.is_none() {
                prop_assert_eq!(&asked.uri, &before.uri);
                prop_assert_eq!(pairs(&asked.headers), pairs(&before.headers));
                // A header can hold fewer characters than a path or a query.
                let fits = !matches!(at.0, At::Header(_));
                prop_assert!(named.is_err() || !fits, "{:?} {} {:?}", at, uri, model);
                continue;
            }
            prop_assert_eq!(written, Some(Rewritten::SameBody));
            prop_assert_eq!(read(&at, &asked), Ok(model.clone()), "{:?} {}", at, asked.uri);
            prop_assert_eq!(asked.uri.scheme(), before.uri.scheme());
            prop_assert_eq!(asked.uri.authority(), before.uri.authority());
            // Writing the old model restores the old request, except for its encoding.
            let in_header = matches!(at.0, At::Header(_));
            if in_header { prop_assert_eq!(&asked.uri, &before.uri); }
            if matches!(at.0, At::Path(_)) { prop_assert_eq!(asked.uri.query(), before.uri.query()); }
            if matches!(at.0, At::Query(_)) { prop_assert_eq!(asked.uri.path(), before.uri.path()); }
            let others = |head: &Parts| {
                let mut others = pairs(&head.headers);
                others.retain(|(found, _)| !in_header || *found != name);
                others
            };
            prop_assert_eq!(others(&asked), others(&before));
            if let Ok(named) = named {
                let ends = [around(&at, &before, &key), around(&at, &asked, &key)];
                prop_assert_eq!(&ends[0], &ends[1], "around {:?}", named);
            }
        }
    }
}

/// Returns the text before and after the model.
fn around(at: &ModelAt, head: &Parts, key: &str) -> Option<(String, String)> {
    let place = match &at.0 {
        At::Path(_) => in_path(head.uri.path(), key),
        At::Query(_) => in_query(head.uri.query()?, key),
        _ => return None,
    };
    let place = place.unwrap().unwrap();
    Some((format!("{}{}", place.before, place.glue), place.after.to_owned()))
}
