use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use ::http::{Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use percent_encoding::percent_decode_str;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

use super::*;

/// A key that was generated for these tests and has no other use.
const KEY: &str = include_str!("tests/key.pem");

fn file(change: impl Fn(&mut Map<String, Value>)) -> String {
    let mut file = Map::new();
    for (name, value) in [
        ("type", "service_account"),
        ("client_email", "renderer@example.iam.gserviceaccount.com"),
        ("private_key", KEY),
        ("private_key_id", "k1"),
        ("token_uri", "https://oauth2.example.com/token"),
    ] {
        file.insert(name.into(), value.into());
    }
    change(&mut file);
    Value::Object(file).to_string()
}

fn http(seen: &Arc<Mutex<String>>) -> OAuthHttp {
    let seen = seen.clone();
    OAuthHttp::new(tower::service_fn(move |request: Request<Full<Bytes>>| {
        let seen = seen.clone();
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            *seen.lock().unwrap() = String::from_utf8(body.to_vec()).unwrap();
            let answer = r#"{"access_token":"ya29.tok","expires_in":3599,"token_type":"Bearer"}"#;
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(answer)))
        }
    }))
}

fn part(jwt: &str, at: usize) -> Value {
    let part = URL_SAFE_NO_PAD.decode(jwt.split('.').nth(at).unwrap()).unwrap();
    serde_json::from_slice(&part).unwrap()
}

#[test]
fn assertion_follows_rfc_7523_and_is_signed_by_the_key() {
    let source = ServiceAccount::from_json(file(|_| {}), http(&Arc::default())).unwrap();
    let source = source.scope("videos").subject("user@example.com");
    let jwt = source.assertion(1_700_000_000).unwrap();
    assert_eq!(part(&jwt, 0), json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" }));
    assert_eq!(
        part(&jwt, 1),
        json!({
            "iss": "renderer@example.iam.gserviceaccount.com",
            "aud": "https://oauth2.example.com/token",
            "iat": 1_699_999_990,
            "exp": 1_700_003_590,
            "scope": "videos",
            "sub": "user@example.com",
        })
    );
    let (signed, signature) = jwt.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, source.key.public());
    public.verify(signed.as_bytes(), &signature).unwrap();
    let shown = format!("{source:?}");
    assert!(!shown.contains("PRIVATE") && shown.contains("renderer"), "{shown}");
}

#[tokio::test]
async fn assertion_is_exchanged_for_a_token() {
    let seen = Arc::default();
    let source = ServiceAccount::from_json(file(|_| {}), http(&seen)).unwrap();
    let token = source.token(RefreshReason::First).await.unwrap();
    assert_eq!(token.expose(), "ya29.tok");
    let form = percent_decode_str(&seen.lock().unwrap()).decode_utf8().unwrap().into_owned();
    let grant = "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=";
    let jwt = form.strip_prefix(grant).unwrap();
    assert_eq!(part(jwt, 1)["aud"], "https://oauth2.example.com/token");
}

#[test]
fn bad_key_is_an_error_that_does_not_show_it() {
    let refused = |text: String| {
        let error = ServiceAccount::from_json(text, http(&Arc::default())).unwrap_err();
        assert!(!error.to_string().contains("MII"));
        error
    };
    assert_eq!(refused("MII".into()), ServiceAccountError::NotJson);
    for name in ["client_email", "private_key", "token_uri"] {
        let error = refused(file(|file| drop(file.remove(name))));
        assert_eq!(error, ServiceAccountError::Missing(name));
    }
    let bad =
        |name: &'static str| refused(file(|file| drop(file.insert(name.into(), "MII".into()))));
    assert_eq!(bad("private_key"), ServiceAccountError::Key);
    assert_eq!(bad("token_uri"), ServiceAccountError::TokenUri);
}
