//! A live client receives each event once and in order, or is removed with what must be sent to it next.

use std::{cell::RefCell, rc::Rc};

use proptest::prelude::*;

#[path = "registry_tests/keep_alive.rs"]
mod keep_alive;

use super::*;
use crate::{
    event::{Audience, Event, EventId, Topic, wire},
    matching::{Matcher, MatcherText, MatcherType},
};

/// An outlet that keeps what it receives. The number is how many more bytes it accepts.
#[derive(Debug, Clone, Default)]
struct Reader(Rc<RefCell<(Vec<u8>, usize)>>);

impl Reader {
    fn with_room(room: usize) -> Self {
        Self(Rc::new(RefCell::new((Vec::new(), room))))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.borrow().0.clone()).unwrap()
    }
}

impl Outlet for Reader {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let (got, room) = &mut *self.0.borrow_mut();
        let taken = bytes.len().min(*room);
        if taken == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        *room -= taken;
        got.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }
}

/// An outlet whose writes fail.
struct Broken;

impl Outlet for Broken {
    fn try_write(&self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

fn event(seq: u64) -> Frame {
    let id = EventId { epoch: 1, seq };
    wire::event(id, &Event::message(format!("event {seq}")))
}

fn hub() -> HubUrl {
    HubUrl::parse("https://hub.example/.well-known/mercure").unwrap()
}

fn registry<O: Outlet>() -> Registry<O> {
    Registry::new(hub(), 0)
}

fn matcher(kind: MatcherType, text: &str) -> Matcher {
    let written = MatcherText::parse(kind, text, 100).unwrap();
    Matcher::compile(written, &hub()).unwrap()
}

fn exact(topics: &[&str]) -> Vec<Matcher> {
    let matcher = |topic: &&str| matcher(MatcherType::Exact, topic);
    topics.iter().map(matcher).collect()
}

fn selection(topics: &[&str]) -> Arc<Selection> {
    Arc::new(Selection::new(hub(), exact(topics), Vec::new()))
}

fn audience(topics: &[&str], private: bool) -> Arc<Audience> {
    let topics = topics.iter().map(|topic| Topic::parse(topic).unwrap());
    Arc::new(Audience {
        topics: topics.collect(),
        private,
    })
}

fn entry(seq: u64, audience: &Arc<Audience>) -> Entry {
    Entry {
        position: seq,
        frame: event(seq),
        appended: Instant::now(),
        audience: audience.clone(),
        bytes: 0,
    }
}

fn at(cursor: u64) -> Position {
    Position::announced_at(cursor)
}

/// Delivers events on the topic `x`.
fn deliver<O: Outlet>(registry: &mut Registry<O>, events: Range<u64>) -> DeliveryStats {
    let audience = audience(&["x"], false);
    let entries: Vec<_> = events.clone().map(|seq| entry(seq, &audience)).collect();
    deliver_entries(registry, events.start, &entries)
}

fn deliver_entries<O: Outlet>(
    registry: &mut Registry<O>,
    first: u64,
    entries: &[Entry],
) -> DeliveryStats {
    let now = Instant::now();
    let mut stats = DeliveryStats::default();
    for (group, round) in registry.route(entries, now) {
        let slots = 0..registry.slots(group);
        stats += registry.deliver(&round, Part { group, slots }, now);
    }
    registry.set_delivered_to(first + entries.len() as u64);
    stats
}

fn chunks(events: std::ops::Range<u64>) -> String {
    let chunk = |seq| event(seq).bytes(Framing::Chunked).to_vec();
    String::from_utf8(events.flat_map(chunk).collect()).unwrap()
}

#[test]
fn each_client_gets_only_the_events_that_it_lacks() {
    let now = Instant::now();
    let mut registry = registry();
    let x = selection(&["x"]);
    let [all, last, none] = [0, 2, 3].map(|cursor| {
        let reader = Reader::with_room(1000);
        (reader.clone(), registry.join(&x, reader, at(cursor), now))
    });

    let stats = deliver(&mut registry, 0..3);

    assert_eq!(all.0.text(), chunks(0..3));
    assert_eq!(last.0.text(), chunks(2..3));
    assert_eq!(none.0.text(), "", "it already has all events");
    assert_eq!(
        stats,
        DeliveryStats {
            delivered: 4,
            bytes: (chunks(0..3).len() + chunks(2..3).len()) as u64,
            fell_behind: 0,
        }
    );
}

#[test]
fn a_full_client_is_removed_and_the_others_stay_live() {
    let now = Instant::now();
    let mut registry = registry();
    let x = selection(&["x"]);
    let (full, reader) = (Reader::with_room(0), Reader::with_room(1000));
    let (_, mut lagging) = registry.join(&x, full.clone(), at(0), now);
    let _live = registry.join(&x, reader.clone(), at(0), now);

    let first = deliver(&mut registry, 0..2);
    let second = deliver(&mut registry, 2..3);

    assert_eq!((first.delivered, first.fell_behind), (2, 1));
    assert_eq!((second.delivered, second.fell_behind), (1, 0));
    assert_eq!(full.text(), "");
    assert_eq!(reader.text(), chunks(0..3));
    assert_eq!(
        lagging.try_recv().unwrap().unwrap(),
        Lagging {
            rest: Bytes::new(),
            position: at(0)
        }
    );
}

#[test]
fn a_client_whose_outlet_fails_gets_the_error() {
    let mut registry = registry();
    let x = selection(&["x"]);
    let (_, mut end) = registry.join(&x, Broken, at(0), Instant::now());

    let stats = deliver(&mut registry, 0..1);

    assert_eq!(stats, DeliveryStats::default());
    let failure = end.try_recv().unwrap().unwrap_err();
    assert_eq!(failure.kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn leaving_twice_does_not_remove_the_next_client_in_the_slot() {
    let now = Instant::now();
    let mut registry = registry();
    let x = selection(&["x"]);
    let reader = Reader::with_room(1000);
    let _other = registry.join(&x, Reader::default(), at(0), now);
    let (gone, _removed) = registry.join(&x, Reader::default(), at(0), now);
    registry.leave(gone);
    let (successor, _removed) = registry.join(&x, reader.clone(), at(0), now);

    registry.leave(gone);
    deliver(&mut registry, 0..1);

    assert_eq!(gone.slot, successor.slot);
    assert_eq!(reader.text(), chunks(0..1));
}

#[test]
fn a_removed_client_continues_at_its_position() {
    let now = Instant::now();
    let mut registry = registry();
    let x = selection(&["x"]);
    let (_, mut lagging) = registry.join(&x, Reader::with_room(1000), at(0), now);
    deliver(&mut registry, 0..2);

    registry.take_off_all();

    let lagging = lagging.try_recv().unwrap().unwrap();
    assert_eq!((lagging.rest.len(), lagging.position), (0, at(2)));
    assert_eq!(deliver(&mut registry, 2..3), DeliveryStats::default());
}

#[test]
fn the_memory_of_clients_that_left_is_freed() {
    let now = Instant::now();
    let mut registry = registry();
    let x = selection(&["x"]);
    let positions: Vec<_> = (0..100)
        .map(|_| registry.join(&x, Reader::default(), at(0), now))
        .collect();

    for (id, _) in positions {
        registry.leave(id);
    }

    assert_eq!(registry.groups.capacity(), 0);
    assert_eq!(registry.router.capacity(), 0);
}

proptest! {
    /// Wherever a partial write ends: the written bytes, the rest, and the log from the cursor together are
    /// the whole stream, with each byte once.
    #[test]
    fn the_written_bytes_and_the_rest_are_the_whole_stream(
        first in 0..5_u64,
        events in 1..6_u64,
        has in 0..6_u64,
        room in 0..400_usize,
    ) {
        let end = first + events;
        let start = (first + has).min(end);
        let reader = Reader::with_room(room);
        let mut registry = registry();
        let x = selection(&["x"]);
        let (_, mut lagging) = registry.join(&x, reader.clone(), at(start), Instant::now());

        let stats = deliver(&mut registry, first..end);

        let (rest, cursor) = match lagging.try_recv() {
            Ok(lagging) => {
                let lagging = lagging.unwrap();
                (String::from_utf8(lagging.rest.to_vec()).unwrap(), lagging.position.cursor)
            }
            Err(_) => (String::new(), end),
        };
        prop_assert_eq!(reader.text() + &rest + &chunks(cursor..end), chunks(start..end));
        prop_assert_eq!(stats.delivered, cursor - start);
        prop_assert_eq!(stats.bytes, reader.text().len() as u64);
        prop_assert!(rest.is_empty() || rest.len() < chunks(cursor - 1..cursor).len());
    }
}

#[test]
fn each_event_goes_once_to_each_client_that_asked_for_one_of_its_topics() {
    let now = Instant::now();
    let mut registry = registry();
    let any = matcher(MatcherType::UrlPattern, "*");
    let pattern = matcher(MatcherType::UrlPattern, "/books/:id");
    let selections = [
        vec![any],
        vec![pattern],
        exact(&["/books/1"]),
        exact(&["/books/1", "/books/2", "other"]),
        exact(&["nothing"]),
    ]
    .map(|matchers| Arc::new(Selection::new(hub(), matchers, Vec::new())));
    let readers = selections.each_ref().map(|selection| {
        let reader = Reader::with_room(10_000);
        (reader.clone(), registry.join(selection, reader, at(0), now))
    });
    let on = |topics: &[&str]| audience(topics, false);
    let entries = [
        entry(0, &on(&["/books/1"])),
        entry(1, &on(&["/books/2", "/books/1"])),
        entry(2, &on(&["other"])),
        entry(3, &on(&["https://hub.example/books/3", "unknown"])),
    ];

    let stats = deliver_entries(&mut registry, 0, &entries);

    let got = readers.map(|(reader, _)| reader.text());
    let chunk = |seqs: &[u64]| {
        seqs.iter()
            .map(|seq| chunks(*seq..*seq + 1))
            .collect::<String>()
    };
    assert_eq!(
        got,
        [
            chunk(&[0, 1, 2, 3]),
            chunk(&[0, 1, 3]),
            chunk(&[0, 1]),
            chunk(&[0, 1, 2]),
            String::new()
        ]
    );
    assert_eq!(stats.delivered, 12);
}

#[test]
fn a_private_event_goes_to_clients_that_are_granted_one_of_its_topics() {
    let now = Instant::now();
    let mut registry = registry();
    let readers = [&[][..], &["x"], &["alternate"], &["other"]].map(|granted| {
        let selection = Selection::new(hub(), exact(&["x"]), exact(granted));
        let reader = Reader::with_room(1000);
        let live = registry.join(&Arc::new(selection), reader.clone(), at(0), now);
        (reader, live)
    });

    let entries = [
        entry(0, &audience(&["x", "alternate"], true)),
        entry(1, &audience(&["x"], false)),
    ];
    deliver_entries(&mut registry, 0, &entries);

    let got = readers.map(|(reader, _)| reader.text());
    assert_eq!(
        got,
        [chunks(1..2), chunks(0..2), chunks(0..2), chunks(1..2)]
    );
}

#[test]
fn a_client_that_leaves_or_is_removed_is_past_all_delivered_events() {
    let now = Instant::now();
    let mut registry = registry();
    let y = selection(&["y"]);
    let (left, _removed) = registry.join(&y, Reader::default(), at(0), now);
    let (_, mut lagging) = registry.join(&y, Reader::default(), at(1), now);

    deliver(&mut registry, 0..5);

    let position = |announced| Position {
        cursor: 5,
        announced,
    };
    assert_eq!(registry.leave(left), Some(position(0)));
    registry.take_off_all();
    assert_eq!(lagging.try_recv().unwrap().unwrap().position, position(1));
}

#[test]
fn an_empty_group_is_removed_and_its_slot_is_reused() {
    let now = Instant::now();
    let mut registry = registry();
    let (x, y) = (selection(&["x"]), selection(&["y"]));
    let _other = registry.join(&selection(&["z"]), Reader::default(), at(0), now);
    let reader = Reader::with_room(1000);
    let (gone, _removed) = registry.join(&x, Reader::with_room(1000), at(0), now);
    let audience = audience(&["x"], false);
    let rounds = registry.route(&[entry(0, &audience)], now);
    registry.leave(gone);
    let (next, _removed) = registry.join(&y, reader.clone(), at(0), now);

    let (group, round) = &rounds[0];
    let part = Part {
        group: *group,
        slots: 0..10,
    };
    let stats = registry.deliver(round, part, now);

    assert_eq!(gone.group.slot, next.group.slot);
    assert_eq!(
        (stats, reader.text()),
        (DeliveryStats::default(), String::new())
    );
    assert!(registry.route(&[entry(1, &audience)], now).is_empty());
}
