//! Subscribers that join, leave and resume at random positions while publishers run, with a history that is
//! far too short. Each subscriber receives every event once and in order, or a gap that says that some are
//! missing.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use serde_json::json;
use sse_broadcaster::EventId;

use super::{Attack, assert_unharmed};
use crate::support::{
    client::Stream,
    mercure::{Client, HUB, HubProcess, PATH, bearer, form, grant, token_for},
};

const PUBLISHERS: u64 = 3;
const SUBSCRIBERS: u64 = 6;

/// Totals over all subscribers.
#[derive(Debug, Default)]
struct Counts {
    streams: AtomicU64,
    events: AtomicU64,
    gaps: AtomicU64,
}

fn parse(id: &str) -> EventId {
    EventId::parse(id).unwrap()
}

/// Reads events after a position, and asserts that none is missing without a gap. Returns the ids that were
/// received, oldest first.
fn read(
    stream: &mut Stream,
    asked: Option<EventId>,
    count: usize,
    counts: &Counts,
) -> Vec<EventId> {
    let mut ids = Vec::new();
    let mut last = asked;
    while ids.len() < count {
        let Some(event) = stream.event() else {
            break;
        };
        match event.name.as_deref() {
            None => {}
            Some("gap") => {
                let gap = event.gap();
                last = gap["resumed_after"].as_str().map(parse);
                counts.gaps.fetch_add(1, Relaxed);
                continue;
            }
            Some(_) => continue,
        }
        let id = parse(event.id.as_deref().unwrap());
        if let Some(last) = last {
            let is_next = id.epoch == last.epoch && id.seq == last.seq + 1;
            assert!(is_next, "{id} followed {last} without a gap");
        }
        last = Some(id);
        ids.push(id);
        counts.events.fetch_add(1, Relaxed);
    }
    ids
}

#[test]
fn a_subscriber_that_resumes_at_any_position_gets_every_event_once_in_order_or_a_gap() {
    let attack = Attack::begin("subscribers that come and go");
    let victim = HubProcess::start("[stream]\nhistory = 15\nqueue = 4\n");
    let addr = victim.addr();
    let token = token_for(HUB, json!([grant("publish", &["*"])]));
    let counts = Counts::default();
    // Ids of any age that a subscriber received. Subscribers resume from them.
    let seen: Mutex<Vec<EventId>> = Mutex::default();

    let published: u64 = thread::scope(|scope| {
        for subscriber in 0..SUBSCRIBERS {
            let (attack, counts, seen) = (&attack, &counts, &seen);
            scope.spawn(move || {
                let mut random = attack.random(subscriber);
                let mut own = None;
                while !attack.is_over() {
                    let asked = match random.u8(0..4) {
                        0 => None,
                        1 => random.choice(&*seen.lock().unwrap()).copied(),
                        _ => own,
                    };
                    let header =
                        asked.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
                    let target = format!("{PATH}?match=*");
                    let mut stream = Stream::request(addr, &target, header.as_bytes());
                    assert_eq!(stream.status(), 200);
                    counts.streams.fetch_add(1, Relaxed);
                    let ids = read(&mut stream, asked, random.usize(1..60), counts);
                    own = ids.last().copied();
                    let mut seen = seen.lock().unwrap();
                    seen.extend(ids);
                    let excess = seen.len().saturating_sub(1000);
                    seen.drain(..excess);
                }
            });
        }
        let publishers = (0..PUBLISHERS).map(|publisher| {
            let (attack, token) = (&attack, &token);
            scope.spawn(move || {
                let mut random = attack.random(1000 + publisher);
                let mut client = Client::connect(addr);
                let mut published = 0;
                let publish = |client: &mut Client, data: &str| {
                    let update = form(&[("topic", "a"), ("data", data)]);
                    assert_eq!(client.post(&bearer(token), &update).status(), 200);
                };
                while !attack.is_over() {
                    let most = if random.u8(..) < 8 { 50_000 } else { 50 };
                    let length = random.usize(..most);
                    publish(&mut client, &"x".repeat(length));
                    published += 1;
                }
                // Releases the subscribers that still wait for events.
                for _ in 0..100 {
                    publish(&mut client, "");
                }
                published
            })
        });
        let publishers: Vec<_> = publishers.collect();
        publishers.into_iter().map(|it| it.join().unwrap()).sum()
    });

    println!(
        "{published} published; {} streams, {} events, {} gaps, nothing lost without a gap, nothing twice, \
         nothing out of order",
        counts.streams.into_inner(),
        counts.events.into_inner(),
        counts.gaps.into_inner()
    );
    assert!(published > 100, "{published}");
    assert_unharmed(victim);
}
