//! What a message costs this server beside the system calls: `cargo bench`.

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sse_broadcaster::{
    Event,
    bench::{Counting, FanOut, History, encode},
};

/// As the ticker says it.
fn message() -> Event {
    Event::message("Message number: 1000000")
}

fn encoding(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    let lines = "a line of some length\n".repeat(10);
    for (name, event) in [
        ("message", message()),
        ("ten lines", Event::message(lines)),
        ("64 KiB", Event::message("x".repeat(65_536))),
    ] {
        group.throughput(Throughput::Bytes(encode(&event) as u64));
        group.bench_function(name, |b| b.iter(|| encode(black_box(&event))));
    }
    group.finish();
}

/// For each subscriber: what a round costs but its write.
fn fan_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("fan-out");
    for (subscribers, events) in [(1, 1), (1000, 1), (10_000, 1), (10_000, 64)] {
        let mut fan_out = FanOut::new(subscribers);
        let event = message();
        group.throughput(Throughput::Elements(subscribers as u64));
        let id = BenchmarkId::new(format!("{events} events"), subscribers);
        group.bench_function(id, |b| {
            b.iter(|| {
                let delivered = fan_out.publish(&event, events);
                assert_eq!(delivered, (subscribers * events) as u64);
            });
        });
    }
    let mut idle = FanOut::new(10_000);
    group.throughput(Throughput::Elements(10_000));
    group.bench_function("heartbeats that are not due", |b| {
        b.iter(|| assert_eq!(idle.look_for_idle(), 0));
    });
    group.finish();
}

/// For each event: what a subscriber that is behind costs but its write.
fn catch_up(c: &mut Criterion) {
    let mut group = c.benchmark_group("catch-up");
    for events in [100, 20_000, 1_000_000] {
        let history = History::new(&message(), events);
        let start = (events - 100) as u64;
        group.throughput(Throughput::Elements(100));
        group.bench_function(BenchmarkId::new("the last 100 of", events), |b| {
            b.iter(|| {
                let mut cursor = history.place(start.saturating_sub(1)).max(start);
                while let Some(next) = history.read_batch(cursor) {
                    cursor = next;
                }
                assert_eq!(cursor, events as u64);
            });
        });
    }
    group.finish();
}

/// For each round, whatever it is sent to: what keeping the metrics costs.
fn counting(c: &mut Criterion) {
    let counting = Counting::default();
    c.bench_function("counting/round", |b| {
        b.iter(|| counting.round(black_box(10_000), black_box(Duration::from_millis(50))));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    targets = encoding, fan_out, counting, catch_up
}
criterion_main!(benches);
