//! Every log kind keeps the promise of a resume: a subscriber receives each later event that it selects once and
//! in order, or first a gap and then every event that is still retained. Random histories are compared with a
//! plain list of what was published.

use std::cell::RefCell;

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config as Cases, TestRunner},
};
use sse_broadcaster::{
    Event, EventId, GivenId, RedisUrl, Topic,
    config::{Config, LogKindName, SyncPolicy},
};
use tempfile::TempDir;

use crate::support::{
    client::Stream,
    eventually,
    redis::Redis,
    server::{TestServer, block_on, quiet, wait_until_closed},
};

/// Number of events that each server retains in memory.
const HISTORY: usize = 6;

/// Number of events that Redis retains in the test in which it evicts some. A hundred more may remain.
const REDIS_HISTORY: usize = 20;

const TOPICS: [&str; 2] = ["/a", "/b"];

#[derive(Debug, Clone)]
enum Step {
    /// Publishes an event on one of the topics. Two events with the same number share a given id.
    Publish {
        topic: usize,
        given: Option<u8>,
    },
    Restart,
    /// Subscribes to the topics that are `true`.
    Resume {
        from: From,
        topics: [bool; 2],
    },
}

#[derive(Debug, Clone)]
enum From {
    /// After the event that was published this many events ago.
    After(prop::sample::Index),
    AfterGiven(u8),
    Earliest,
    /// After an id that no log has given.
    Unknown,
    Now,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let given = prop_oneof![3 => Just(None), 1 => (0..5_u8).prop_map(Some)];
    let publish = (0..2_usize, given).prop_map(|(topic, given)| Step::Publish { topic, given });
    let from = prop_oneof![
        6 => any::<prop::sample::Index>().prop_map(From::After),
        2 => (0..5_u8).prop_map(From::AfterGiven),
        1 => Just(From::Earliest),
        1 => Just(From::Unknown),
        1 => Just(From::Now),
    ];
    let topics = prop_oneof![Just([true, false]), Just([false, true]), Just([true, true])];
    let resume = (from, topics).prop_map(|(from, topics)| Step::Resume { from, topics });
    vec(
        prop_oneof![12 => publish, 1 => Just(Step::Restart), 5 => resume],
        1..40,
    )
}

/// An event as it was published.
#[derive(Debug, Clone)]
struct Published {
    id: EventId,
    /// The id that clients see: the given id if there is one.
    sent_id: String,
    data: String,
    topics: [bool; 2],
    given: Option<u8>,
}

/// The id and the data of an event that a subscriber received. `None`: a gap.
type Received = Option<(String, String)>;

/// A server, and everything that was published to its log.
struct Model {
    config: Config,
    server: Option<TestServer>,
    published: Vec<Published>,
    /// The Redis of the log, if it has one.
    redis: Option<Redis>,
}

impl Model {
    fn start(config: Config, redis: Option<Redis>) -> Self {
        Self {
            server: Some(TestServer::start(config.clone())),
            config,
            published: Vec::new(),
            redis,
        }
    }

    fn server(&self) -> &TestServer {
        self.server.as_ref().unwrap()
    }

    fn publish(&mut self, topics: [bool; 2], given: Option<u8>) -> String {
        let data = format!("event {}", self.published.len());
        let mut event = Event::message(&data);
        for (topic, _) in TOPICS.iter().zip(topics).filter(|(_, is_on)| *is_on) {
            event = event.on(Topic::parse(topic).unwrap());
        }
        if let Some(number) = given {
            event = event.with_id(GivenId::parse(&given_id(number)).unwrap());
        }
        let id = block_on(self.server().hub.publish(event)).unwrap();
        self.published.push(Published {
            id,
            sent_id: given.map_or_else(|| id.to_string(), given_id),
            data: data.clone(),
            topics,
            given,
        });
        data
    }

    fn restart(&mut self) {
        self.server.take().unwrap().stop().unwrap();
        if self.config.log.kind == LogKindName::File {
            wait_until_closed(&self.config.log.path);
        }
        self.server = Some(TestServer::start(self.config.clone()));
        if self.config.log.kind == LogKindName::Memory {
            self.published.clear();
        }
    }

    /// The index of the oldest event that a subscriber can receive.
    fn oldest(&self) -> usize {
        let Some(redis) = &self.redis else {
            return self.published.len().saturating_sub(HISTORY);
        };
        // The number of events in Redis is only approximately the configured one.
        let oldest = redis.command(&["XRANGE", "{broadcaster}:log", "-", "+", "COUNT", "1"]);
        let oldest = EventId::parse(oldest.lines().next().unwrap()).unwrap();
        self.published.partition_point(|event| event.id < oldest)
    }

    /// The events from this index on that match the topics, as a subscriber receives them.
    fn selected(&self, first: usize, topics: [bool; 2]) -> Vec<Received> {
        self.published[first..]
            .iter()
            .filter(|event| (0..2).any(|topic| event.topics[topic] && topics[topic]))
            .map(|event| Some((event.sent_id.clone(), event.data.clone())))
            .collect()
    }

