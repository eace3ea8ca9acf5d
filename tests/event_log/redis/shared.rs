//! An event that is published at one node reaches the subscribers of all nodes.

use std::{thread, time::Duration};

use super::nodes::{Cluster, QUIET};
use crate::support::client::{Stream, get};

#[test]
fn an_event_reaches_the_subscribers_of_every_node_with_the_same_bytes() {
    let cluster = Cluster::start(3, QUIET);
    let mut streams: Vec<_> = (0..3)
        .map(|node| cluster.resume(node, "earliest"))
        .collect();

    let ids: Vec<_> = (0..3)
        .map(|node| cluster.published(node, &format!("topic=a&data=one%0A{node}&type=t")))
        .collect();

    let mut expected = Vec::new();
    for (node, id) in ids.iter().enumerate() {
        expected.push(format!("id: {id}\nevent: t\ndata: one\ndata: {node}\n\n"));
    }
    for stream in &mut streams {
        let mut blocks = Vec::new();
        while blocks.len() < 3 {
            blocks.extend(stream.block().filter(|block| !block.starts_with("retry:")));
        }
        assert_eq!(blocks, expected);
    }
}

#[test]
fn a_subscriber_that_leaves_one_node_resumes_at_another() {
    let cluster = Cluster::start(2, QUIET);
    let ids: Vec<_> = (0..10)
        .map(|n| cluster.published(n % 2, &format!("topic=a&data={n}")))
        .collect();

    for node in 0..2 {
        let mut stream = cluster.resume(node, &ids[4]);
        assert_eq!(stream.header("mercure-last-event-id"), Some(&*ids[4]));
        for (n, id) in ids.iter().enumerate().skip(5) {
            let event = stream.event().unwrap();
            assert_eq!((event.data, event.id.as_ref()), (n.to_string(), Some(id)));
        }
    }
}

#[test]
fn all_nodes_share_one_sequence_of_numbered_messages() {
    let cluster = Cluster::start(3, "[ticker]\ninterval = '20ms'\n");
    let mut streams: Vec<_> = cluster.addrs().into_iter().map(Stream::open).collect();

    let first = streams[0].event().unwrap();
    let number = |data: &str| data.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
    let mut next = number(&first.data);
    for _ in 0..200 {
        next += 1;
        let event = streams[0].event().unwrap();
        assert_eq!(event.data, format!("Message number: {next}"));
    }
    for stream in &mut streams[1..] {
        let mut seen = Vec::new();
        while seen.last() != Some(&next) {
            seen.push(number(&stream.event().unwrap().data));
        }
        let first = seen[0];
        assert!(seen.into_iter().eq(first..=next));
    }
}

#[test]
fn numbers_continue_after_all_nodes_were_down() {
    let mut cluster = Cluster::start(2, "[ticker]\ninterval = '20ms'\n");
    let mut stream = Stream::open(cluster.nodes[0].addr());
    let last = stream.event().unwrap();
    for node in &mut cluster.nodes {
        node.stop();
    }
    for node in &mut cluster.nodes {
        node.start();
    }

    let mut stream = Stream::resume(cluster.nodes[1].addr(), last.id.as_deref());

    let number = |data: &str| data.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
    for n in number(&last.data) + 1..number(&last.data) + 50 {
        let event = stream.event().unwrap();
        assert_eq!(
            (event.name, event.data),
            (None, format!("Message number: {n}"))
        );
    }
}

#[test]
fn without_redis_streams_stay_open_and_publishing_is_refused() {
    let mut cluster = Cluster::start(1, &format!("{QUIET}[stream]\nheartbeat = '200ms'\n"));
    let first = cluster.published(0, "topic=a&data=0");
    let mut stream = cluster.resume(0, "earliest");
    assert_eq!(stream.event().unwrap().id, Some(first.clone()));
    let node = &cluster.nodes[0];

    cluster.redis.kill();
    node.wait_until_ready(false);
    let refused = cluster.publish(0, "topic=a&data=1");
    assert_eq!(refused.status(), 503);
    assert!(refused.header("retry-after").is_some());
    assert_eq!(get(node.addr(), "/healthz").status(), 200);
    node.process()
        .wait_for_log("cannot be written, so publishing is refused until it can");
    for _ in 0..3 {
        assert_eq!(stream.chunk().unwrap(), b":\n");
    }
    // A stream can resume within memory. A stream that needs Redis is ended, so that its client retries
    // later.
    let mut resumed = cluster.resume(0, &first);
    let unknown = cluster.resume(0, "1-1");
    assert_eq!((resumed.status(), unknown.status()), (200, 200));
    unknown.assert_ends();

    cluster.redis.run();
    cluster.nodes[0].wait_until_ready(true);
    let second = cluster.published_at_last(0, "topic=a&data=2");
    for stream in [&mut stream, &mut resumed] {
        let event = stream.event().unwrap();
        assert_eq!((event.name, event.id), (None, Some(second.clone())));
    }
    // A new epoch continues after the last event of the old one, so nothing is missing.
    let mut again = cluster.resume(0, &first);
    assert_eq!(again.event().unwrap().id, Some(second));
    cluster.nodes[0]
        .process()
        .wait_for_log("can be written again");
}

