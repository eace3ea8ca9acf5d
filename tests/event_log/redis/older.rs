//! Events that are no longer in a node's memory are read from Redis.

use sse_broadcaster::EventId;

use super::nodes::Cluster;
use crate::support::{client::get, redis::Redis};

/// A config with a history of ten events and a queue of one.
const SHORT: &str = "[ticker]\nenabled = false\n[stream]\nhistory = 10\nqueue = 1\n";

fn publish(cluster: &Cluster, count: usize) -> Vec<String> {
    (0..count)
        .map(|n| cluster.published(n % cluster.nodes.len(), &format!("topic=a&data={n}")))
        .collect()
}

#[test]
fn a_long_resume_gets_every_event_in_order_and_then_live_events() {
    let cluster = Cluster::start(2, SHORT);
    let mut ids = publish(&cluster, 300);

    for (from, skipped) in [
        ("earliest", 0),
        (&*ids[17].clone(), 18),
        (&*ids[289].clone(), 290),
    ] {
        let mut stream = cluster.resume(0, from);
        for (n, id) in ids.iter().enumerate().skip(skipped) {
            let event = stream.event().unwrap();
            assert_eq!((event.data, event.id.as_ref()), (n.to_string(), Some(id)));
        }
        ids.push(cluster.published(1, &format!("topic=a&data={}", ids.len())));
        assert_eq!(stream.event().unwrap().id.as_ref(), ids.last());
    }
}

#[test]
fn a_long_resume_gets_only_the_requested_topics() {
    let cluster = Cluster::start(1, SHORT);
    let first = cluster.published(0, "topic=b&data=first");
    cluster.published(0, "topic=b&data=secret&private=on");
    publish(&cluster, 100);
    let second = cluster.published(0, "topic=b&data=second");
    publish(&cluster, 100);

    let mut stream = cluster.resume_on(0, "b", "earliest");

    for id in [first, second] {
        assert_eq!(stream.event().unwrap().id, Some(id));
    }
    let third = cluster.published(0, "topic=b&data=third");
    assert_eq!(stream.event().unwrap().id, Some(third));
}

#[test]
fn an_id_chosen_by_a_publisher_is_found_in_redis_after_memory_evicted_it() {
    let cluster = Cluster::start(2, SHORT);
    cluster.published(0, "topic=a&data=named&id=urn:1");
    let ids = publish(&cluster, 50);

    let mut stream = cluster.resume(1, "urn:1");
    let unknown = cluster.resume(1, "urn:2").event().unwrap().gap();

    assert_eq!(stream.header("mercure-last-event-id"), Some("urn:1"));
    assert_eq!(stream.event().unwrap().id.as_ref(), ids.first());
    assert_eq!(unknown["reason"], "unknown");
}

#[test]
fn events_that_redis_evicted_are_reported_as_a_gap() {
    let cluster = Cluster::start(1, SHORT);
    let ids = publish(&cluster, 10);
    let bare = &ids[7][1..];
    let log = "{broadcaster}:log";
    cluster.redis.command(&["XTRIM", log, "MINID", bare]);
    publish(&cluster, 30);

    let mut stream = cluster.resume(0, &ids[2]);
    let gap = stream.event().unwrap().gap();

    assert_eq!(
        (&gap["reason"], &gap["requested"]),
        (&"evicted".into(), &(&*ids[2]).into())
    );
    // `missed` is null, because the topics of evicted events are not known.
    assert_eq!(
        (&gap["missed"], &gap["resumed_after"]),
        (&serde_json::Value::Null, &(&*ids[6]).into())
    );
    assert_eq!(stream.header("mercure-last-event-id"), Some("earliest"));
    assert_eq!(stream.event().unwrap().id.as_ref(), Some(&ids[7]));
}

#[test]
fn a_reader_slower_than_the_memory_history_catches_up_from_redis_without_loss() {
    let cluster = Cluster::start(1, SHORT);
    let large = "x".repeat(100_000);
    let mut stream = cluster.resume(0, "earliest");

    let ids: Vec<_> = (0..200)
        .map(|_| cluster.published(0, &format!("topic=a&data={large}")))
        .collect();

    for id in ids {
        let event = stream.event().unwrap();
        assert_eq!((event.name, event.id), (None, Some(id)));
    }
}

#[test]
fn a_rejected_subscriber_gets_its_position_without_a_lookup_in_redis() {
    let redis = Redis::start();
    let url = redis.url();
    let one = [("BROADCASTER__SERVER__MAX_SUBSCRIBERS", "1")];
    let cluster = Cluster::with_url(redis, &url, SHORT, &one);
    let ids = publish(&cluster, 30);
    let _first = cluster.resume(0, &ids[29]);
    let place = |id: &str| {
        let turned_away = cluster.resume(0, id);
        assert_eq!(turned_away.status(), 200);
        turned_away
            .header("mercure-last-event-id")
            .map(str::to_owned)
    };

    assert_eq!(
        place(&ids[29]).as_ref(),
        Some(&ids[29]),
        "the event is in memory"
    );
    for old in [&*ids[2], "urn:x", "earliest"] {
        assert_eq!(place(old).as_deref(), Some("earliest"), "{old}");
    }
    assert_eq!(place(""), None);
}

#[test]
fn a_resume_that_needs_an_unreachable_redis_gets_a_retry_and_is_counted() {
    let mut cluster = Cluster::start(1, SHORT);
    let ids = publish(&cluster, 30);
    cluster.redis.kill();

    let mut turned_away = cluster.resume(0, &ids[2]);

    assert_eq!(
        turned_away.header("mercure-last-event-id"),
        Some("earliest")
    );
    let farewell = turned_away.block().unwrap();
    assert!(farewell.starts_with("retry: "), "{farewell}");
    turned_away.assert_ends();
    let metrics = get(cluster.nodes[0].addr(), "/metrics").body;
    let counted = "broadcaster_rejections_total{reason=\"log\"} 1\n";
    assert!(metrics.contains(counted), "{metrics}");
    // The node still delivers the events that it has in memory.
    let mut stream = cluster.resume(0, &ids[28]);
    assert_eq!(stream.event().unwrap().id.as_ref(), Some(&ids[29]));
}

#[test]
fn the_first_checkpoint_of_a_resume_from_redis_is_where_the_stream_starts() {
    let cluster = Cluster::start(1, SHORT);
    let before_the_first = cluster.resume(0, "").checkpoint().unwrap();
    let ids = publish(&cluster, 30);
    let missed = cluster.resume(0, &before_the_first).event().unwrap();

    // Redis keeps `ids[7]` and later. Memory has only the newest ten.
    cluster
        .redis
        .command(&["XTRIM", "{broadcaster}:log", "MINID", &ids[7][1..]]);
    let mut from_history = cluster.resume(0, "earliest");
    let mut from_now = cluster.resume(0, "");

    assert_eq!(missed.id.as_ref(), Some(&ids[0]));
    // The checkpoint is the id before the oldest event, whether or not that id was a presence event.
    let mut oldest: EventId = ids[7].parse().unwrap();
    oldest.seq -= 1;
    assert_eq!(from_history.checkpoint(), Some(oldest.to_string()));
    assert_eq!(from_history.event().unwrap().id.as_ref(), Some(&ids[7]));
    let newest: EventId = ids[29].parse().unwrap();
    assert!(from_now.checkpoint().unwrap().parse::<EventId>().unwrap() >= newest);
}
