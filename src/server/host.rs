//! Checks settings of the host that would limit the server before its own limits do. Each one that is too low
//! is logged as a warning; the server starts in any case.

use std::fs;

/// TCP memory, in pages, that the kernel charges for a connection with one small message that the peer's TCP
/// has not acknowledged yet (measured, docs/explain/scaling.md).
const UNACKNOWLEDGED_PAGES: u64 = 1;

/// Settings of the host; `None` if a setting cannot be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Settings {
    /// `net.core.somaxconn`
    backlog: Option<u64>,
    /// `net.netfilter.nf_conntrack_max`, if the host tracks connections.
    tracked: Option<u64>,
    /// The second value of `net.ipv4.tcp_mem`, in pages. Above it, the kernel reduces the memory of sockets.
    tcp_pages: Option<u64>,
}

/// Logs a warning for each setting that is too low for this number of `subscribers`, if one is configured,
/// and for a burst of `backlog` new connections.
pub(crate) fn check(subscribers: Option<usize>, backlog: u64) {
    let settings = Settings {
        backlog: read("/proc/sys/net/core/somaxconn", 0),
        tracked: read("/proc/sys/net/netfilter/nf_conntrack_max", 0),
        tcp_pages: read("/proc/sys/net/ipv4/tcp_mem", 1),
    };
    for complaint in complaints(settings, subscribers.map(|n| n as u64), backlog) {
        log::warn!("{complaint}");
    }
}

/// Reads the number at index `place` from a file of numbers.
fn read(path: &str, place: usize) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.split_whitespace().nth(place)?.parse().ok()
}

fn complaints(settings: Settings, subscribers: Option<u64>, backlog: u64) -> Vec<String> {
    let mut complaints = Vec::new();
    if let Some(found) = settings.backlog.filter(|found| *found < backlog) {
        complaints.push(format!(
            "the host lets only {found} connections wait to be accepted: more that come at once \
             are delayed; raise net.core.somaxconn to {backlog}"
        ));
    }
    let Some(subscribers) = subscribers else {
        return complaints;
    };
    if let Some(found) = settings.tracked.filter(|found| *found < subscribers) {
        complaints.push(format!(
            "the host's firewall tracks at most {found} connections, fewer than \
             server.max_subscribers, {subscribers}; raise net.netfilter.nf_conntrack_max"
        ));
    }
    let needed = subscribers * UNACKNOWLEDGED_PAGES;
    if let Some(found) = settings.tcp_pages.filter(|found| *found < needed) {
        complaints.push(format!(
            "the host's memory for TCP is short from {found} pages on; one message to \
             server.max_subscribers, {subscribers}, takes {needed}; raise net.ipv4.tcp_mem"
        ));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_enough_or_unknown_is_no_complaint() {
        let enough = Settings {
            backlog: Some(4096),
            tracked: Some(10_000),
            tcp_pages: Some(10_000),
        };

        assert!(complaints(enough, Some(10_000), 4096).is_empty());
        assert!(complaints(Settings::default(), Some(10_000_000), 4096).is_empty());
    }

    #[test]
    fn each_setting_that_is_too_low_is_named_with_what_is_needed() {
        let low = Settings {
            backlog: Some(128),
            tracked: Some(9999),
            tcp_pages: Some(9999),
        };

        let complaints = complaints(low, Some(10_000), 4096);

        for (complaint, words) in complaints.iter().zip([
            ["128", "net.core.somaxconn to 4096"],
            ["9999", "net.netfilter.nf_conntrack_max"],
            ["takes 10000", "net.ipv4.tcp_mem"],
        ]) {
            assert!(
                words.iter().all(|word| complaint.contains(word)),
                "{complaint}"
            );
        }
        assert_eq!(complaints.len(), 3);
    }

    #[test]
    fn how_many_subscribers_matters_only_if_it_was_asked_for() {
        let low = Settings {
            tracked: Some(1),
            tcp_pages: Some(1),
            ..Settings::default()
        };

        assert!(complaints(low, None, 4096).is_empty());
    }
}
