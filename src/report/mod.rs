//! Events and reporters: each failed request and each incident is reported exactly once.
//!
//! | event | code | severity | reported when |
//! | --- | --- | --- | --- |
//! | [`Event::RequestFailed`] | `request_failed` | error; debug when nothing was sent | a request ends in a failure |
//! | [`Event::RequestRecovered`] | `request_recovered` | debug | a request succeeds after failed attempts; off by default |
//! | [`Event::RequestAbandoned`] | `request_abandoned` | debug | a request is dropped after a failed attempt |
//! | [`Event::AccountOut`] | `account_out` | warn | an account's credential is rejected, has expired or is not replaced, or its quota is used up |
//! | [`Event::PoolDead`] | `pool_dead` | error | an incident leaves no usable account |
//! | [`Event::Token`] | `credential_expiring` | warn | a token that no source replaces expires soon |
//! | | `refresh_failed` | warn | a token is not replaced while its account is still in use; once for each series of failures |
//! | | `clock_skew` | warn | a token had expired before it arrived; once for each pool |
//! | [`Event::Coalesced`] | `coalesced` | that of the events held back | a window of a [`Coalesce`] ends that held events back |
//!
//! "Once" means:
//!
//! 1. A failed request is one event, however many attempts it made. Each failed attempt is in
//!    exactly one [trail](RequestRecord::trail).
//! 2. A success reports nothing, unless recovered requests are switched on.
//! 3. A request dropped after a failed attempt is abandoned, which is no failure. A request dropped
//!    before that is not reported.
//! 4. An incident has one cause. The rejection that leaves no usable account is one `pool_dead`, with
//!    the rejection as its [cause](PoolDead::cause), and no `account_out` besides.
//! 5. Ten requests rejected with the same credential are one incident. Dropping a request loses no
//!    incident.
//! 6. A panic of a [`Reporter`] is caught and [counted](ReporterHandle::panics).
//! 7. A [`Coalesce`] in front of a reporter reduces this further: it passes on the first of many
//!    similar failures, and then the number of the others.
//!
//! No event holds a credential. Text written by others (an upstream's message, an inner error) is
//! shortened to 200 characters, control characters are escaped, and `[redacted]` replaces each run of
//! 8 or more bytes of a secret of the pool: raw, percent-encoded or base64-encoded.
//!
//! [`Display`](std::fmt::Display) shows an event as one line. The codes ([`Event::code`], and
//! `as_str` of its parts) are stable.
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
//! // The report of a pool whose last token is rejected:
//! let alice = AccountTag::new("alice", 1, 2);
//! let rejected = OutReason::Rejected(Reason::Invalid);
//! let status = Some(StatusCode::UNAUTHORIZED);
//! let cause = AccountOut::new(alice, 1, rejected, status, Duration::from_secs(300));
//! let help = Arc::from("update your tokens in Settings (https://example.com/settings)");
//! reporter.report(&Event::PoolDead(PoolDead::new(2, cause, Some(help))));
//!
//! let event = events.try_recv().expect("the event was sent");
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
