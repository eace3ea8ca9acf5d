//! The end of a subscriber's time: its access token is good until then, and it is told some seconds
//! before, so that its page can get another.

use std::time::{Duration, Instant};

use crate::wire::{self, Frame};

/// A stream ends so long before its token does: it must not outlast it.
const EARLY: Duration = Duration::from_millis(200);

/// When a stream is to end.
#[derive(Debug, Clone)]
pub(crate) struct Expiry {
    /// In seconds since 1970, as the token says it.
    expires_at: u64,
    end: Instant,
    /// When it is to be told; `None`: it was.
    tell: Option<Instant>,
}

impl Expiry {
    /// `left` is the time from `now` on, and the subscriber is told `notice` before its end.
    pub(crate) fn new(expires_at: u64, left: Duration, notice: Duration, now: Instant) -> Self {
        let end = now + left.saturating_sub(EARLY);
        Self {
            expires_at,
            end,
            tell: Some(end.checked_sub(notice).map_or(now, |tell| tell.max(now))),
        }
    }

    /// When something is to happen next.
    pub(crate) fn due(&self) -> Instant {
        self.tell.unwrap_or(self.end)
    }

    pub(crate) fn end(&self) -> Instant {
        self.end
    }

    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.end <= now
    }

    /// What the subscriber is to be told now, once.
    pub(crate) fn notice(&mut self, now: Instant) -> Option<Frame> {
        self.tell.take_if(|tell| *tell <= now)?;
        let left = self.end.saturating_duration_since(now);
        Some(wire::expiring(self.expires_at, left.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Framing;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_is_told_once_and_then_it_ends_before_the_token_does() {
        let start = Instant::now();
        let mut expiry = Expiry::new(1000, 60 * SECOND, 10 * SECOND, start);

        assert!(expiry.due() < start + 50 * SECOND);
        assert_eq!(expiry.notice(start + 49 * SECOND), None);
        let notice = expiry.notice(start + 50 * SECOND).unwrap();
        assert_eq!(
            notice.bytes(Framing::Plain),
            "event: expiring\ndata: {\"expires_at\":1000,\"in_seconds\":9}\n\n"
        );
        assert_eq!(expiry.notice(start + 51 * SECOND), None);
        assert!(!expiry.is_over(start + 59 * SECOND));
        assert!(expiry.is_over(start + 60 * SECOND));
        assert_eq!(expiry.due(), expiry.end());
    }

    #[test]
    fn one_that_ends_soon_is_told_at_once() {
        let start = Instant::now();
        let mut expiry = Expiry::new(1000, SECOND, 10 * SECOND, start);

        assert!(expiry.notice(start).is_some());
    }
}
