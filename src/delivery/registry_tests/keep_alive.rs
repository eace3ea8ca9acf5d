//! An idle client receives a comment, or a checkpoint if its last id may soon be evicted.

use super::*;

/// Sends a comment to each client that was sent nothing for `idle`. A client whose last id is from before
/// position `newer_half` receives the checkpoint `#1-<seq>` instead.
fn keep_alive<O: Outlet>(
    registry: &mut Registry<O>,
    (seq, newer_half): (u64, u64),
    idle: Duration,
    now: Instant,
) {
    let frames = KeepAlive {
        comment: wire::heartbeat(),
        checkpoint: Some(wire::checkpoint(EventId { epoch: 1, seq })),
        newer_half,
    };
    for group in registry.groups() {
        let slots = 0..registry.slots(group);
        registry.keep_alive(&frames, Part { group, slots }, idle, now);
    }
}

#[test]
fn only_idle_clients_get_a_comment() {
    let start = Instant::now();
    let idle = Duration::from_secs(15);
    let mut registry = registry();
    let x = selection(&["x"]);
    let (early, late) = (Reader::with_room(100), Reader::with_room(100));
    let _early = registry.join(&x, early.clone(), at(0), start);
    let _late = registry.join(&x, late.clone(), at(0), start + idle / 2);

    keep_alive(&mut registry, (0, 9), idle, start + idle);
    keep_alive(&mut registry, (0, 9), idle, start + idle);

    assert_eq!(early.text(), "2\r\n:\n\r\n");
    assert_eq!(late.text(), "");
}

#[test]
fn the_rest_of_a_comment_that_does_not_fit_is_sent_next() {
    let now = Instant::now();
    let mut registry = registry();
    let x = selection(&["x"]);
    let (_, mut lagging) = registry.join(&x, Reader::with_room(3), at(7), now);

    keep_alive(&mut registry, (0, 9), Duration::ZERO, now);

    assert_eq!(
        lagging.try_recv().unwrap().unwrap(),
        Lagging {
            rest: Bytes::from_static(b":\n\r\n"),
            position: at(7)
        }
    );
}

#[test]
fn a_client_whose_last_id_is_at_risk_gets_a_checkpoint_and_resumes_from_there() {
    const COMMENT: &str = "2\r\n:\n\r\n";
    const CHECKPOINT: &str = "25\r\nevent: checkpoint\nid: #1-2\ndata: {}\n\n\r\n";
    let now = Instant::now();
    let mut registry = registry();
    let (x, y) = (selection(&["x"]), selection(&["y"]));
    let (passed, served) = (Reader::with_room(1000), Reader::with_room(1000));
    let (id, _removed) = registry.join(&y, passed.clone(), at(0), now);
    let _served = registry.join(&x, served.clone(), at(0), now);

    deliver(&mut registry, 0..3);
    for newer_half in [0, 1, 2] {
        keep_alive(&mut registry, (2, newer_half), Duration::ZERO, now);
    }

    assert_eq!(passed.text(), [COMMENT, CHECKPOINT, COMMENT].concat());
    assert_eq!(served.text(), chunks(0..3) + &COMMENT.repeat(3));
    assert_eq!(registry.leave(id), Some(at(3)));
    assert_eq!(registry.leave(id), None);
}
