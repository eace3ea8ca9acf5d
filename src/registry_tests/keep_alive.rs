//! Who gets nothing for long is told that the server is there, or its place.

use super::*;

/// Sends whoever got nothing for `idle` a comment, or its place, which is 1-`place`.
fn keep_alive<O: Outlet>(registry: &mut Registry<O>, place: u64, idle: Duration, now: Instant) {
    let place = wire::place(EventId {
        epoch: 1,
        seq: place,
    });
    for group in registry.groups() {
        let slots = 0..registry.slots(group);
        let part = Part { group, slots };
        registry.keep_alive(&wire::heartbeat(), &place, part, idle, now);
    }
}

#[test]
fn only_the_idle_get_a_comment() {
    let start = Instant::now();
    let idle = Duration::from_secs(15);
    let mut registry = registry();
    let x = selection(&["x"]);
    let (early, late) = (Reader::with_room(100), Reader::with_room(100));
    let _early = registry.join(&x, early.clone(), at(0), start);
    let _late = registry.join(&x, late.clone(), at(0), start + idle / 2);

    keep_alive(&mut registry, 0, idle, start + idle);
    keep_alive(&mut registry, 0, idle, start + idle);

    assert_eq!(early.text(), "3\r\n:\n\n\r\n");
    assert_eq!(late.text(), "");
}

#[test]
fn a_comment_that_does_not_fit_is_what_comes_next() {
    let now = Instant::now();
    let mut registry = registry();
    let x = selection(&["x"]);
    let (_, mut behind) = registry.join(&x, Reader::with_room(3), at(7), now);

    keep_alive(&mut registry, 0, Duration::ZERO, now);

    assert_eq!(
        behind.try_recv().unwrap().unwrap(),
        Behind {
            rest: Bytes::from_static(b":\n\n\r\n"),
            place: at(7)
        }
    );
}

#[test]
fn who_is_passed_by_is_told_its_place_and_resumes_from_there() {
    let now = Instant::now();
    let mut registry = registry();
    let (x, y) = (selection(&["x"]), selection(&["y"]));
    let (passed, served) = (Reader::with_room(1000), Reader::with_room(1000));
    let (id, _behind) = registry.join(&y, passed.clone(), at(0), now);
    let _served = registry.join(&x, served.clone(), at(0), now);

    deliver(&mut registry, 0..3);
    keep_alive(&mut registry, 2, Duration::ZERO, now);
    keep_alive(&mut registry, 2, Duration::ZERO, now);

    assert_eq!(passed.text(), "9\r\nid: 1-2\n\n\r\n3\r\n:\n\n\r\n");
    assert_eq!(served.text(), chunks(0..3) + "3\r\n:\n\n\r\n3\r\n:\n\n\r\n");
    assert_eq!(registry.leave(id), Some(at(3)));
    assert_eq!(registry.leave(id), None);
}
