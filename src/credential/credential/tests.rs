use http::{HeaderName, header::AUTHORIZATION};
use percent_encoding::percent_decode_str;
use proptest::prelude::*;

use super::*;

const SECRET: &str = "s3cr3t-0123456789";

fn header_of(credential: &Credential) -> (&str, &str) {
    match &credential.place {
        Placement::Header(name, value) => (name.as_str(), value.to_str().unwrap()),
        Placement::Query(..) => panic!("not a header"),
    }
}

fn secrets_of(credential: &Credential) -> Vec<String> {
    let mut all = Vec::new();
    credential.visit_secrets(&mut |one| all.push(String::from_utf8(one.to_vec()).unwrap()));
    all
}

#[test]
fn credentials_are_placed_as_the_rfcs_say() {
    let bearer = Credential::bearer(SECRET).unwrap();
    assert_eq!(header_of(&bearer), ("authorization", "Bearer s3cr3t-0123456789"));
    assert_eq!(secrets_of(&bearer), [SECRET]);

    let other = Credential::scheme("Token", SECRET).unwrap();
    assert_eq!(header_of(&other), ("authorization", "Token s3cr3t-0123456789"));
    assert_eq!(secrets_of(&other), [SECRET]);

    let key = Credential::header(HeaderName::from_static("x-api-key"), SECRET).unwrap();
    assert_eq!(header_of(&key), ("x-api-key", SECRET));

    // RFC 7617 §2.
    let basic = Credential::basic("Aladdin", "open sesame").unwrap();
    assert_eq!(header_of(&basic), ("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    assert_eq!(secrets_of(&basic), ["open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]);

    let stripe = Credential::basic("sk_live_1", "").unwrap();
    assert_eq!(secrets_of(&stripe)[0], "sk_live_1");

    let query = Credential::query("key", "a+b/c=&").unwrap();
    let Placement::Query(key, value) = &query.place else { panic!("not a query key") };
    assert_eq!((&**key, &value[..]), ("key", &b"a%2Bb%2Fc%3D%26"[..]));
    assert_eq!(secrets_of(&query), ["a+b/c=&", "a%2Bb%2Fc%3D%26"]);
}

#[test]
fn header_values_are_marked_sensitive() {
    let all = [
        Credential::bearer(SECRET),
        Credential::basic("user", SECRET),
        Credential::header(HeaderName::from_static("x-api-key"), SECRET),
    ];
    for credential in all {
        match credential.unwrap().place {
            Placement::Header(_, value) => assert!(value.is_sensitive()),
            Placement::Query(..) => panic!("not a header"),
        }
    }
}

// One table.
#[allow(clippy::too_many_lines)]
#[test]
fn copy_and_paste_errors_are_detected() {
    use CredentialError as E;
    let rows: &[(&str, E)] = &[
        ("", E::Empty),
        (" ", E::WhiteSpace),
        ("tok ", E::WhiteSpace),
        ("\ttok", E::WhiteSpace),
        ("tok\n", E::WhiteSpace),
        ("tok\r\n", E::WhiteSpace),
        ("\"tok\"", E::Quoted),
        ("'tok'", E::Quoted),
        ("`tok`", E::Quoted),
        ("Bearer tok", E::Scheme),
        ("bearer tok", E::Scheme),
        ("BEARER\ttok", E::Scheme),
        ("Basic dTpw", E::Scheme),
        ("token tok", E::Scheme),
        ("Bearer", E::Scheme),
        ("Authorization: Bearer tok", E::Scheme),
        ("to k", E::NotVisible),
        ("to\nk", E::NotVisible),
        ("to\r\nx-evil: 1", E::NotVisible),
        ("to\u{0}k", E::NotVisible),
        ("to\u{7f}k", E::NotVisible),
        ("t\u{f6}k", E::NotVisible),
        ("\u{201c}tok\u{201d}", E::NotVisible),
    ];
    let api_key = HeaderName::from_static("x-api-key");
    for (value, error) in rows {
        assert_eq!(Credential::bearer(value).unwrap_err(), *error, "{value:?} as bearer");
        assert_eq!(Credential::scheme("Key", value).unwrap_err(), *error, "{value:?} as scheme");
        assert_eq!(Credential::query("key", value).unwrap_err(), *error, "{value:?} as query");
        let header = Credential::header(api_key.clone(), value);
        assert_eq!(header.unwrap_err(), *error, "{value:?} as header");
    }
    assert_eq!(Credential::bearer([0xff, 0xfe]).unwrap_err(), E::NotVisible);
    assert_eq!(Credential::basic("", "").unwrap_err(), E::Empty);
    assert_eq!(Credential::basic("a:b", "tok").unwrap_err(), E::Colon);
    assert_eq!(Credential::basic("user", "to\nk").unwrap_err(), E::NotVisible);
    assert_eq!(Credential::basic("us\u{0}er", "tok").unwrap_err(), E::NotVisible);
    assert_eq!(Credential::basic("user", "tok\n").unwrap_err(), E::WhiteSpace);
    assert_eq!(Credential::basic("user", "Basic dTpw").unwrap_err(), E::Scheme);
    assert_eq!(Credential::query("k=v", "tok").unwrap_err(), E::Name);
    assert_eq!(Credential::query("", "tok").unwrap_err(), E::Name);
    assert_eq!(Credential::scheme("", "tok").unwrap_err(), E::Name);
    assert_eq!(Credential::scheme("My Key", "tok").unwrap_err(), E::Name);
    let host = Credential::header(http::header::HOST, "tok");
    assert_eq!(host.unwrap_err(), E::Header);
}

