//! A server that is killed repeatedly while clients publish.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::*;
use crate::support::mercure::{Client, bearer};

/// Time limit for each round, on average.
const BOUND: Duration = Duration::from_secs(10);

/// How often the server is killed: `CHAOS_ROUNDS`, or five times.
fn rounds() -> u32 {
    let asked = std::env::var("CHAOS_ROUNDS").ok();
    asked.map_or(5, |rounds| rounds.parse().expect("a number of rounds"))
}

#[test]
fn every_acknowledged_event_is_delivered_once_and_in_order() {
    let node = Node::new("[ticker]\ninterval = '5ms'\n");
    let stop = AtomicBool::new(false);
    let (published, retries) = (AtomicU64::new(0), AtomicU64::new(0));
    let acknowledged = Mutex::new(Vec::new());
    let deadline = Instant::now() + BOUND * (6 + rounds());
    let mut server = node.start();

    let (delivered, ticks) = thread::scope(|scope| {
        let publisher = |n| {
            let (node, stop) = (&node, &stop);
            let (published, retries) = (&published, &retries);
            let acknowledged = &acknowledged;
            scope.spawn(move || publish(node, n, stop, published, retries, acknowledged))
        };
        let publishers: Vec<_> = (0..4).map(publisher).collect();
        let reader = |target, until: &'static str| {
            let (node, stop) = (&node, &stop);
            scope.spawn(move || read(node, target, until, stop, deadline))
        };
        let updates = reader("/.well-known/mercure?match=a", "end");
        let ticks = reader("/events/sse", "");
        for round in 0..rounds() {
            // Each round kills the server after a different number of events.
            let count = || acknowledged.lock().unwrap().len();
            let enough = count() + 50 + 10 * (round as usize % 7);
            eventually("more events to be acknowledged", || {
                (count() >= enough).then_some(())
            });
            server.signal(Signal::KILL);
            server.wait();
            server = node.start();
        }
        stop.store(true, Relaxed);
        for publisher in publishers {
            publisher.join().unwrap();
        }
        eventually("the last event to be published", || {
            (node.publish("topic=a&data=end").status() == 200).then_some(())
        });
        (updates.join().unwrap(), ticks.join().unwrap())
    });

    let acknowledged = acknowledged.into_inner().unwrap();
    let (delivered, silence) = delivered;
    let (ticks, ticks_silence) = ticks;
    let ids: Vec<_> = delivered.iter().map(|(id, _)| id.clone()).collect();
    let mut distinct: Vec<_> = delivered.iter().map(|(_, data)| data.clone()).collect();
    distinct.sort_unstable();
    distinct.dedup();
    let lost = acknowledged
        .iter()
        .filter(|(id, data)| !delivered.contains(&(id.clone(), data.clone())))
        .count();
    let seqs: Vec<_> = ids.iter().map(|id| seq(id)).collect();
    let out_of_order = seqs.windows(2).filter(|pair| pair[0] >= pair[1]).count();
    println!(
        "killed {} times: published {} with {} retries, acknowledged {}, delivered {}, lost {lost}, duplicated {}, \
         out of order {out_of_order}, longest silence {:.2} s; ticks {}",
        rounds(),
        published.load(Relaxed),
        retries.into_inner(),
        acknowledged.len(),
        delivered.len(),
        ids.len() - distinct.len(),
        silence.max(ticks_silence).as_secs_f64(),
        ticks.len()
    );
    assert!(
        acknowledged.len() > 100,
        "too few events for a meaningful test"
    );
    assert_eq!(lost, 0);
    assert_eq!(acknowledged.len() as u64, published.into_inner());
    assert_eq!(ids.len(), distinct.len(), "no content is delivered twice");
    assert_eq!(out_of_order, 0);
    // No number is repeated or skipped, although the server was killed.
    for (n, (_, data)) in ticks.iter().enumerate() {
        assert_eq!(*data, format!("Message number: {n}"));
    }
}

fn seq(id: &str) -> u64 {
    id.rsplit_once('-').unwrap().1.parse().unwrap()
}

/// Publishes one event after another. Repeats each request, with its idempotency key, until it is
/// acknowledged.
fn publish(
    node: &Node,
    publisher: u32,
    stop: &AtomicBool,
    published: &AtomicU64,
    retries: &AtomicU64,
    acknowledged: &Mutex<Vec<(String, String)>>,
) {
    let mut client: Option<Client> = None;
    for n in 0.. {
        if stop.load(Relaxed) {
            return;
        }
        let data = format!("{publisher}-{n}");
        let headers = format!("{}Idempotency-Key: {data}\r\n", bearer(&node.token));
        published.fetch_add(1, Relaxed);
        let id = loop {
            let connection = match &mut client {
                Some(connection) => connection,
                None => client.insert(eventually("a connection", || {
                    Client::try_connect(node.addr()).ok()
                })),
            };
            match connection.try_post(&headers, &format!("topic=a&data={data}")) {
                Ok(answer) if answer.status() == 200 => break answer.body,
                Ok(answer) => assert!(answer.header("retry-after").is_some(), "{answer:?}"),
                Err(_) => client = None,
            }
            retries.fetch_add(1, Relaxed);
        };
        acknowledged.lock().unwrap().push((id, data));
    }
}

/// Reads like a browser, which reconnects with the last id when the stream ends. Returns at the event with
/// the data `until`, or, if `until` is empty, at the first event after `stop` is set. Returns the ids and
/// data of the events, and the longest time without an event.
fn read(
    node: &Node,
    target: &str,
    until: &str,
    stop: &AtomicBool,
    deadline: Instant,
) -> (Vec<(String, String)>, Duration) {
    let mut last = "earliest".to_owned();
    let mut got = Vec::new();
    let (mut heard, mut silence) = (Instant::now(), Duration::ZERO);
    loop {
        assert!(Instant::now() < deadline, "too long");
        let mut stream = eventually("a stream", || {
            Stream::try_resume(node.addr(), target, &last).ok()
        });
        while let Ok(Some(event)) = stream.try_event() {
            assert_ne!(event.name.as_deref(), Some("gap"), "{event:?}");
            silence = silence.max(heard.elapsed());
            heard = Instant::now();
            if event.data == until {
                return (got, silence);
            }
            let Some(id) = event.id else { continue };
            last.clone_from(&id);
            got.push((id, event.data));
            if until.is_empty() && stop.load(Relaxed) {
                return (got, silence);
            }
        }
    }
}
