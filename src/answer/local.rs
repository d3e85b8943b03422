//! The local answers as HTTP and gRPC: problem+json, `Retry-After`, challenge. Codes: `classify/code.rs`.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    request,
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::problem::Problem;
use crate::{
    classify::{Cause, Code, Verdict},
    clock,
};

/// Marks an answer that is about a credential for the upstream, as opposed to the caller's own login.
pub(crate) static FAILOVER_AUTH: HeaderName = HeaderName::from_static("x-failover-auth");
static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// The bytes that `grpc-message` must escape
/// ([PROTOCOL-HTTP2.md](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md), Status-Message).
const GRPC_ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// A user's function that builds a local answer from its cause.
pub(crate) type Hook = Arc<dyn Fn(&Cause) -> Option<Response<Bytes>> + Send + Sync>;

/// Builds local answers. The parts that do not depend on the request are built once.
#[derive(Default)]
pub(crate) struct LocalAnswers {
    pub(crate) help: Option<Arc<str>>,
    pub(crate) hook: Option<Hook>,
    http: Prebuilt,
    grpc: Prebuilt,
}

/// Answers for each code: without a delay, and with a place for one.
type Prebuilt = [[OnceLock<Response<Bytes>>; Code::ALL.len()]; 2];

impl LocalAnswers {
    pub(crate) fn new(help: Option<Arc<str>>, hook: Option<Hook>) -> Self {
        Self { help, hook, ..Self::default() }
    }

    /// Returns the answer for this cause, with the cause in its extensions.
    pub(crate) fn answer(&self, cause: &Cause, grpc: bool) -> Response<Bytes> {
        let mut answer = match self.user_answer(cause) {
            Some(mut answer) => {
                answer.headers_mut().insert(FAILOVER_AUTH.clone(), failover_auth(cause.code));
                answer
            }
            None => self.prebuilt(cause, grpc),
        };
        if let Some(delay) = cause.retry_after {
            // Rounded up: a client that follows it must not return too early (RFC 9110 §10.2.3).
            let seconds = delay.as_secs().saturating_add(u64::from(delay.subsec_nanos() > 0));
            answer.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        answer.extensions_mut().insert(*cause);
        answer
    }

    fn user_answer(&self, cause: &Cause) -> Option<Response<Bytes>> {
        let hook = self.hook.as_ref()?;
        // A hook that panics must not end the request.
        catch_unwind(AssertUnwindSafe(|| hook(cause))).ok().flatten()
    }

    fn prebuilt(&self, cause: &Cause, grpc: bool) -> Response<Bytes> {
        let made = if grpc { &self.grpc } else { &self.http };
        let delayed = cause.retry_after.is_some();
        let build = || {
            let mut answer = if grpc { self.build_grpc(*cause) } else { self.build_http(*cause) };
            // The common headers are set once: a copy of the map could not take more without growing.
            if delayed {
                answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("0"));
            }
            answer.headers_mut().insert(FAILOVER_AUTH.clone(), failover_auth(cause.code));
            answer
        };
        // Answers that depend on the pool are built for each request.
        let plain = cause.requires_refresh == cause.code.requires_refresh(false);
        let kept = made[usize::from(delayed)].get(cause.code as usize);
        match kept.filter(|_| plain && cause.expired_at.is_none()) {
            Some(slot) => slot.get_or_init(build).clone(),
            None => build(),
        }
    }

    fn build_http(&self, cause: Cause) -> Response<Bytes> {
        let code = cause.code;
        let mut problem = Problem::new(code.status())
            .detail(code.message())
            .member("code", code.as_str())
            .member("requires_refresh", cause.requires_refresh);
        if let Some(at) = cause.expired_at {
            let ago = clock::wall().duration_since(at).unwrap_or_default().as_secs();
            let at = humantime::format_rfc3339_seconds(at).to_string();
            problem = problem.member("expired_at", at).member("expired_seconds_ago", ago);
        }
        if let Some(help) = &self.help {
            problem = problem.member("help", &**help);
        }
        let mut response = problem.into_response();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if Verdict::from(cause).is_unauthorized() {
            headers.insert(WWW_AUTHENTICATE, challenge(code));
        }
        response
    }

    fn build_grpc(&self, cause: Cause) -> Response<Bytes> {
        let code = cause.code;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(GRPC_STATUS.clone(), u16::from(code.grpc_status()).into());
        let help = self.help.as_deref().map(|help| format!(" {help}")).unwrap_or_default();
        let text = format!("{} ({code}){help}", code.message());
        let text = utf8_percent_encode(&text, GRPC_ESCAPED).to_string();
        if let Ok(text) = HeaderValue::try_from(text) {
            headers.insert(GRPC_MESSAGE.clone(), text);
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let mut response = Response::new(Bytes::new());
        *response.headers_mut() = headers;
        response
    }
}

/// Returns the value of `WWW-Authenticate` (RFC 6750 §3): without an error code where no credential was
/// sent.
fn challenge(code: Code) -> HeaderValue {
    HeaderValue::from_static(match code {
        Code::CredentialMissing | Code::PoolEmpty => "Bearer",
        Code::InsufficientScope => "Bearer error=\"insufficient_scope\"",
        Code::CredentialExpired => {
            "Bearer error=\"invalid_token\", error_description=\"The upstream credential has expired\""
        }
        Code::CredentialRevoked => {
            "Bearer error=\"invalid_token\", error_description=\"The upstream credential was revoked\""
        }
        _ => {
            "Bearer error=\"invalid_token\", error_description=\"The upstream credential is not accepted\""
        }
    })
}

/// Returns the value of `x-failover-auth`.
pub(crate) fn failover_auth(code: Code) -> HeaderValue {
    HeaderValue::try_from(format!("upstream; code={code}"))
        .unwrap_or_else(|_| HeaderValue::from_static("upstream"))
}

/// Returns whether a request expects a gRPC answer.
pub(crate) fn wants_grpc(head: &request::Parts) -> bool {
    is_grpc(head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes))
}

/// Returns whether a request with this content type expects a gRPC answer.
pub(crate) fn is_grpc(content_type: Option<&[u8]>) -> bool {
    content_type.is_some_and(|value| {
        value
            .strip_prefix(b"application/grpc")
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
    })
}

impl fmt::Debug for LocalAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalAnswers")
            .field("help", &self.help)
            .field("hook", &self.hook.is_some())
            .finish_non_exhaustive()
    }
}
