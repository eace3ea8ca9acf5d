//! Publishers and subscribers that behave like real clients while a test breaks the cluster. Afterwards,
//! losses, duplicates and gaps are counted.

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use sse_broadcaster::EventId;

use super::nodes::{Cluster, HUB};
use crate::support::{
    client::Stream,
    eventually,
    mercure::{Client, bearer},
};

/// Time limit for a subscriber to receive the last event, after publishing has stopped.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);

/// Pause between two events of one publisher, so that the test does not use the whole machine.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(4);

/// The data of the last event.
const END: &str = "end";

struct Shared {
    addrs: Vec<SocketAddr>,
    token: String,
    stop: AtomicBool,
    over: Mutex<Option<Instant>>,
    published: AtomicU64,
    retries: AtomicU64,
    /// The data and the id of each event. Every event is acknowledged in the end.
    acknowledged: Mutex<Vec<(String, EventId)>>,
}

pub struct Crowd {
    shared: Arc<Shared>,
    publishers: Vec<JoinHandle<()>>,
    subscribers: Vec<JoinHandle<Got>>,
    began: Instant,
}

fn parse(id: &str) -> EventId {
    EventId::parse(id).unwrap()
}

/// What one subscriber received.
#[derive(Default)]
struct Got {
    events: Vec<(EventId, String)>,
    /// For each gap, the number of events received before it, and the data of the gap.
    gaps: Vec<(usize, String)>,
    longest_silence: Duration,
}

/// The totals over all publishers and subscribers.
#[derive(Debug, Default)]
pub struct Report {
    pub published: u64,
    /// Requests that were repeated.
    pub retries: u64,
    pub acknowledged: usize,
    /// Events that the subscriber with the fewest events received, without numbered messages.
    pub delivered: usize,
    /// Acknowledged events that a subscriber did not receive, without a gap at that point. Each subscriber
    /// counts separately.
    pub lost: usize,
    /// Acknowledged events that a subscriber did not receive, with a gap at that point.
    pub reported_lost: usize,
    /// Events that a subscriber received again, by their data. A retry that was appended again counts here.
    pub duplicated: usize,
    pub out_of_order: usize,
    pub gaps: Vec<String>,
    /// Numbered messages that do not follow their predecessor, summed over all subscribers.
    pub wrong_ticks: usize,
    pub ticks: usize,
    pub longest_silence: Duration,
    pub elapsed: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "published {} with {} retries, acknowledged {}, delivered {}, lost {}, told to be lost {}, duplicated {}, \
             out of order {}, gaps {}, ticks {} ({} wrong), longest silence {:.2} s, in {:.0} s",
            self.published,
            self.retries,
            self.acknowledged,
            self.delivered,
            self.lost,
            self.reported_lost,
            self.duplicated,
            self.out_of_order,
            self.gaps.len(),
            self.ticks,
            self.wrong_ticks,
            self.longest_silence.as_secs_f64(),
            self.elapsed.as_secs_f64()
        )
    }
}

impl Crowd {
    /// Starts two publishers and two subscribers for each node.
    pub fn gather(cluster: &Cluster) -> Self {
        let addrs = cluster.addrs();
        let shared = Arc::new(Shared {
            addrs: addrs.clone(),
            token: cluster.token.clone(),
            stop: AtomicBool::new(false),
            over: Mutex::default(),
            published: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            acknowledged: Mutex::default(),
        });
        // Subscribers resume after this event, because a subscriber needs an id to resume from.
        let first = cluster.published(0, "topic=a&data=begin");
        let subscriber = |n| {
            let (shared, first) = (shared.clone(), first.clone());
            thread::spawn(move || shared.read(n, first))
        };
        let subscribers = (0..2 * addrs.len()).map(subscriber).collect();
        let publisher = |n| {
            let shared = shared.clone();
            thread::spawn(move || shared.publish(n))
        };
        let publishers = (0..2 * addrs.len()).map(publisher).collect();
        Self {
            shared,
            publishers,
            subscribers,
            began: Instant::now(),
        }
    }

    /// Waits until this many more events are acknowledged.
    pub fn wait_for(&self, more: usize) {
        let count = || self.shared.acknowledged.lock().unwrap().len();
        let enough = count() + more;
        eventually("more events to be acknowledged", || {
            (count() >= enough).then_some(())
        });
    }

    /// Stops the publishers, waits until every subscriber has received the last event, and counts.
    pub fn disperse(self, cluster: &Cluster) -> Report {
        self.shared.stop.store(true, Relaxed);
        for publisher in self.publishers {
            publisher.join().unwrap();
        }
        *self.shared.over.lock().unwrap() = Some(Instant::now());
        cluster.published_at_last(0, &format!("topic=a&data={END}"));
        let got = self
            .subscribers
            .into_iter()
            .map(|each| each.join().unwrap());
        let got: Vec<_> = got.collect();
        let acknowledged = std::mem::take(&mut *self.shared.acknowledged.lock().unwrap());
        let mut report = Report {
            published: self.shared.published.load(Relaxed),
            retries: self.shared.retries.load(Relaxed),
            acknowledged: acknowledged.len(),
            delivered: usize::MAX,
            elapsed: self.began.elapsed(),
            ..Report::default()
        };
        for got in &got {
            got.count(&acknowledged, &mut report);
        }
        report
    }
}

