//! Whatever happens, the state that a client folds from snapshots and events equals that of a plain model.
//! Random histories of events, clears, evictions, subscriptions, resumes, slow reading and restarts are
//! compared with a map of what each topic last had.

use std::{cell::RefCell, collections::BTreeMap};

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config as Cases, TestRunner},
};
use serde_json::json;
use sse_broadcaster::{
    RedisUrl,
    config::{Config, LogKindName},
};
use tempfile::TempDir;

use crate::support::{
    client::{Stream, connect_small},
    eventually,
    mercure::{MARKER, MercureHub, PATH, bearer, form, grant, token},
    redis::Redis,
    server::wait_until_closed,
};

/// Number of events that each server retains in memory. Few, so that values outlive their events.
const HISTORY: usize = 4;

const TOPICS: [&str; 4] = ["/a", "/b", "/c", "/d"];

#[derive(Debug, Clone)]
enum Step {
    Publish(Update),
    Restart,
    /// A client opens a stream. These updates are published before it reads. Then it reads up to the marker,
    /// or fewer events. Later it resumes.
    Read {
        client: usize,
        updates: Vec<Update>,
        most: Option<usize>,
    },
}

/// An update on those topics that are `true`. Without data, it clears them.
#[derive(Debug, Clone)]
struct Update {
    topics: [bool; 4],
    is_private: bool,
    has_data: bool,
    is_large: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let topics = prop_oneof![
        4 => (0..4_usize).prop_map(|only| std::array::from_fn(|topic| topic == only)),
        1 => any::<[bool; 4]>().prop_filter("an update has a topic", |topics| topics.contains(&true)),
    ];
    let flags = (
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.75),
        prop::bool::weighted(0.1),
    );
    let update = (topics, flags).prop_map(|(topics, (is_private, has_data, is_large))| Update {
        topics,
        is_private,
        has_data,
        is_large,
    });
    let updates = prop_oneof![2 => Just(Vec::new()), 1 => vec(update.clone(), 1..12)];
    let publish = update.prop_map(Step::Publish);
    let most = prop_oneof![Just(None), (0..6_usize).prop_map(Some)];
    let read = (0..CLIENTS.len(), updates, most).prop_map(|(client, updates, most)| Step::Read {
        client,
        updates,
        most,
    });
    vec(
        prop_oneof![12 => publish, 1 => Just(Step::Restart), 6 => read],
        1..40,
    )
}

/// What each topic has, without the marker's topic.
type State = BTreeMap<String, String>;

/// The values that are readable with and without authorization.
#[derive(Debug, Default)]
struct Model {
    public: State,
    private: State,
    count: usize,
}

impl Model {
    fn apply(&mut self, update: &Update, data: &str) {
        let topics = TOPICS.iter().zip(update.topics).filter(|(_, is_on)| *is_on);
        for (topic, _) in topics {
            let set = |state: &mut State| match data {
                "" => drop(state.remove(*topic)),
                data => drop(state.insert((*topic).to_owned(), data.to_owned())),
            };
            set(&mut self.private);
            if !update.is_private {
                set(&mut self.public);
            }
        }
    }
}

/// A client: what it asks for, whether it may read private events, and the state that it has folded.
struct Client {
    query: &'static str,
    is_authorized: bool,
    last_id: Option<String>,
    state: State,
}

const CLIENTS: [(&str, bool); 4] = [
    ("match=/a&match=/c&match=urn:marker", false),
    ("match=/b&match=/d&match=urn:marker", true),
    ("match=*", false),
    ("match_urlpattern=/:any&match=urn:marker", true),
];

struct World {
    /// The server that clients read from.
    hub: Option<MercureHub>,
    /// Another server with the same log in Redis, to which updates are published.
    other: Option<MercureHub>,
    config: Config,
    model: Model,
    clients: Vec<Client>,
    last_id: Option<String>,
}

impl World {
    fn new(config: Config) -> Self {
        let client = |(query, is_authorized)| Client {
            query,
            is_authorized,
            last_id: None,
            state: State::new(),
        };
        Self {
            hub: Some(Self::start(&config)),
            other: (config.log.kind == LogKindName::Redis).then(|| Self::start(&config)),
            config,
            model: Model::default(),
            clients: CLIENTS.into_iter().map(client).collect(),
            last_id: None,
        }
    }

    fn start(config: &Config) -> MercureHub {
        let config = config.clone();
        MercureHub::with(|changed| {
            changed.log = config.log;
            changed.stream = config.stream;
        })
    }

    fn hub(&self) -> &MercureHub {
        self.hub.as_ref().unwrap()
    }

    /// Publishes an update and returns its id.
    fn send(&mut self, form: &str) -> String {
        let hub = self.other.as_ref().unwrap_or_else(|| self.hub());
        let id = hub.publisher().publish(form);
        self.last_id = Some(id.clone());
        id
    }

    /// Waits until the server that clients read from has the newest event.
    fn wait_for_newest(&self) {
        let Some(last_id) = &self.last_id else { return };
        eventually("the newest event", || {
            (self.hub().server.status()["last_id"] == json!(last_id)).then_some(())
        });
    }

