//! How many connections the limit on open files leaves room for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the server needs besides: listener, log, config watch, and some to spare.
const RESERVED: u64 = 64;

/// What each worker's event loop needs.
const FOR_WORKER: u64 = 5;

/// What can be open at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// Connections of any kind.
    pub(crate) connections: usize,
    /// Subscribers among them. The rest is for those who are told to come again and for other
    /// requests.
    pub(crate) subscribers: usize,
    /// Files of the page.
    pub(crate) files: usize,
}

/// Raises this process's limit on open files as far as it may, and says what fits into it.
pub(crate) fn room(workers: usize) -> Room {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(err) => {
            log::warn!("the limit on open files stays as it is: {err}");
            limit.current
        }
    };
    room_in(current.unwrap_or(u64::MAX), workers)
}

fn room_in(descriptors: u64, workers: usize) -> Room {
    let reserved = RESERVED + FOR_WORKER * workers as u64;
    let left = descriptors.saturating_sub(reserved).clamp(16, 10_000_000);
    let others = (left / 50).clamp(4, 1000);
    Room {
        connections: (left - others) as usize,
        subscribers: (left - 2 * others) as usize,
        files: others as usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_thousand_descriptors_hold_nineteen_thousand_subscribers() {
        let room = room_in(20_000, 2);

        assert!(room.subscribers >= 19_000, "{room:?}");
        assert!(room.connections > room.subscribers, "{room:?}");
        assert!(room.connections + room.files < 20_000 - 64, "{room:?}");
    }

    #[test]
    fn any_limit_leaves_room_for_other_requests() {
        for descriptors in [0, 64, 256, 1024, 1 << 20, u64::MAX] {
            let room = room_in(descriptors, 16);

            assert!(room.subscribers > 0 && room.connections > room.subscribers);
        }
    }
}
