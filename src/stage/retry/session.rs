//! The retries of one request so far.

/// The state of one request's retries.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Session {
    retries: u32,
    last: LastRetry,
}

/// The last retry, and its price.
#[derive(Clone, Copy, Debug, Default)]
enum LastRetry {
    /// There was none.
    #[default]
    None,
    /// It was paid for, and was not sent yet.
    Paid(u32),
    Sent(u32),
}

impl Session {
    /// Returns the number of retries that were paid for.
    pub(super) const fn retries(&self) -> u32 {
        self.retries
    }

    /// Records a retry that was paid for.
    pub(super) const fn note_paid(&mut self, price: u32) {
        self.last = LastRetry::Paid(price);
        self.retries = self.retries.saturating_add(1);
    }

    /// Records that the retry was sent: its price is no longer refunded.
    #[inline]
    pub(super) const fn note_sent(&mut self) {
        if let LastRetry::Paid(price) = self.last {
            self.last = LastRetry::Sent(price);
        }
    }

    /// Takes the price of a retry that was paid for and not sent.
    pub(super) const fn take_refund(&mut self) -> Option<u32> {
        match self.last {
            LastRetry::Paid(price) => {
                self.last = LastRetry::None;
                Some(price)
            }
            _ => None,
        }
    }

    /// Returns the price of the last retry, if there was one.
    #[inline]
    pub(super) const fn last_price(&self) -> Option<u32> {
        match self.last {
            LastRetry::None => None,
            LastRetry::Paid(price) | LastRetry::Sent(price) => Some(price),
        }
    }
}