    fn publish(&mut self, update: &Update) {
        self.model.count += 1;
        let mut data = String::new();
        if update.has_data {
            data = format!("{} ", self.model.count);
            data.push_str(&"x".repeat(if update.is_large { 200_000 } else { 0 }));
        }
        let topics = TOPICS.iter().zip(update.topics).filter(|(_, is_on)| *is_on);
        let mut fields: Vec<_> = topics.map(|(topic, _)| ("topic", *topic)).collect();
        fields.push(("data", &data));
        if update.is_private {
            fields.push(("private", "on"));
        }
        self.send(&form(&fields));
        self.model.apply(update, &data);
    }

    fn restart(&mut self) {
        self.hub.take().unwrap().server.stop().unwrap();
        match self.config.log.kind {
            LogKindName::File => wait_until_closed(&self.config.log.path),
            // The events and values are lost. A client learns that by a gap.
            LogKindName::Memory => {
                self.model = Model::default();
                self.last_id = None;
            }
            LogKindName::Redis => {}
        }
        self.hub = Some(Self::start(&self.config));
    }

    /// Opens a stream with a small receive buffer, so that the server soon waits for the client.
    fn open(&self, client: &Client) -> Stream {
        let socket = connect_small(self.hub().addr());
        let mut headers = String::new();
        if client.is_authorized {
            headers += &bearer(&token(json!([grant("subscribe", &["*"])])));
        }
        if let Some(id) = &client.last_id {
            headers += &format!("Last-Event-ID: {id}\r\n");
        }
        let target = format!("{PATH}?{}&snapshot=1&topics=1", client.query);
        let stream = Stream::request_on(socket, &target, headers.as_bytes());
        assert_eq!(stream.status(), 200);
        stream
    }

    /// Lets a client read its stream. If it reads all, its state must equal the model's.
    fn read(&mut self, index: usize, updates: &[Update], most: Option<usize>) {
        let mut client = self.clients.remove(index);
        self.wait_for_newest();
        let mut stream = self.open(&client);
        for update in updates {
            self.publish(update);
        }
        let marker = self.send(&form(&[("topic", MARKER), ("data", MARKER)]));
        let mut left = most;
        loop {
            if left == Some(0) {
                break;
            }
            left = left.map(|left| left - 1);
            let event = stream.event_or_checkpoint();
            if let Some(id) = &event.id {
                client.last_id = Some(id.clone());
            }
            match event.name.as_deref() {
                Some("gap") => client.state.clear(),
                Some("checkpoint") if event.data == "{}" => {}
                Some("checkpoint") => {
                    assert_eq!(event.data, r#"{"snapshot":"complete"}"#);
                    if updates.is_empty() {
                        assert_eq!(client.state, self.expected(&client));
                    }
                }
                None if event.topics == [MARKER] => {
                    // An earlier marker may be the value of its topic.
                    if event.id.as_ref() == Some(&marker) {
                        assert_eq!(client.state, self.expected(&client));
                        break;
                    }
                }
                None => {
                    for topic in event.topics {
                        if event.data.is_empty() {
                            client.state.remove(&topic);
                        } else {
                            client.state.insert(topic, event.data.clone());
                        }
                    }
                }
                name => panic!("{name:?}"),
            }
        }
        self.clients.insert(index, client);
    }

    fn expected(&self, client: &Client) -> State {
        let all = if client.is_authorized {
            &self.model.private
        } else {
            &self.model.public
        };
        let asks_for = |topic: &str| {
            let is_pattern = !client.query.starts_with("match=/");
            is_pattern || client.query.contains(&format!("match={topic}&"))
        };
        let wanted = all.iter().filter(|(topic, _)| asks_for(topic));
        wanted
            .map(|(topic, data)| (topic.clone(), data.clone()))
            .collect()
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Publish(update) => self.publish(update),
            Step::Restart => self.restart(),
            Step::Read {
                client,
                updates,
                most,
            } => self.read(*client, updates, *most),
        }
    }
}

/// Runs random steps on one log. The log goes on from case to case.
fn check(change: impl FnOnce(&mut Config)) {
    let cases = std::env::var("PROPTEST_CASES").ok();
    let cases = cases.and_then(|cases| cases.parse().ok()).unwrap_or(48);
    let mut runner = TestRunner::new(Cases {
        cases,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..Cases::default()
    });
    let mut config = Config::default();
    config.stream.history = HISTORY;
    config.stream.queue = 1;
    change(&mut config);
    let world = RefCell::new(World::new(config));
    let result = runner.run(&steps(), |steps| {
        let mut world = world.borrow_mut();
        steps.iter().for_each(|step| world.run(step));
        for client in 0..CLIENTS.len() {
            world.read(client, &[], None);
        }
        Ok(())
    });
    result.unwrap();
}

#[test]
fn in_a_memory_log_every_client_folds_the_state() {
    check(|_| ());
}

#[test]
fn in_a_file_log_every_client_folds_the_state_over_restarts() {
    let folder = TempDir::new().unwrap();
    check(|config| {
        config.log.kind = LogKindName::File;
        config.log.path = folder.path().join("events.redb");
    });
}

/// Checks a log in Redis that retains this number of events.
fn check_redis(history: usize) {
    let redis = Redis::start();
    check(|config| {
        config.log.kind = LogKindName::Redis;
        config.log.url = RedisUrl::parse(&redis.url()).unwrap();
        config.log.history = history;
    });
}

#[test]
fn in_redis_every_client_folds_the_state() {
    check_redis(100_000);
}

#[test]
fn in_redis_every_client_folds_the_state_after_redis_has_evicted_events() {
    check_redis(20);
}
