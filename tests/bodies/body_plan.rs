//! Random bodies, and their treatment according to the documentation.

use std::{future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use http::HeaderMap;
use proptest::prelude::*;
use tower_failover::report::NotResent;

use crate::support::{
    frames::{Beat, Frames},
    sink::Received,
};

/// A body of random frames.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Trailers or an error come last.
    pub(crate) beats: Vec<Beat>,
    /// Whether its length is known.
    pub(crate) known: bool,
    /// The announced bytes that are missing when the body breaks off.
    pub(crate) missing: u64,
}

/// A body as a caller holds it.
pub(crate) type Body = Pin<Box<Frames>>;

impl Plan {
    pub(crate) fn frames(&self) -> Frames {
        let beats = self.beats.iter().cloned();
        if self.known { Frames::of_length(self.length(), beats) } else { Frames::new(beats) }
    }

    pub(crate) fn body(&self) -> Body {
        Box::pin(self.frames())
    }

    /// Returns the announced length.
    pub(crate) fn length(&self) -> u64 {
        let missing = if self.error().is_some() { self.missing } else { 0 };
        self.data().len() as u64 + missing
    }

    pub(crate) fn data(&self) -> Vec<u8> {
        let data = |beat: &Beat| match beat {
            Beat::Data(data) => data.to_vec(),
            _ => Vec::new(),
        };
        self.beats.iter().flat_map(data).collect()
    }

    pub(crate) fn trailers(&self) -> Option<HeaderMap> {
        match self.beats.last() {
            Some(Beat::Trailers(trailers)) => Some(trailers.clone()),
            _ => None,
        }
    }

    pub(crate) fn error(&self) -> Option<String> {
        match self.beats.last() {
            Some(Beat::Error(error)) => Some(error.clone()),
            _ => None,
        }
    }

    /// Returns the time to read all of it.
    pub(crate) fn time(&self) -> Duration {
        let pause = |beat: &Beat| match beat {
            Beat::Pause(time) => *time,
            _ => Duration::ZERO,
        };
        self.beats.iter().map(pause).sum()
    }

    /// Returns how [`Buffered`](tower_failover::body::Buffered) treats the body, by its
    /// documentation.
    pub(crate) fn kept(&self, cap: usize) -> Result<(), NotResent> {
        if self.known && self.length() > cap as u64 {
            return Err(NotResent::TooLarge);
        }
        let mut read = 0;
        for beat in &self.beats {
            match beat {
                Beat::Data(data) => read += data.len(),
                Beat::Pause(_) if !self.known => return Err(NotResent::Streaming),
                Beat::Error(_) => return Err(NotResent::SentOnce),
                Beat::Pause(_) | Beat::Trailers(_) => {}
            }
            if read > cap {
                return Err(NotResent::TooLarge);
            }
        }
        Ok(())
    }

    /// Checks the received body against this plan.
    pub(crate) fn check(&self, received: &Received) {
        received.check_claims();
        let data = self.data();
        if received.ended {
            assert_eq!(received.data, data);
            assert_eq!(received.trailers, self.trailers());
            assert_eq!(received.error, self.error());
        } else {
            assert!(data.starts_with(&received.data), "{received:?}");
        }
        let first = received.first_claim();
        if self.known {
            let length = self.length();
            assert_eq!((first.lower, first.upper), (length, Some(length)), "known stays known");
        } else if self.trailers().is_some() {
            // HTTP/1.1 has trailers only for bodies of unknown length (RFC 9112 §7.1.2).
            assert_ne!(Some(first.lower), first.upper, "trailers would be lost");
        }
    }
}

pub(crate) fn plans() -> impl Strategy<Value = Plan> {
    let data =
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(|data| Beat::Data(data.into()));
    let pause = (1..3000_u64).prop_map(|ms| Beat::Pause(Duration::from_millis(ms)));
    let beat = prop_oneof![4 => data, 1 => pause];
    let trailers = proptest::collection::vec(("x-[a-c]", "[ -~]{0,8}"), 1..4).prop_map(|pairs| {
        let pair =
            |(name, value): (String, String)| (name.parse().unwrap(), value.parse().unwrap());
        let mut trailers = HeaderMap::new();
        for (name, value) in pairs.into_iter().map(pair) {
            let _: bool = trailers.append::<http::HeaderName>(name, value);
        }
        Beat::Trailers(trailers)
    });
    let error = "[a-z]{1,8}".prop_map(Beat::Error);
    let last = prop_oneof![
        3 => Just(None), 1 => trailers.prop_map(Some), 1 => error.prop_map(Some)
    ];
    (proptest::collection::vec(beat, 0..7), last, any::<bool>(), 0..20_u64).prop_map(
        |(mut beats, last, known, missing)| {
            beats.extend(last);
            Plan { beats, known, missing }
        },
    )
}

/// The number of bytes that are kept.
pub(crate) fn caps() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), 0..120_usize, Just(1024 * 1024)]
}

/// A pause in a body.
pub(crate) fn pause(seconds: u64) -> Beat {
    Beat::Pause(Duration::from_secs(seconds))
}

pub(crate) fn data(text: &str) -> Beat {
    Beat::Data(Bytes::copy_from_slice(text.as_bytes()))
}

/// Runs a future with the clock paused.
pub(crate) fn paused<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(future)
}
