//! Checks settings of the host that would limit the server before its own limits do. Each setting that is too
//! low is logged as a warning; the server starts in any case.

use std::fs;

/// TCP memory, in pages, that the kernel charges for a connection with one small message that the peer's TCP
/// has not acknowledged yet (measured, docs/explain/scaling.md).
const UNACKNOWLEDGED_PAGES: u64 = 1;

/// Settings of the host; `None` if a setting cannot be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Settings {
    /// `net.core.somaxconn`: how many new connections the kernel queues until the server accepts them.
    backlog: Option<u64>,
    /// `net.netfilter.nf_conntrack_max`: how many connections the firewall of the host can track.
    tracked: Option<u64>,
    /// The second value of `net.ipv4.tcp_mem`, in pages. Above it, the kernel reduces the memory of sockets.
    tcp_pages: Option<u64>,
}

/// Logs a warning for each setting of the host that is too low for `subscribers` connections or for a burst
/// of `backlog` new connections. `subscribers: None` means that no maximum is configured; only `backlog` is
/// then checked.
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

/// Reads the number at `index` from a file that contains numbers. `None`: it cannot be read.
fn read(path: &str, index: usize) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.split_whitespace().nth(index)?.parse().ok()
}

fn complaints(settings: Settings, subscribers: Option<u64>, backlog: u64) -> Vec<String> {
    let mut complaints = Vec::new();
    if let Some(found) = settings.backlog.filter(|found| *found < backlog) {
        complaints.push(format!(
            "the host queues at most {found} connections that wait to be accepted: in a burst, further \
             connections are delayed; raise net.core.somaxconn to {backlog}"
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
            "the host reduces the memory of TCP above {found} pages, but one message to {subscribers} \
             subscribers (server.max_subscribers) takes {needed}; raise net.ipv4.tcp_mem"
        ));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_is_enough_or_unknown_gives_no_warning() {
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
    fn without_a_configured_maximum_subscribers_give_no_warning() {
        let low = Settings {
            tracked: Some(1),
            tcp_pages: Some(1),
            ..Settings::default()
        };

        assert!(complaints(low, None, 4096).is_empty());
    }
}