impl Shared {
    /// Publishes one event after another. Repeats each request, with its idempotency key, until it is
    /// acknowledged; each time at the next node.
    fn publish(&self, publisher: usize) {
        let mut node = publisher;
        let mut client: Option<Client> = None;
        for n in 0_u64.. {
            if self.stop.load(Relaxed) {
                return;
            }
            let data = format!("{publisher}-{n}");
            let headers = format!("{}Idempotency-Key: {data}\r\n", bearer(&self.token));
            let form = format!("topic=a&data={data}");
            self.published.fetch_add(1, Relaxed);
            let id = loop {
                thread::sleep(PUBLISH_INTERVAL);
                let addr = self.addrs[node % self.addrs.len()];
                if client.is_none() {
                    client = Client::try_connect(addr).ok();
                }
                let answer = client
                    .as_mut()
                    .map(|client| client.try_post(&headers, &form));
                match answer {
                    Some(Ok(answer)) if answer.status() == 200 => break parse(&answer.body),
                    Some(Ok(answer)) => {
                        let may_retry = answer.header("retry-after").is_some();
                        assert!(
                            [409, 503].contains(&answer.status()) && may_retry,
                            "{answer:?}"
                        );
                        self.retries.fetch_add(1, Relaxed);
                    }
                    Some(Err(_)) => drop(self.retries.fetch_add(1, Relaxed)),
                    None => {}
                }
                node += 1;
                client = None;
            };
            self.acknowledged.lock().unwrap().push((data, id));
        }
    }

    /// Reads like a browser, which reconnects with the last id when the stream ends. Each connection is to
    /// the next node.
    fn read(&self, subscriber: usize, first: String) -> Got {
        let mut last = first;
        let mut got = Got::default();
        let mut heard = Instant::now();
        for node in subscriber.. {
            let over = *self.over.lock().unwrap();
            assert!(
                over.is_none_or(|over| over.elapsed() < DELIVERY_TIMEOUT),
                "the last event never came to subscriber {subscriber}, which is at {last}"
            );
            let addr = self.addrs[node % self.addrs.len()];
            let target = format!("{HUB}?match=*");
            let Ok(mut stream) = Stream::try_resume(addr, &target, &last) else {
                // This node is down; try the next one.
                thread::sleep(PUBLISH_INTERVAL);
                continue;
            };
            while let Ok(Some(event)) = stream.try_event() {
                got.longest_silence = got.longest_silence.max(heard.elapsed());
                heard = Instant::now();
                match event.name.as_deref() {
                    None => {}
                    Some("gap") => {
                        got.gaps.push((got.events.len(), event.data));
                        continue;
                    }
                    Some(_) => continue,
                }
                if event.data == END {
                    return got;
                }
                let id = event.id.unwrap();
                got.events.push((parse(&id), event.data));
                last = id;
            }
        }
        unreachable!("there is always another node")
    }
}

impl Got {
    fn count(&self, acknowledged: &[(String, EventId)], report: &mut Report) {
        let tick = |(_, data): &(EventId, String)| {
            let number = data.strip_prefix("Message number: ")?;
            Some(number.parse::<u64>().unwrap())
        };
        // Numbered messages are counted separately below. If Redis lost the count, a number can be repeated
        // with another id.
        let mut times: HashMap<&str, usize> = HashMap::new();
        for (_, data) in self.events.iter().filter(|event| tick(event).is_none()) {
            *times.entry(data).or_default() += 1;
        }
        let missing = acknowledged
            .iter()
            .filter(|(data, _)| !times.contains_key(data.as_str()));
        for (_, id) in missing {
            let place = self.events.partition_point(|(known, _)| known < id);
            if self.gaps.iter().any(|(at, _)| *at == place) {
                report.reported_lost += 1;
            } else {
                report.lost += 1;
            }
        }
        report.duplicated += times.values().map(|times| times - 1).sum::<usize>();
        let pairs = self.events.windows(2);
        report.out_of_order += pairs.filter(|pair| pair[0].0 >= pair[1].0).count();
        let ticks: Vec<_> = self.events.iter().filter_map(tick).collect();
        let is_wrong = |pair: &&[u64]| pair[1] != pair[0] + 1;
        report.wrong_ticks += ticks.windows(2).filter(is_wrong).count();
        report.ticks = report.ticks.max(ticks.len());
        report.delivered = report.delivered.min(self.events.len() - ticks.len());
        let gaps = self.gaps.iter();
        report.gaps.extend(gaps.map(|(_, gap)| gap.clone()));
        report.longest_silence = report.longest_silence.max(self.longest_silence);
    }
}
