//! Who is told what: every failed request and every incident, each once.
//!
//! | event | code | severity | told when |
//! | --- | --- | --- | --- |
//! | [`Event::RequestFailed`] | `request_failed` | error; debug when nothing was sent | a request ended in a failure |
//! | [`Event::RequestRecovered`] | `request_recovered` | debug | a request succeeded after failed attempts; only when asked for |
//! | [`Event::RequestAbandoned`] | `request_abandoned` | debug | a request was dropped after a failed attempt |
//! | [`Event::AccountOut`] | `account_out` | warn | an account's credential was refused, has ended or is not replaced, or its quota is used up |
//! | [`Event::PoolDead`] | `pool_dead` | error | a refusal left no usable account |
//! | [`Event::Token`] | `credential_expiring` | warn | a token that nothing replaces ends soon |
//! | | `refresh_failed` | warn | a token was not replaced, and its account is not out for it; once for each row of failures |
//! | | `clock_skew` | warn | a token had ended before it came in; once for each pool |
//! | [`Event::Coalesced`] | `coalesced` | that of what was held back | a window of a [`Coalesce`] that held events back ended |
//!
//! "Once" means:
//!
//! 1. A failed request is one event, however many attempts it made. Each failed attempt stands in
//!    exactly one [trail](RequestRecord::trail).
//! 2. A success tells nothing, unless recovered requests are asked for.
//! 3. A request that is dropped after a failed attempt is abandoned, and that is no failure. One
//!    that is dropped before is not told.
//! 4. An incident is one cause. The refusal that leaves no usable account is one `pool_dead`, with
//!    the refusal as its [cause](PoolDead::cause), and not an `account_out` as well.
//! 5. Ten requests that are refused with the same credential are one incident. A drop loses none.
//! 6. A [`Reporter`] that panics harms nobody: the panic is caught and
//!    [counted](ReporterHandle::panics).
//! 7. Whoever wants to hear less than that puts a [`Coalesce`] in front of the reporter: of many
//!    like failures, the first is told, and the number of the rest.
//!
//! No event holds a credential. What others wrote (an upstream's message, an inner error) stands in
//! one only shortened to 200 characters, with control characters escaped and with `[redacted]` for
//! each run of 8 or more bytes of a secret of the pool, be it raw, percent-encoded or base64.
//!
//! Every event is one line for a person ([`Display`](std::fmt::Display)), and words for a machine
//! ([`Event::code`], `as_str` of what it holds) that stay as they are.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use http::StatusCode;
//! use tower_failover::{
//!     classify::Reason,
//!     report::{AccountOut, AccountTag, Event, OutReason, PoolDead, ReporterHandle, channel},
//! };
//!
//! let (reporter, mut events) = channel(64);
//! let reporter = ReporterHandle::new(reporter);
//!
//! // What a pool does when its last token is refused:
//! let alice = AccountTag::new("alice", 1, 2);
//! let rejected = OutReason::Rejected(Reason::Invalid);
//! let status = Some(StatusCode::UNAUTHORIZED);
//! let cause = AccountOut::new(alice, 1, rejected, status, Duration::from_secs(300));
//! let help = Arc::from("update your tokens in Settings (https://example.com/settings)");
//! reporter.report(&Event::PoolDead(PoolDead::new(2, cause, Some(help))));
//!
//! let event = events.try_recv().expect("it was told");
//! assert_eq!(event.code(), "pool_dead");
//! assert_eq!(
//!     event.to_string(),
//!     "all 2 credentials are rejected: \
//!      update your tokens in Settings (https://example.com/settings); \
//!      the last: account \"alice\" (#1 of 2): token rejected (401 credential_invalid); quarantined for 300 s",
//! );
//! ```

pub(crate) mod coalesce;
pub(crate) mod event;
pub(crate) mod reporter;
pub(crate) mod text;

#[cfg(feature = "tracing")]
pub use self::reporter::tracing::TracingReporter;
pub use self::{
    coalesce::coalesce::{Coalesce, CoalesceError},
    event::{
        attempt::{Attempt, Followed, NotResent},
        event::{Coalesced, Event, Severity},
        incident::{AccountOut, AccountTag, OutReason, PoolDead},
        request::{Outcome, RequestRecord},
        token::{TokenEvent, TokenEventKind},
    },
    reporter::{
        channel::{ChannelReporter, EventReceiver, channel},
        reporter::{Reporter, ReporterHandle},
    },
};
