//! A log file that another program changes while the server has it open.

use super::*;
use crate::support::client::get;

/// Asserts that no event is acknowledged after `change`, and that the log says why.
fn assert_refuses_after(node: &Node, server: &Process, change: impl FnOnce()) {
    assert_eq!(node.publish("topic=a&data=before").status(), 200);

    change();

    for _ in 0..3 {
        assert_eq!(node.publish("topic=a&data=refused").status(), 503);
    }
    assert_eq!(get(node.addr(), "/readyz").status(), 503);
    let metrics = get(node.addr(), "/metrics").body;
    assert!(
        metrics.contains("\nbroadcaster_log_writable 0\n"),
        "{metrics}"
    );
    server.wait_for_log("it was deleted, moved, replaced or cut by another program");
}

#[test]
fn a_log_file_that_is_moved_and_put_back_continues_without_loss() {
    let node = Node::new(QUIET);
    let server = node.start();
    let first = node.publish("topic=a&data=first").body;
    let away = node.folder.path().join("away");

    assert_refuses_after(&node, &server, || fs::rename(node.path(), &away).unwrap());
    fs::rename(&away, node.path()).unwrap();

    let last = eventually("the file to be used again", || {
        let answer = node.publish("topic=a&data=last");
        (answer.status() == 200).then_some(answer.body)
    });
    server.wait_for_log("can be written again");
    let metrics = get(node.addr(), "/metrics").body;
    assert!(
        metrics.contains("\nbroadcaster_log_writable 1\n"),
        "{metrics}"
    );
    let mut stream = node.resume(&format!("{HUB}?match=a"), &first);
    let events = [stream.event().unwrap(), stream.event().unwrap()];
    assert_eq!(events[0].data, "before");
    assert_eq!(events[1].id.as_ref(), Some(&last));
}

#[test]
fn publishing_is_refused_after_the_log_file_is_deleted_replaced_or_truncated() {
    let node = Node::new(QUIET);
    let server = node.start();
    node.publish("topic=a&data=old");
    stop(server);
    let copy = fs::read(node.path()).unwrap();
    let changes: [&dyn Fn(); 3] = [
        &|| fs::remove_file(node.path()).unwrap(),
        &|| {
            fs::remove_file(node.path()).unwrap();
            fs::write(node.path(), &copy).unwrap();
        },
        &|| fs::write(node.path(), b"").unwrap(),
    ];
    for change in changes {
        fs::write(node.path(), &copy).unwrap();
        let server = node.start();
        assert_refuses_after(&node, &server, change);
        assert_eq!(node.publish("topic=a&data=refused").status(), 503);
    }
}

#[test]
fn a_missing_log_file_is_reported_if_events_were_acknowledged() {
    let node = Node::new(QUIET);
    let server = node.start();
    let last = node.publish("topic=a&data=x").body;
    stop(server);
    fs::remove_file(node.path()).unwrap();

    let server = node.start();
    server.wait_for_log(
        "is missing, although events.redb.acknowledged says that event 1 was acknowledged",
    );
    let mut stream = node.resume(&format!("{HUB}?match=a"), &last);
    assert_eq!(stream.event().unwrap().gap()["reason"], "epoch");
}
