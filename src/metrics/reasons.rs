//! The reasons that label the counters of gaps, closed streams and rejected streams.

use thiserror::Error;

use crate::event::GapReason;

/// One metric label: its name and its value.
pub(super) type Label = [(&'static str, &'static str); 1];

pub(super) fn gap_label(reason: GapReason) -> Label {
    [("reason", reason.name())]
}

/// Why a stream ended: the label `reason` of the metric `broadcaster_closes_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Close {
    /// The server was shutting down.
    #[error("the server is draining")]
    Drained,
    /// A poll (`poll=1`) has received everything.
    #[error("the poll has received everything")]
    Polled,
    /// The access token was about to expire, or the stream reached its maximum lifetime
    /// (`stream.max_lifetime`).
    #[error("its access token has expired, or stream.max_lifetime is over")]
    Expired,
    /// The access token was revoked, or the key that signed it is no longer trusted.
    #[error("its access token was revoked, or the key that signed it is no longer trusted")]
    Revoked,
    /// A newer stream with the same token took its place (`limits.subscriptions_policy`).
    #[error("a newer stream with the same access token took its place")]
    Replaced,
    /// The client closed the connection, or its sending half. In an application that embeds the hub: the
    /// response ended before the stream, for any reason.
    #[error("the client closed it")]
    Left,
    /// The socket accepted no bytes for `server.write_timeout`.
    #[error("its socket accepted nothing for server.write_timeout")]
    Stalled,
    /// The client acknowledged nothing over TCP for twice `server.write_timeout` (on Linux), or did not
    /// answer TCP keepalive probes. The time also runs while a slow but reachable client has no room for more
    /// bytes.
    #[error("its host acknowledges nothing")]
    Vanished,
    /// The client sent more than 1,024 bytes during its event stream.
    #[error("the client sent something")]
    Intruded,
    /// The connection failed in a way that no other variant describes, or the Broadcaster stopped.
    #[error("the connection failed")]
    Failed,
}

impl Close {
    pub(super) const ALL: [Self; 10] = [
        Self::Drained,
        Self::Polled,
        Self::Expired,
        Self::Revoked,
        Self::Replaced,
        Self::Left,
        Self::Stalled,
        Self::Vanished,
        Self::Intruded,
        Self::Failed,
    ];

    pub(super) fn label(self) -> Label {
        let reason = match self {
            Self::Drained => "drained",
            Self::Polled => "polled",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Replaced => "replaced",
            Self::Left => "left",
            Self::Stalled => "stalled",
            Self::Vanished => "vanished",
            Self::Intruded => "intruded",
            Self::Failed => "failed",
        };
        [("reason", reason)]
    }
}

/// Why a subscriber was rejected: the label `reason` of the metric `broadcaster_rejections_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// The server has the maximum number of subscribers: `server.max_subscribers`, or fewer if the limit on
    /// open files is low. Or `hub.subscriptions` is on and the log's queue is full, so the events about the
    /// new subscriptions cannot be queued.
    Full,
    /// `limits.subscriptions` is reached for the token of the subscriber.
    Token,
    /// `limits.matcher_bytes` is exhausted, for matchers or for the documents about active subscriptions.
    Matchers,
    /// The keys of the token's issuer could not be fetched yet.
    Keys,
    /// The server is shutting down.
    Draining,
    /// The subscriber asked for events that are not in memory, and Redis cannot be read.
    Log,
}

impl Rejection {
    pub(super) const ALL: [Self; 6] = [
        Self::Full,
        Self::Token,
        Self::Matchers,
        Self::Keys,
        Self::Draining,
        Self::Log,
    ];

    pub(super) fn label(self) -> Label {
        let reason = match self {
            Self::Full => "full",
            Self::Token => "token",
            Self::Matchers => "matchers",
            Self::Keys => "keys",
            Self::Draining => "draining",
            Self::Log => "log",
        };
        [("reason", reason)]
    }
}
