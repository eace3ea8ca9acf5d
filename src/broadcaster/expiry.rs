//! The end of a subscriber's time: that of its access token, of which it is told some seconds before,
//! so that its page can get another, or that of any stream.

use std::time::{Duration, Instant};

use crate::event::{Frame, wire};

/// A stream ends so long before its token does: it must not outlast it.
const NOTICE_MARGIN: Duration = Duration::from_millis(200);

/// When a stream is to end.
#[derive(Debug, Clone)]
pub(crate) struct Expiry {
    end: Instant,
    /// What it is still to be told before.
    notice: Option<Notice>,
}

#[derive(Debug, Clone, Copy)]
struct Notice {
    at: Instant,
    /// When the token ends, in seconds since 1970, as it says.
    expires_at: u64,
}

impl Expiry {
    /// That of a token; `left` is the time from `now` on, and the subscriber is told `notice` before
    /// its end.
    pub(crate) fn of_token(
        expires_at: u64,
        left: Duration,
        notice: Duration,
        now: Instant,
    ) -> Self {
        let end = now + left.saturating_sub(NOTICE_MARGIN);
        let at = end.checked_sub(notice).map_or(now, |at| at.max(now));
        let notice = Some(Notice { at, expires_at });
        Self { end, notice }
    }

    /// That of any stream, of which nothing is told.
    pub(crate) fn of_stream(end: Instant) -> Self {
        Self { end, notice: None }
    }

    /// When something is to happen next.
    pub(crate) fn due(&self) -> Instant {
        self.notice.map_or(self.end, |notice| notice.at)
    }

    pub(crate) fn end(&self) -> Instant {
        self.end
    }

    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.end <= now
    }

    /// What the subscriber is to be told now, once.
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
    fn it_is_told_once_and_then_it_ends_before_the_token_does() {
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
    fn one_that_ends_soon_is_told_at_once() {
        let start = Instant::now();
        let mut expiry = Expiry::of_token(1000, SECOND, 10 * SECOND, start);

        assert!(expiry.notice(start).is_some());
    }
}