    /// The id to resume from, and the index of the first event after it. `None`: there must be a gap.
    fn request(&self, from: &From) -> (Option<String>, Option<usize>) {
        let oldest = self.oldest();
        match from {
            From::After(_) if self.published.is_empty() => (None, Some(0)),
            From::After(index) => {
                let index = index.index(self.published.len());
                let next = Some(index + 1).filter(|next| *next >= oldest);
                (Some(self.published[index].id.to_string()), next)
            }
            From::AfterGiven(number) => {
                // Of several events with the same given id, the oldest that is retained counts.
                let mut retained = (oldest..).zip(&self.published[oldest..]);
                let found = retained.find(|(_, event)| event.given == Some(*number));
                (Some(given_id(*number)), found.map(|(index, _)| index + 1))
            }
            From::Earliest => (Some("earliest".to_owned()), Some(oldest)),
            From::Unknown => (Some("nobody-gave-this".to_owned()), None),
            From::Now => (None, Some(self.published.len())),
        }
    }

    /// With Redis, an event is acknowledged before this server has read it back. Waits until it has.
    fn wait_for_newest(&self) {
        if let Some(newest) = self.published.last() {
            let id = newest.id.to_string();
            eventually("the newest event", || {
                (self.server().status()["last_id"] == id).then_some(())
            });
        }
    }

    /// Subscribes, publishes an event that ends the comparison, and compares what was received until then.
    fn resume(&mut self, from: &From, topics: [bool; 2]) {
        self.wait_for_newest();
        let (id, next) = self.request(from);
        let oldest = self.oldest();
        let first = next.unwrap_or(oldest);
        let matchers = TOPICS.iter().zip(topics).filter(|(_, is_on)| *is_on);
        let matchers: Vec<_> = matchers
            .map(|(topic, _)| format!("match={topic}"))
            .collect();
        let target = format!("/.well-known/mercure?{}", matchers.join("&"));
        let header = id.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
        let mut stream = Stream::request(self.server().addr, &target, header.as_bytes());
        assert_eq!(stream.status(), 200);
        let last = self.publish([true, true], None);

        let mut received: Vec<Received> = Vec::new();
        loop {
            let event = stream.event().expect("the stream continues");
            if event.name.as_deref() == Some("gap") {
                received.push(None);
                continue;
            }
            let is_last = event.data == last;
            received.push(Some((event.id.unwrap(), event.data)));
            if is_last {
                break;
            }
        }
        let mut expected = self.selected(first, topics);
        if next.is_none() {
            expected.insert(0, None);
        }
        let oldest_now = self.oldest();
        if self.redis.is_none() || oldest_now == oldest {
            assert_eq!(received, expected, "{from:?} on {topics:?}");
        } else {
            // The last event made Redis evict others, perhaps before the subscriber has read them. It must
            // then receive a further gap in their place.
            assert_reported(&received, &expected);
            assert!(received.ends_with(&self.selected(first.max(oldest_now), topics)));
        }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Publish { topic, given } => {
                self.publish([*topic == 0, *topic == 1], *given);
            }
            Step::Restart => self.restart(),
            Step::Resume { from, topics } => self.resume(from, *topics),
        }
    }
}

fn given_id(number: u8) -> String {
    format!("urn:test:{number}")
}

/// Asserts that a subscriber received what it expected, except that events may be missing after a gap.
#[track_caller]
fn assert_reported(received: &[Received], expected: &[Received]) {
    let mut rest = expected.iter().flatten();
    let mut may_skip = false;
    for item in received {
        let Some(event) = item else {
            may_skip = true;
            continue;
        };
        let is_expected = if may_skip {
            rest.any(|expected| expected == event)
        } else {
            rest.next() == Some(event)
        };
        assert!(is_expected, "{event:?} in {received:?}, of {expected:?}");
        may_skip = false;
    }
    let has_gap_first = |items: &[Received]| matches!(items, [None, ..]);
    assert!(has_gap_first(received) || !has_gap_first(expected));
}

/// Runs random steps on one log. The log goes on from case to case.
fn check(config: Config, redis: Option<Redis>) {
    let mut runner = TestRunner::new(Cases {
        cases: 64,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..Cases::default()
    });
    let model = RefCell::new(Model::start(config, redis));
    let result = runner.run(&steps(), |steps| {
        let mut model = model.borrow_mut();
        steps.iter().for_each(|step| model.run(step));
        Ok(())
    });
    result.unwrap();
}

fn config(kind: LogKindName) -> Config {
    let mut config = quiet();
    config.stream.history = HISTORY;
    config.log.kind = kind;
    config
}

#[test]
fn the_memory_log_resumes_like_a_list() {
    check(config(LogKindName::Memory), None);
}

#[test]
fn the_file_log_resumes_like_a_list_over_restarts() {
    for sync in [SyncPolicy::Always, SyncPolicy::Interval] {
        let folder = TempDir::new().unwrap();
        let mut config = config(LogKindName::File);
        config.log.path = folder.path().join("events.redb");
        config.log.sync = sync;
        check(config, None);
    }
}

/// Checks a log in Redis that retains this number of events.
fn check_redis(history: usize) {
    let redis = Redis::start();
    let mut config = config(LogKindName::Redis);
    config.log.url = RedisUrl::parse(&redis.url()).unwrap();
    config.log.history = history;
    check(config, Some(redis));
}

#[test]
fn the_redis_log_resumes_like_a_list_from_memory_and_from_the_archive() {
    check_redis(100_000);
}

#[test]
fn the_redis_log_resumes_like_a_list_after_redis_has_evicted_events() {
    check_redis(REDIS_HISTORY);
}
