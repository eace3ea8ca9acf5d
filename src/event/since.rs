//! Parses the time at which a subscriber wants its events to begin.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

/// The time at which a subscriber wants its events to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// This long ago.
    Age(Duration),
    /// At this time.
    Time(SystemTime),
}

impl Since {
    /// Parses an age, such as `10m`, or a time in UTC, such as `2026-11-30T05:00:00Z`. `None`: the text is
    /// neither.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let time = || humantime::parse_rfc3339(text).ok().map(Self::Time);
        let age = humantime::parse_duration(text).ok().map(Self::Age);
        age.or_else(time)
    }

    /// How long ago this was, at the time `now`. Zero for a time in the future.
    pub(crate) fn age(self, now: SystemTime) -> Duration {
        match self {
            Self::Age(age) => age,
            Self::Time(time) => now.duration_since(time).unwrap_or_default(),
        }
    }
}

/// Writes the age or the time in its normal form: `90m` becomes `1h 30m`.
impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Age(age) => humantime::format_duration(*age).fmt(f),
            Self::Time(time) => humantime::format_rfc3339(*time).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn ages_and_times_are_parsed_and_written() {
        let age = Since::parse("1h 30m").unwrap();
        assert_eq!(age, Since::Age(Duration::from_secs(5400)));
        assert_eq!(age.to_string(), "1h 30m");
        let time = Since::parse("1970-01-01T00:01:00Z").unwrap();
        assert_eq!(time, Since::Time(UNIX_EPOCH + Duration::from_secs(60)));
        assert_eq!(time.to_string(), "1970-01-01T00:01:00Z");

        for text in ["", "x", "10", "-5m", "2026-11-30", "2026-11-30T05:00:00"] {
            assert_eq!(Since::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_in_the_future_is_now() {
        let now = UNIX_EPOCH + Duration::from_secs(100);
        let at = |seconds| Since::Time(UNIX_EPOCH + Duration::from_secs(seconds));

        assert_eq!(at(40).age(now), Duration::from_secs(60));
        assert_eq!(at(101).age(now), Duration::ZERO);
        assert_eq!(
            Since::Age(Duration::from_secs(7)).age(now),
            Duration::from_secs(7)
        );
    }
}
