//! Decides when a stream ends: when its access token expires, or at its maximum lifetime, whichever is
//! earlier. A subscriber whose token ends the stream receives the event `expiring` some seconds before, so
//! that its page can get a new token.

use std::time::{Duration, Instant};

use crate::event::{Frame, wire};

/// A stream ends this long before its token expires, so that it never outlasts the token.
const TOKEN_MARGIN: Duration = Duration::from_millis(200);

/// When a stream ends, and the warning that its subscriber receives before the end.
#[derive(Debug, Clone)]
pub(crate) struct Expiry {
    end: Instant,
    /// The `expiring` event that must still be sent. `None`: the stream has no such event, or it was sent.
    notice: Option<Notice>,
}

#[derive(Debug, Clone, Copy)]
struct Notice {
    at: Instant,
    /// When the access token expires, in seconds since 1970, as in the token's claim `exp`.
    expires_at: u64,
}

impl Expiry {
    /// The expiry of a stream whose access token expires `left` after `now`. The subscriber receives the
    /// event `expiring` about `notice` before the stream ends, or immediately if less time is left.
    pub(crate) fn of_token(
        expires_at: u64,
        left: Duration,
        notice: Duration,
        now: Instant,
    ) -> Self {
        let end = now + left.saturating_sub(TOKEN_MARGIN);
        let at = end.checked_sub(notice).map_or(now, |at| at.max(now));
        let notice = Some(Notice { at, expires_at });
        Self { end, notice }
    }

    /// The expiry of a stream that ends at its maximum lifetime, without an `expiring` event before the end.
    pub(crate) fn of_stream(end: Instant) -> Self {
        Self { end, notice: None }
    }

    /// The next deadline: when to send the `expiring` event or, if that was sent or there is none, when to
    /// end the stream.
    pub(crate) fn due(&self) -> Instant {
        self.notice.map_or(self.end, |notice| notice.at)
    }

    pub(crate) fn end(&self) -> Instant {
        self.end
    }

    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.end <= now
    }

    /// Returns the `expiring` event if it is due and was not returned before.
    pub(crate) fn notice(&mut self, now: Instant) -> Option<Frame> {
        let notice = self.notice.take_if(|notice| notice.at <= now)?;
        let left = self.end.saturating_duration_since(now);
        Some(wire::expiring(notice.expires_at, left.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Framing;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_stream_is_warned_once_and_ends_before_its_token_expires() {
        let start = Instant::now();
        let mut expiry = Expiry::of_token(1000, 60 * SECOND, 10 * SECOND, start);

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
    fn a_stream_that_ends_soon_is_warned_immediately() {
        let start = Instant::now();
        let mut expiry = Expiry::of_token(1000, SECOND, 10 * SECOND, start);

        assert!(expiry.notice(start).is_some());
    }
}
