//! The load: thousands of subscribers on a few epoll threads. It checks that each got every number
//! once and in order, and allocates nothing for a delivery.

mod scan;
mod subscriber;
mod thread;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Barrier,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serde::Serialize;

use self::thread::{LoadThread, Tally};
use crate::usage::Usage;

/// What to do.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) addr: SocketAddr,
    pub(crate) target: String,
    pub(crate) subscribers: usize,
    pub(crate) threads: usize,
    /// Between the last connection and the first delivery that counts.
    pub(crate) settle: Duration,
    /// For how long deliveries count.
    pub(crate) measure: Duration,
    /// The server's process; its children count, too.
    pub(crate) server: u32,
}

/// What came of it. Times are in milliseconds unless the name says otherwise.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figures {
    pub(crate) subscribers: usize,
    pub(crate) deliveries: u64,
    pub(crate) deliveries_per_second: f64,
    pub(crate) cpu_us_per_delivery: f64,
    /// Of one core.
    pub(crate) server_cpu_percent: f64,
    pub(crate) resident_kb_per_subscriber: f64,
    pub(crate) connect_ms: f64,
    /// From the first to the last subscriber that got a message.
    pub(crate) spread_p50_ms: f64,
    pub(crate) spread_p99_ms: f64,
    pub(crate) spread_max_ms: f64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) closed: u64,
    /// Of one core: near 100 for each thread, the load was the bottleneck.
    pub(crate) load_cpu_percent: f64,
}

/// What the threads are to do now.
pub(crate) const SETTLE: u8 = 0;
pub(crate) const MEASURE: u8 = 1;
pub(crate) const STOP: u8 = 2;

pub(crate) fn run(plan: &Plan) -> anyhow::Result<Figures> {
    let idle = Usage::of(plan.server)?;
    let phase = Arc::new(AtomicU8::new(SETTLE));
    let connected = Arc::new(Barrier::new(plan.threads + 1));
    let start = Instant::now();
    let shares = |n: usize| plan.subscribers * n / plan.threads;
    let threads: Vec<_> = (0..plan.threads)
        .map(|n| {
            let (first, next) = (shares(n), shares(n + 1));
            let mut thread = LoadThread::new(plan.clone(), first, next - first, phase.clone());
            let connected = connected.clone();
            std::thread::spawn(move || {
                let result = thread.connect();
                connected.wait();
                result?;
                thread.run()
            })
        })
        .collect();
    connected.wait();
    let connect = start.elapsed();
    std::thread::sleep(plan.settle);

    let own_before = Usage::of(std::process::id())?;
    let before = Usage::of(plan.server)?;
    let begin = Instant::now();
    phase.store(MEASURE, Relaxed);
    std::thread::sleep(plan.measure);
    phase.store(STOP, Relaxed);
    let after = Usage::of(plan.server)?;
    let took = begin.elapsed();
    let own_after = Usage::of(std::process::id())?;

    let mut tally = Tally::default();
    for thread in threads {
        let part = thread
            .join()
            .map_err(|_| anyhow::anyhow!("a thread of the load panicked"))??;
        tally.merge(part);
    }
    let spreads = tally.spreads(plan.subscribers);
    let at = |share: f64| {
        let last = spreads.len().saturating_sub(1);
        let millis = spreads.get((last as f64 * share).round() as usize);
        millis.map_or(f64::NAN, |spread| spread.as_secs_f64() * 1e3)
    };
    let cpu = (after.cpu - before.cpu).as_secs_f64();
    Ok(Figures {
        subscribers: plan.subscribers,
        deliveries: tally.deliveries,
        deliveries_per_second: tally.deliveries as f64 / took.as_secs_f64(),
        cpu_us_per_delivery: cpu * 1e6 / tally.deliveries as f64,
        server_cpu_percent: cpu / took.as_secs_f64() * 100.0,
        resident_kb_per_subscriber: (after.resident_kb as f64 - idle.resident_kb as f64)
            / plan.subscribers as f64,
        connect_ms: connect.as_secs_f64() * 1e3,
        spread_p50_ms: at(0.5),
        spread_p99_ms: at(0.99),
        spread_max_ms: at(1.0),
        lost: tally.lost,
        duplicated: tally.duplicated,
        closed: tally.closed,
        load_cpu_percent: (own_after.cpu - own_before.cpu).as_secs_f64() / took.as_secs_f64()
            * 100.0,
    })
}
