//! Divides the limit on open files between connections, subscribers and files of the page.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;

/// File descriptors that are reserved for the listener, the log, and a margin.
const RESERVED: u64 = 64;

/// File descriptors that the event loop of each worker thread uses.
const DESCRIPTORS_PER_WORKER: u64 = 5;

/// Minimum number of file descriptors for clients. With fewer, the server does not start.
const MIN_CLIENT_DESCRIPTORS: u64 = 32;

/// Maximum numbers of connections and files that are open at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DescriptorBudget {
    /// Maximum number of connections to the public listener. Each worker gets an equal part, rounded up.
    pub(crate) connections: usize,
    /// Maximum number of subscribers. Lower than `connections`, so that some connections are left for other
    /// requests, and for telling new subscribers that the server is full.
    pub(crate) subscribers: usize,
    /// Maximum number of static files that are open at the same time.
    pub(crate) files: usize,
}

/// The limit on open files is too low to serve clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the limit of {limit} open files is too low for {workers} workers, which need {needed}; raise \
     it (ulimit -n, LimitNOFILE=) or lower server.workers"
)]
pub(crate) struct TooFewDescriptors {
    limit: u64,
    workers: usize,
    needed: u64,
}

/// Raises the limit on open files of this process as far as the system allows, and divides it. Reserves
/// `admin` file descriptors for connections to the listener for operators. Fails if the limit is too low.
pub(crate) fn descriptor_budget(
    workers: usize,
    admin: usize,
) -> Result<DescriptorBudget, TooFewDescriptors> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(err) => {
            log::warn!("cannot raise the limit on open files: {err}");
            limit.current
        }
    };
    divide(current.unwrap_or(u64::MAX), workers, admin)
}

fn divide(limit: u64, workers: usize, admin: usize) -> Result<DescriptorBudget, TooFewDescriptors> {
    let reserved = RESERVED + DESCRIPTORS_PER_WORKER * workers as u64 + admin as u64;
    let needed = reserved + MIN_CLIENT_DESCRIPTORS;
    if limit < needed {
        return Err(TooFewDescriptors {
            limit,
            workers,
            needed,
        });
    }
    let left = (limit - reserved).min(10_000_000);
    let others = (left / 50).clamp(4, 1000);
    Ok(DescriptorBudget {
        connections: (left - others) as usize,
        subscribers: (left - 2 * others) as usize,
        files: others as usize,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_thousand_descriptors_allow_nineteen_thousand_subscribers() {
        let descriptor_budget = divide(20_000, 2, 64).unwrap();

        assert!(
            descriptor_budget.subscribers >= 19_000,
            "{descriptor_budget:?}"
        );
        assert!(
            descriptor_budget.connections > descriptor_budget.subscribers,
            "{descriptor_budget:?}"
        );
        assert!(
            descriptor_budget.connections + descriptor_budget.files < 20_000 - 64,
            "{descriptor_budget:?}"
        );
    }

    #[test]
    fn any_limit_leaves_room_for_other_requests_or_is_refused() {
        for limit in [0, 64, 175, 176, 1024, 1 << 20, u64::MAX] {
            match divide(limit, 16, 0) {
                Ok(descriptor_budget) => assert!(
                    descriptor_budget.subscribers > 0
                        && descriptor_budget.connections > descriptor_budget.subscribers
                        && (descriptor_budget.connections + descriptor_budget.files + 64 + 16 * 5)
                            as u64
                            <= limit
                ),
                Err(err) => assert!(limit < 176, "{err}"),
            }
        }
    }
}
