//! Several events for which publishers chose the same id.

use super::nodes::Cluster;
use crate::support::redis::Redis;

const LOG: &str = "{broadcaster}:log";
const IDS: &str = "{broadcaster}:ids";

/// The id that several events have.
const SHARED: &str = "urn:x";

/// A config with which Redis retains 20 events, and memory one.
const SHORT: &str = "history = 20\n[ticker]\nenabled = false\n[stream]\nhistory = 1\n";

/// While Redis knows ids of publishers, it evicts a hundred entries at a time: as soon as it has this many,
/// all except 20.
const EVICTION_LENGTH: usize = 120;

/// A log in Redis, and the number of events that were published to it. The data of each event is its number.
struct Log {
    cluster: Cluster,
    published: usize,
}

impl Log {
    fn start() -> Self {
        let redis = Redis::start();
        let url = redis.url();
        // Without events about active subscriptions, Redis has only the events of the test.
        let environment = [("BROADCASTER__HUB__SUBSCRIPTIONS", "false")];
        Self {
            cluster: Cluster::with_url(redis, &url, SHORT, &environment),
            published: 0,
        }
    }

    fn command(&self, arguments: &[&str]) -> String {
        self.cluster.redis.command(arguments)
    }

    /// Publishes an event with this id, or without one if it is empty, and returns its number.
    fn publish(&mut self, id: &str) -> usize {
        let number = self.published;
        let form = format!("topic=a&data={number}&id={id}");
        self.cluster.published(0, &form);
        self.published += 1;
        number
    }

    /// Publishes events without an id until `is_enough`.
    #[track_caller]
    fn fill_until(&mut self, is_enough: impl Fn(&Self) -> bool) {
        for _ in 0..2 * EVICTION_LENGTH {
            if is_enough(self) {
                return;
            }
            self.publish("");
        }
        panic!("still not enough events");
    }

    fn fill_until_evicted(&mut self, entry: &str) {
        self.fill_until(|log| !log.has(entry));
    }

    fn len(&self) -> usize {
        self.command(&["XLEN", LOG]).parse().unwrap()
    }

    fn has(&self, entry: &str) -> bool {
        !self.command(&["XRANGE", LOG, entry, entry]).is_empty()
    }

    /// The entry of the newest event.
    fn newest_entry(&self) -> String {
        let newest = self.command(&["XREVRANGE", LOG, "+", "-", "COUNT", "1"]);
        newest.lines().next().unwrap().to_owned()
    }

    /// Asserts that a subscriber that resumes after [`SHARED`] receives every event after this number.
    #[track_caller]
    fn assert_resumes_after(&self, number: usize) {
        let mut stream = self.cluster.resume(0, SHARED);
        for expected in number + 1..self.published {
            let event = stream.event().unwrap();
            assert_eq!((event.name, event.data), (None, expected.to_string()));
        }
    }

    /// Asserts that a subscriber that resumes after [`SHARED`] receives a gap, and then every event from this
    /// number on.
    #[track_caller]
    fn assert_resumes_with_a_gap_at(&self, number: usize) {
        let mut stream = self.cluster.resume(0, SHARED);
        assert_eq!(stream.event().unwrap().gap()["reason"], "evicted");
        for expected in number..self.published {
            let event = stream.event().unwrap();
            assert_eq!((event.name, event.data), (None, expected.to_string()));
        }
    }
}

#[test]
fn a_shared_id_finds_the_oldest_event_that_redis_retains() {
    let mut log = Log::start();
    let mut oldest = log.publish(SHARED);
    let mut entry = log.newest_entry();

    for _ in 0..3 {
        // These events are among the newest 20 when Redis evicts the others.
        log.fill_until(|log| log.len() >= EVICTION_LENGTH - 10);
        let next = log.publish(SHARED);
        let next_entry = log.newest_entry();
        log.publish("");
        log.publish(SHARED);
        log.publish("");
        log.assert_resumes_after(oldest);
        log.fill_until_evicted(&entry);

        assert!(log.has(&next_entry));
        log.assert_resumes_after(next);
        log.publish(SHARED);
        log.publish("");
        log.assert_resumes_after(next);
        (oldest, entry) = (next, next_entry);
    }

    log.fill_until(|log| log.command(&["HLEN", IDS]) == "0");
    let unknown = log.cluster.resume(0, SHARED).event().unwrap().gap();
    assert_eq!(unknown["reason"], "unknown");
}

#[test]
fn no_event_is_lost_silently_after_another_program_has_deleted_events() {
    let mut log = Log::start();
    let deleted = log.publish(SHARED);
    let entry = log.newest_entry();
    for _ in 0..2 {
        log.publish("");
        log.publish(SHARED);
    }
    let last = log.publish("");

    // Every later event is still there.
    log.command(&["XDEL", LOG, &entry]);
    log.assert_resumes_after(deleted);

    log.command(&["XTRIM", LOG, "MAXLEN", "1"]);
    log.assert_resumes_with_a_gap_at(last);
    // Each of these events removes the oldest one from those that the id finds. The third one of those is
    // right before `last`, so nothing is missing after it.
    log.publish(SHARED);
    log.assert_resumes_with_a_gap_at(last);
    log.publish(SHARED);
    log.assert_resumes_after(last - 1);
    // Redis forgets all of these events, also those that the other program has deleted.
    log.fill_until(|log| log.command(&["HLEN", IDS]) == "0");
}

#[test]
fn the_ids_of_a_log_that_another_program_trims_do_not_use_more_and_more_memory() {
    let mut log = Log::start();

    for _ in 0..100 {
        log.publish(SHARED);
        log.command(&["XTRIM", LOG, "MAXLEN", "1"]);
    }

    let fields: usize = log.command(&["HLEN", IDS]).parse().unwrap();
    assert!(fields < 10, "{fields}");
}

#[test]
fn foreign_values_among_the_ids_do_not_stop_publishing() {
    for [field, value] in [
        ["urn:x", "foo"],
        ["urn:x", ""],
        ["urn:x", "18446744073709551615-1"],
        ["#urn:x", "foo"],
        ["#ENTRY", "foo"],
        ["#ENTRY", "ENTRY"],
    ] {
        let mut log = Log::start();
        log.publish(SHARED);
        let entry = log.newest_entry();
        log.publish(SHARED);
        log.publish(SHARED);

        let [field, value] = [field, value].map(|text| text.replace("ENTRY", &entry));
        log.command(&["HSET", IDS, &field, &value]);
        log.publish(SHARED);
        let newest = log.newest_entry();
        log.fill_until_evicted(&newest);

        // All earlier events with this id are evicted.
        let number = log.publish(SHARED);
        log.publish("");
        log.assert_resumes_after(number);
    }
}
