//! Who is live gets each event once and in order, or is handed back with what it has yet to get.

use std::{cell::RefCell, rc::Rc};

use proptest::prelude::*;

use super::*;
use crate::event::{Event, EventId};

/// Takes so many more bytes, and keeps them.
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

/// Fails at once.
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

fn round(events: std::ops::Range<u64>) -> Round {
    let mut round = RoundBuilder::new(events.start, Instant::now());
    for seq in events {
        round.push(&Entry {
            frame: event(seq),
            appended: Instant::now(),
        });
    }
    round.finish()
}

fn chunks(events: std::ops::Range<u64>) -> String {
    let chunk = |seq| event(seq).bytes(Framing::Chunked).to_vec();
    String::from_utf8(events.flat_map(chunk).collect()).unwrap()
}

fn deliver<O: Outlet>(registry: &mut Registry<O>, round: &Round) -> HandOver {
    registry.deliver(round, 0..registry.slots(), Instant::now())
}

#[test]
fn each_gets_what_it_lacks_of_a_round() {
    let now = Instant::now();
    let mut registry = Registry::default();
    let [all, last, none] = [0, 2, 3].map(|cursor| {
        let reader = Reader::with_room(1000);
        (reader.clone(), registry.join(reader, cursor, now))
    });

    let handed_over = deliver(&mut registry, &round(0..3));

    assert_eq!(all.0.text(), chunks(0..3));
    assert_eq!(last.0.text(), chunks(2..3));
    assert_eq!(none.0.text(), "", "it has them all");
    assert_eq!(
        handed_over,
        HandOver {
            delivered: 4,
            bytes: (chunks(0..3).len() + chunks(2..3).len()) as u64,
            fell_behind: 0,
        }
    );
}

#[test]
fn a_full_client_is_handed_back_and_the_others_go_on() {
    let now = Instant::now();
    let mut registry = Registry::default();
    let (full, reader) = (Reader::with_room(0), Reader::with_room(1000));
    let (_, mut behind) = registry.join(full.clone(), 0, now);
    let _place = registry.join(reader.clone(), 0, now);

    let first = deliver(&mut registry, &round(0..2));
    let second = deliver(&mut registry, &round(2..3));

    assert_eq!((first.delivered, first.fell_behind), (2, 1));
    assert_eq!((second.delivered, second.fell_behind), (1, 0));
    assert_eq!(full.text(), "");
    assert_eq!(reader.text(), chunks(0..3));
    assert_eq!(
        behind.try_recv().unwrap().unwrap(),
        Behind {
            rest: Bytes::new(),
            cursor: 0
        }
    );
}

#[test]
fn a_client_that_fails_learns_why() {
    let mut registry = Registry::default();
    let (_, mut end) = registry.join(Broken, 0, Instant::now());

    let handed_over = deliver(&mut registry, &round(0..1));

    assert_eq!(handed_over, HandOver::default());
    let failure = end.try_recv().unwrap().unwrap_err();
    assert_eq!(failure.kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn only_the_idle_get_a_comment() {
    let start = Instant::now();
    let idle = Duration::from_secs(15);
    let mut registry = Registry::default();
    let (early, late) = (Reader::with_room(100), Reader::with_room(100));
    let _early = registry.join(early.clone(), 0, start);
    let _late = registry.join(late.clone(), 0, start + idle / 2);

    registry.keep_alive(&wire::heartbeat(), 0..2, idle, start + idle);
    registry.keep_alive(&wire::heartbeat(), 0..2, idle, start + idle);

    assert_eq!(early.text(), "3\r\n:\n\n\r\n");
    assert_eq!(late.text(), "");
}

#[test]
fn a_comment_that_does_not_fit_is_what_comes_next() {
    let now = Instant::now();
    let mut registry = Registry::default();
    let (_, mut behind) = registry.join(Reader::with_room(3), 7, now);

    registry.keep_alive(&wire::heartbeat(), 0..1, Duration::ZERO, now);

    assert_eq!(
        behind.try_recv().unwrap().unwrap(),
        Behind {
            rest: Bytes::from_static(b":\n\n\r\n"),
            cursor: 7
        }
    );
}

#[test]
fn a_late_removal_does_not_meet_the_successor() {
    let now = Instant::now();
    let mut registry = Registry::default();
    let reader = Reader::with_room(1000);
    let _other = registry.join(Reader::default(), 0, now);
    let (gone, _behind) = registry.join(Reader::default(), 0, now);
    registry.remove(gone);
    let (successor, _behind) = registry.join(reader.clone(), 0, now);

    registry.remove(gone);
    deliver(&mut registry, &round(0..1));

    assert_eq!(gone.slot, successor.slot);
    assert_eq!(reader.text(), chunks(0..1));
}

#[test]
fn taken_off_means_going_on_where_one_was() {
    let now = Instant::now();
    let mut registry = Registry::default();
    let (_, mut behind) = registry.join(Reader::with_room(1000), 0, now);
    deliver(&mut registry, &round(0..2));

    registry.take_off_all();

    let behind = behind.try_recv().unwrap().unwrap();
    assert_eq!((behind.rest.len(), behind.cursor), (0, 2));
    assert_eq!(deliver(&mut registry, &round(2..3)), HandOver::default());
}

#[test]
fn the_memory_of_those_who_left_is_given_back() {
    let now = Instant::now();
    let mut registry = Registry::default();
    let places: Vec<_> = (0..100)
        .map(|_| registry.join(Reader::default(), 0, now))
        .collect();

    for (id, _) in places {
        registry.remove(id);
    }

    assert_eq!(registry.slots(), 0);
}

proptest! {
    /// Whatever place a client's socket is full at, what it took, the rest, and the log from the
    /// cursor on are the stream, each byte once.
    #[test]
    fn what_was_taken_and_what_is_left_are_the_whole(
        first in 0..5_u64,
        events in 1..6_u64,
        has in 0..6_u64,
        room in 0..400_usize,
    ) {
        let end = first + events;
        let start = (first + has).min(end);
        let reader = Reader::with_room(room);
        let mut registry = Registry::default();
        let (_, mut behind) = registry.join(reader.clone(), start, Instant::now());

        let handed_over = deliver(&mut registry, &round(first..end));

        let (rest, cursor) = match behind.try_recv() {
            Ok(behind) => {
                let behind = behind.unwrap();
                (String::from_utf8(behind.rest.to_vec()).unwrap(), behind.cursor)
            }
            Err(_) => (String::new(), end),
        };
        prop_assert_eq!(reader.text() + &rest + &chunks(cursor..end), chunks(start..end));
        prop_assert_eq!(handed_over.delivered, cursor - start);
        prop_assert_eq!(handed_over.bytes, reader.text().len() as u64);
        prop_assert!(rest.is_empty() || rest.len() < chunks(cursor - 1..cursor).len());
    }
}
