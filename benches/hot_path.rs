//! Measures the cost of single steps of a message in this server, with `cargo bench`. Only the benchmarks
//! that say so make system calls.

use std::{hint::black_box, path::Path, time::Duration};

use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
    measurement::WallTime,
};
use sse_broadcaster::{
    Event, Topic,
    bench::{Counting, FanOut, History, Token, encode},
    config::{Algorithm, KeySource},
};

fn on(topic: &str) -> Event {
    message().on(Topic::parse(topic).expect("this is a topic"))
}

/// A message like those of the ticking timer.
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

/// The cost of a round (one pass of the fan-out over its subscribers), without the write to the sockets.
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
        b.iter(|| assert_eq!(idle.check_idle(), 0));
    });
    group.finish();
}

/// Measures publishing an event on these topics in turn. One subscriber receives each event.
fn publish_each(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    fan_out: &mut FanOut,
    topics: impl Iterator<Item = String>,
) {
    let mut events = topics.map(|topic| on(&topic));
    group.bench_function(id, |b| {
        b.iter_batched(
            || events.next().expect("the iterator has no end"),
            |event| assert_eq!(fan_out.publish(&event, 1), 1),
            BatchSize::SmallInput,
        );
    });
}

/// The cost of one event on one of many topics: finding its only subscriber and delivering the event, with
/// and without the write to the socket.
fn topics(c: &mut Criterion) {
    let mut group = c.benchmark_group("one of many topics");
    for topics in [1, 100_000] {
        let with_write = FanOut::with_topics_and_socket(topics).expect("there are sockets");
        for (name, mut fan_out) in [
            ("with the write, of", with_write),
            ("without the write, of", FanOut::with_topics(topics)),
        ] {
            let id = BenchmarkId::new(name, topics);
            // Each event is on another topic, far from the last one, so that no CPU cache contains it.
            let numbers = (0..topics).cycle().step_by(7919);
            publish_each(
                &mut group,
                id,
                &mut fan_out,
                numbers.map(|n| format!("/{n}")),
            );
        }
    }
    group.finish();
}

/// The cost of one event when each of many subscribers has a different URL Pattern.
fn patterns(c: &mut Criterion) {
    const PATTERNS: usize = 1000;
    let mut group = c.benchmark_group("one of many patterns");
    let mut fan_out = FanOut::with_patterns(PATTERNS);
    let known = (0..100).cycle().map(|n| format!("/{n}/x"));
    let id = BenchmarkId::new("topics that repeat, of", PATTERNS);
    publish_each(&mut group, id, &mut fan_out, known);
    let new = (0..).map(|n| format!("/5/{n}"));
    let id = BenchmarkId::new("topics that are new, of", PATTERNS);
    publish_each(&mut group, id, &mut fan_out, new);
    group.finish();
}

/// The cost of finding the position of an id in the log: an id that the hub assigned, and an id that the
/// publisher chose.
fn resume(c: &mut Criterion) {
    let mut group = c.benchmark_group("the place of an id");
    for events in [100, 1_000_000_usize] {
        let history = History::with_given_ids(&message(), events);
        let mut seqs = (0..).map(|n| 1 + n * 7919 % events as u64);
        let id = BenchmarkId::new("the hub's, of", events);
        group.bench_function(id, |b| {
            b.iter(|| {
                let seq = seqs.next().expect("they have no end");
                assert_eq!(history.position(seq), seq + 1);
            });
        });
        let mut seqs = (0..).map(|n| 1 + n * 7919 % events as u64);
        let id = BenchmarkId::new("a publisher's, of", events);
        group.bench_function(id, |b| {
            b.iter_batched(
                || {
                    let seq = seqs.next().expect("they have no end");
                    (seq, format!("given-{seq}"))
                },
                |(seq, given)| assert_eq!(history.place_given(&given), seq + 1),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// The cost of each event for a subscriber that is catching up, without the write to the socket.
fn catch_up(c: &mut Criterion) {
    let mut group = c.benchmark_group("catch-up");
    for events in [100, 20_000, 1_000_000] {
        let history = History::new(&message(), events);
        let start = (events - 100) as u64;
        group.throughput(Throughput::Elements(100));
        group.bench_function(BenchmarkId::new("the last 100 of", events), |b| {
            b.iter(|| {
                let mut cursor = history.position(start);
                while let Some(next) = history.read_batch(cursor) {
                    cursor = next;
                }
                assert_eq!(cursor, events as u64 + 1);
            });
        });
    }
    group.finish();
}

/// The cost of updating the metrics after one round. It does not depend on the number of subscribers.
fn counting(c: &mut Criterion) {
    let counting = Counting::default();
    c.bench_function("counting/round", |b| {
        b.iter(|| counting.round(black_box(10_000), black_box(Duration::from_millis(50))));
    });
}

/// The cost of verifying a token, by algorithm.
fn tokens(c: &mut Criterion) {
    let mut group = c.benchmark_group("token");
    let key = |name: &str| Path::new("tests/keys").join(name);
    let secret = std::env::temp_dir().join("sse-broadcaster-bench.secret");
    std::fs::write(&secret, [b's'; 64]).expect("the secret can be written");
    for algorithm in [
        Algorithm::EdDSA,
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
        Algorithm::HS256,
        Algorithm::HS384,
        Algorithm::HS512,
    ] {
        let name = match algorithm {
            Algorithm::EdDSA => "ed25519",
            Algorithm::ES256 => "p256",
            Algorithm::ES384 => "p384",
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => "",
            _ => "rsa2048",
        };
        let token = if name.is_empty() {
            Token::new(&secret, KeySource::SecretFile(secret.clone()), algorithm)
        } else {
            let public = KeySource::PemFile(key(&format!("{name}.pub.pem")));
            Token::new(&key(&format!("{name}.pem")), public, algorithm)
        };
        group.bench_function(format!("{algorithm:?}"), |b| {
            b.iter(|| assert!(token.verify()))
        });
        if algorithm == Algorithm::ES256 {
            group.bench_function("seen before", |b| b.iter(|| assert!(token.verify_again())));
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    targets = encoding, fan_out, topics, patterns, counting, catch_up, resume, tokens
}
criterion_main!(benches);