#[test]
fn unusual_credentials_are_accepted() {
    for value in ["a", "\"a", "a'b'", "tokenish", "bearertok", "a=b&c", "~!@#$%^&*()"] {
        assert!(Credential::bearer(value).is_ok(), "{value:?}");
    }
    assert!(Credential::basic("", "tok").is_ok());
    assert!(Credential::basic("user", "p:a ss w\u{f6}rd").is_ok());
}

#[test]
fn messages_say_what_to_change() {
    use CredentialError as E;
    let rows = [
        (E::Empty, "the credential is empty: check that the variable or file it comes from is set"),
        (
            E::WhiteSpace,
            "the credential starts or ends with white space: trim it (a file often ends with a newline)",
        ),
        (E::Quoted, "the credential has quotation marks around it: give it without them"),
        (
            E::Scheme,
            "the credential starts with a scheme such as `Bearer`: give the token alone, \
             or use `Credential::scheme` for a scheme of your own",
        ),
        (
            E::NotVisible,
            "the credential holds a character that is not visible ASCII \
             (a space, a newline, an accent): copy it again",
        ),
        (
            E::Colon,
            "the user name holds a `:`, which ends it: give user and password as two values",
        ),
        (
            E::Name,
            "the name of the query key or scheme may hold only letters, digits, `-`, `.` and `_`",
        ),
        (
            E::Header,
            "a credential cannot go into this header, which frames or routes the message: \
             name the header that the upstream documents",
        ),
    ];
    for (error, message) in rows {
        assert_eq!(error.to_string(), message);
    }
}

proptest! {
    #[test]
    fn debug_and_errors_never_show_the_secret(secret in "[!-~]{8,40}", user in "[a-z]{1,8}") {
        prop_assume!(!"Credential(header `authorization`)`x-api-key`query key".contains(&secret));
        let all = [
            Credential::bearer(&secret),
            Credential::header(HeaderName::from_static("x-api-key"), &secret),
            Credential::query("key", &secret),
            Credential::basic(&user, &secret),
            Credential::bearer(format!("Bearer {secret}")),
            Credential::bearer(format!("{secret}\n{secret}")),
        ];
        for one in all {
            let text = match &one {
                Ok(credential) => format!("{credential:?} {credential:#?}"),
                Err(error) => format!("{error:?} {error}"),
            };
            prop_assert!(!text.contains(&secret), "{}", text);
            if let Ok(Credential { place: Placement::Header(_, value), .. }) = &one {
                let text = format!("{value:?}");
                prop_assert!(!text.contains(&secret), "{}", text);
            }
        }
    }

    #[test]
    fn constructors_never_panic(value in any::<Vec<u8>>(), text in any::<String>()) {
        let all =
            [Credential::bearer(&value), Credential::query("k", &value), Credential::basic(&text, &text)];
        for credential in all.into_iter().flatten() {
            credential.visit_secrets(&mut |secret| assert!(!secret.is_empty()));
        }
        if let Ok(Credential { place: Placement::Query(_, encoded), .. }) = Credential::query("k", &value) {
            let encoded = std::str::from_utf8(&encoded).unwrap();
            prop_assert!(percent_decode_str(encoded).eq(value));
        }
        if let Ok(Credential { place: Placement::Header(name, _), .. }) = Credential::bearer(&text) {
            prop_assert_eq!(name, AUTHORIZATION);
        }
    }
}
