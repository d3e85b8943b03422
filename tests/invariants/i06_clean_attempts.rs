//! I6: each attempt is the caller's request plus the credential and headers of one account.

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use proptest::prelude::*;
use tower_failover::pool::OwnCredential;

use super::{
    request_body::trailers,
    runner::{body_for, played, request},
    stack::{Layer, of_one_pool, stack},
    upstream::{Sent, base64_of},
    world::{CredentialPlace, MODELS, ModelPlace, World, id_of, token_of, world},
};

fn sorted(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut all: Vec<_> =
        headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    all.sort();
    all
}

/// Returns the URI and headers that the attempt must have.
#[allow(clippy::too_many_lines)] // One step for each part that is added.
fn expected(world: &World, stack: &[Layer], sent: &Sent) -> (Uri, Vec<(String, String)>) {
    let plan = world.requests()[sent.id as usize - 1];
    let (mut head, _) = request(sent.id, plan).into_parts();
    let put = |headers: &mut HeaderMap, name: &str, value: String| {
        let name = HeaderName::try_from(name).unwrap();
        headers.insert(name, HeaderValue::try_from(value).unwrap());
    };
    if stack.contains(&Layer::Strip) {
        head.headers.remove("x-strip");
        for _ in stack.iter().filter(|layer| **layer == Layer::Strip) {
            head.headers.append("x-added", HeaderValue::from_static("1"));
        }
    }
    if let (Some(own), Some(model)) = (plan.named, sent.model()) {
        let own = MODELS[usize::from(own)];
        match plan.at {
            ModelPlace::Query => {
                let uri = head.uri.to_string();
                let uri = uri.replace(&format!("?model={own}&"), &format!("?model={model}&"));
                head.uri = uri.parse().unwrap();
            }
            ModelPlace::Header => put(&mut head.headers, "x-model", model),
            ModelPlace::Json if model != own => {
                if head.headers.contains_key("content-length") {
                    put(
                        &mut head.headers,
                        "content-length",
                        body_for(sent.id, &model).len().to_string(),
                    );
                }
                head.headers.remove("content-digest");
            }
            ModelPlace::Json => {}
        }
    } else if let Some(model) = sent.headers.get("x-model") {
        // A fallback replaced the model that the options name.
        head.headers.insert("x-model", model.clone());
    }
    let Some(credential) = sent.credential else { return (head.uri, sorted(&head.headers)) };
    if world.plan.own != OwnCredential::Keep {
        head.headers.remove("authorization");
    }
    let account = world.pools[0][credential.account];
    let (id, token) =
        (id_of(0, credential.account), token_of(0, credential.account, credential.generation));
    let mut uri = head.uri.to_string();
    match account.place {
        CredentialPlace::Bearer => {
            put(&mut head.headers, "authorization", format!("Bearer {token}"));
        }
        CredentialPlace::Header => put(&mut head.headers, "x-api-key", token),
        CredentialPlace::Query => {
            uri.push_str(&format!("&key={}", token.replace('/', "%2F").replace('+', "%2B")));
        }
        CredentialPlace::Basic => {
            let text = base64_of::encode(format!("user:{token}").as_bytes());
            put(&mut head.headers, "authorization", format!("Basic {text}"));
        }
    }
    if account.fixed {
        put(&mut head.headers, &format!("x-org-{}", credential.account % 2), format!("org-{id}"));
    }
    if account.base {
        uri = uri.replace("api.example.com", &format!("{id}.example.net"));
    }
    (uri.parse().unwrap(), sorted(&head.headers))
}

proptest! {
    #[test]
    fn i06_clean_attempts(mut world in world(), stack in stack()) {
        let stack = of_one_pool(stack);
        // An inner rotation removes only what it added, not what an outer rotation replaced.
        if stack.iter().filter(|layer| layer.rotates().is_some()).count() > 1 {
            world.pools[0].iter_mut().for_each(|plan| (plan.base, plan.fixed) = (false, false));
        }
        let log = played(&world, &stack, |runner| runner.upstream.log());
        for sent in log {
            let (uri, headers) = expected(&world, &stack, &sent);
            let mut seen = sent.headers.clone();
            seen.remove("x-foreign");
            prop_assert_eq!(&sent.uri, &uri);
            prop_assert_eq!(sorted(&seen), headers);
            prop_assert!(sent.headers.get_all("authorization").iter().count() <= 1);
            let plan = world.requests()[sent.id as usize - 1];
            let model = sent.model().filter(|_| plan.at == ModelPlace::Json && plan.named.is_some());
            let whole = match &model {
                Some(model) => body_for(sent.id, model),
                None => super::runner::body(sent.id, plan),
            };
            if let Some(model) = sent.model() {
                prop_assert!(MODELS.contains(&model.as_str()), "{model}");
            }
            if sent.whole && !plan.shape.fails {
                prop_assert_eq!(&sent.body, &whole);
                prop_assert_eq!(&sent.trailers, &plan.shape.trailers.then(trailers));
            } else {
                prop_assert!(whole.as_bytes().starts_with(&sent.body), "{:?}", sent.body);
            }
            prop_assert_eq!(sent.method == "POST", plan.post);
            prop_assert_eq!(sent.mark, Some(sent.id));
        }
    }
}
