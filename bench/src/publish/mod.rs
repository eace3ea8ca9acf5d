//! `sse-bench publish`: many connections publish events, and subscribers check that every event is delivered.
//! Each connection waits for the acknowledgement of an event before it publishes the next one.

mod bulk;
mod listener;
mod publishers;

use std::{
    net::SocketAddr,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::ensure;
use clap::Args;
use serde::{Deserialize, Serialize};

pub(crate) use self::bulk::Bulk;
use self::{
    listener::Listener,
    publishers::{Published, Publishers},
};
use crate::{
    load::{CONNECT_TIMEOUT, Crowd, Present, Request},
    usage::Moment,
};

/// Time limit for the delivery of acknowledged events.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Args)]
pub(crate) struct Publish {
    /// The server's address; for a cluster, several addresses: the connections that publish use them in turn,
    /// and subscribers connect to the last one
    #[arg(long, required = true)]
    addr: Vec<SocketAddr>,
    /// Process id of the server, whose CPU time includes that of its children; for a cluster, several ids
    #[arg(long, required = true)]
    pid: Vec<u32>,
    /// Path to publish to
    #[arg(long, default_value = "/.well-known/mercure")]
    to: String,
    /// Bearer token that allows publishing
    #[arg(long, env = "SSE_BENCH_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The request body is the message itself, not a form
    #[arg(long)]
    raw: bool,
    /// Number of connections that publish
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Number of topics; each connection publishes on its own share of them
    #[arg(long, default_value_t = 32)]
    topics: usize,
    /// The topic; `{topic}` is replaced by its number
    #[arg(long, default_value = "/topics/{topic}")]
    topic: String,
    /// Events per second over all connections; 0: each connection publishes its next event when the last one
    /// is acknowledged
    #[arg(long, default_value_t = 0)]
    per_second: u64,
    /// Number of subscribers, each to one topic; 0: one subscriber to all topics
    #[arg(long, default_value_t = 0)]
    subscribers: usize,
    /// Path of a subscriber's stream; `{topic}` is replaced by the number of its topic, `{n}` by its own
    /// number
    #[arg(long, default_value = "/.well-known/mercure?match=*")]
    target: String,
    /// Seconds between the first event and the start of the measurement
    #[arg(long, default_value_t = 2.0)]
    settle: f64,
    /// Seconds in which events are counted
    #[arg(long, default_value_t = 5.0)]
    measure: f64,
}

/// The results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PublishFigures {
    pub(crate) connections: usize,
    pub(crate) topics: usize,
    pub(crate) subscribers: usize,
    /// Acknowledged events per second.
    pub(crate) updates_per_second: f64,
    pub(crate) deliveries_per_second: f64,
    /// CPU time of the server, including deliveries.
    pub(crate) cpu_us_per_update: f64,
    /// CPU of the server, in percent of one core.
    pub(crate) cpu_percent: f64,
    /// Time from a request to its response.
    pub(crate) acknowledged_p50_ms: f64,
    pub(crate) acknowledged_p99_ms: f64,
    /// Deliveries that are missing for acknowledged events, over the whole run.
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) load_cpu_percent: f64,
}

/// The subscribers of a run.
enum Audience {
    /// One subscriber that receives all topics.
    One(Listener),
    /// Subscribers that each receive one topic.
    Many(Present),
}

impl Audience {
    fn deliveries(&self) -> u64 {
        match self {
            Self::One(listener) => listener.deliveries(),
            Self::Many(present) => present.deliveries(),
        }
    }
}

impl Publish {
    pub(crate) fn run(&self) -> anyhow::Result<PublishFigures> {
        ensure!(
            self.topics >= self.connections,
            "there must be at least as many topics as connections"
        );
        let audience = self.listen()?;
        let publishers = Publishers::start(self.work())?;
        sleep(Duration::from_secs_f64(self.settle));

        let own_before = Moment::of(std::process::id())?;
        let before = self.moment()?;
        let (acknowledged, delivered) = (publishers.acknowledged(), audience.deliveries());
        sleep(Duration::from_secs_f64(self.measure));
        let updates = publishers.acknowledged() - acknowledged;
        let deliveries = audience.deliveries() - delivered;
        let after = self.moment()?;
        let own_after = Moment::of(std::process::id())?;

        let published = publishers.stop()?;
        let (lost, duplicated) = self.leave(audience, &published)?;
        let took = (after.at - before.at).as_secs_f64();
        let cpu_us = after.cpu_since(&before).as_secs_f64() * 1e6;
        Ok(PublishFigures {
            connections: self.connections,
            topics: self.topics,
            subscribers: self.subscribers.max(1),
            updates_per_second: updates as f64 / took,
            deliveries_per_second: deliveries as f64 / took,
            cpu_us_per_update: cpu_us / updates.max(1) as f64,
            cpu_percent: after.cpu_percent_since(&before),
            acknowledged_p50_ms: published.waited_ms(0.5),
            acknowledged_p99_ms: published.waited_ms(0.99),
            lost,
            duplicated,
            load_cpu_percent: own_after.cpu_percent_since(&own_before),
        })
    }

    /// The CPU time that all server processes together have used until now.
    fn moment(&self) -> anyhow::Result<Moment> {
        let mut all = Moment::of(self.pid[0])?;
        for pid in &self.pid[1..] {
            all.usage.cpu += Moment::of(*pid)?.usage.cpu;
        }
        Ok(all)
    }

    fn work(&self) -> publishers::Work {
        publishers::Work {
            addrs: self.addr.clone(),
            path: self.to.clone(),
            token: self.token.clone(),
            raw: self.raw,
            connections: self.connections,
            topics: self.topics,
            topic: self.topic.clone(),
            per_second: self.per_second,
            to_one: self.subscribers == 0,
        }
    }

    fn listen(&self) -> anyhow::Result<Audience> {
        let request = Request {
            addr: self.addr[self.addr.len() - 1],
            target: self.target.clone(),
            topics: self.topics,
            last_event_id: None,
        };
        if self.subscribers == 0 {
            return Ok(Audience::One(Listener::start(&request, self.topics)?));
        }
        let crowd = Crowd {
            request,
            subscribers: self.subscribers,
            before: 0,
            threads: 1,
            at_once: 500,
            own_numbers: true,
            next: Some(0),
        };
        let mut present = crowd.connect(Instant::now(), 0);
        present.wait_for_answers(CONNECT_TIMEOUT)?;
        Ok(Audience::Many(present))
    }

    /// Waits for the deliveries and disconnects the subscribers. Returns how many deliveries were lost and
    /// how many were duplicated.
    fn leave(&self, audience: Audience, published: &Published) -> anyhow::Result<(u64, u64)> {
        match audience {
            Audience::One(listener) => listener.leave(published.on_each, DELIVERY_TIMEOUT),
            Audience::Many(mut present) => {
                present.wait_for(published.on_each, DELIVERY_TIMEOUT)?;
                let totals = present.leave()?;
                ensure!(
                    totals.closed == 0,
                    "the server ended {} streams",
                    totals.closed
                );
                Ok((totals.lost, totals.duplicated))
            }
        }
    }
}