#[test]
fn a_slow_network_to_redis_delays_events_without_loss() {
    let cluster = Cluster::start(2, QUIET);
    let mut stream = cluster.resume(1, "earliest");
    for node in &cluster.nodes {
        node.network.delay(Duration::from_millis(30));
    }

    thread::scope(|scope| {
        for publisher in 0..4 {
            let cluster = &cluster;
            scope.spawn(move || {
                for n in 0..10 {
                    cluster.published(n % 2, &format!("topic=a&data={publisher}-{n}"));
                }
            });
        }
    });

    let first = stream.event().unwrap().index();
    assert!(stream.numbers(39).into_iter().eq(first + 1..first + 40));
}

#[test]
fn a_redis_restored_from_a_backup_is_reported_as_a_gap_and_no_id_is_given_twice() {
    let mut cluster = Cluster::start(2, QUIET);
    let kept = cluster.published(0, "topic=a&data=kept");
    cluster.redis.back_up();
    cluster.wait_until_ready();
    let lost = cluster.published_at_last(1, "topic=a&data=lost");
    let mut live = cluster.resume(0, &kept);
    assert_eq!(live.event().unwrap().id.as_ref(), Some(&lost));

    cluster.redis.restore();
    cluster.wait_until_ready();
    let next = cluster.published_at_last(0, "topic=a&data=next");

    // Redis lost this event. Subscribers that received it get a gap, both those still connected and those
    // that reconnect to either node.
    let mut again = [cluster.resume(0, &lost), cluster.resume(1, &lost)];
    for stream in again.iter_mut().chain([&mut live]) {
        assert_eq!(stream.event().unwrap().gap()["reason"], "epoch");
        assert_eq!(stream.event().unwrap().id.as_ref(), Some(&next));
    }
    assert_ne!(next, lost);
    // Subscribers that never received it missed an acknowledged event, so they also get a gap.
    cluster.nodes[1].kill();
    cluster.nodes[1].start();
    let mut before = cluster.resume(1, &kept);
    assert_eq!(before.event().unwrap().gap()["reason"], "epoch");
    assert_eq!(before.event().unwrap().id, Some(next));
}

#[test]
fn acknowledged_events_that_redis_lost_are_a_gap_also_for_subscribers_that_never_received_them() {
    let mut cluster = Cluster::start(2, QUIET);
    let kept = cluster.published(0, "topic=a&data=kept");
    let mut stream = cluster.resume(1, &kept);
    cluster.redis.back_up();
    cluster.wait_until_ready();
    // This node does not receive the event that Redis will lose.
    cluster.nodes[1].network.cut();
    cluster.published_at_last(0, "topic=a&data=lost");

    cluster.redis.restore();
    cluster.nodes[0].wait_until_ready(true);
    cluster.nodes[1].network.mend();
    cluster.nodes[1].wait_until_ready(true);
    let next = cluster.published_at_last(1, "topic=a&data=next");

    // The event may have been on its way to this node when the network was cut, so it may still be delivered.
    let mut told = stream.event().unwrap();
    if told.data == "lost" {
        told = stream.event().unwrap();
    }
    assert_eq!(told.gap()["reason"], "epoch");
    assert_eq!(stream.event().unwrap().id, Some(next));
}

#[test]
fn publishing_is_refused_until_redis_has_free_memory_again() {
    let cluster = Cluster::start(1, QUIET);
    let first = cluster.published(0, "topic=a&data=first");
    let mut stream = cluster.resume(0, &first);
    cluster.redis.command(&["CONFIG", "SET", "maxmemory", "1"]);

    let node = &cluster.nodes[0];
    node.wait_until_ready(false);
    assert_eq!(cluster.publish(0, "topic=a&data=refused").status(), 503);
    assert!(!node.is_ready());
    assert!(!node.process().stderr().contains("can be written again"));

    cluster.redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    node.wait_until_ready(true);
    let second = cluster.published(0, "topic=a&data=second");
    let event = stream.event().unwrap();
    assert_eq!((event.name, event.id), (None, Some(second)));
}
