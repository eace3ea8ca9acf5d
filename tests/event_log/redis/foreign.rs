//! Entries of other programs in the log, with ids that are too large for a broadcaster.

use super::nodes::{Cluster, QUIET};
use crate::support::eventually;

const LOG: &str = "{broadcaster}:log";
const ABOUT: &str = "{broadcaster}:about";
const NODES: &str = "{broadcaster}:nodes";

/// Waits until the node of each cluster has sent this many more heartbeats.
fn wait_for_heartbeats(clusters: &[Cluster], count: usize) {
    let last = |cluster: &Cluster| {
        let range = ["ZRANGE", NODES, "0", "-1", "WITHSCORES"];
        cluster.redis.command(&range)
    };
    for _ in 0..count {
        let before: Vec<_> = clusters.iter().map(last).collect();
        for (cluster, before) in clusters.iter().zip(before) {
            eventually("a heartbeat", || (last(cluster) != before).then_some(()));
        }
    }
}

#[test]
fn the_log_keeps_its_events_after_a_foreign_epoch_of_any_size() {
    let (largest_of_ids, largest) = (1_u64 << 51, 1_u64 << 52);
    let of_ids = [largest_of_ids, largest - 1, largest, largest + 1];
    let ids = of_ids.map(|epoch| format!("{epoch}-1"));
    let adds = ids
        .iter()
        .map(|id| ["XADD", LOG, id.as_str(), "field", "theirs"]);
    let mut clusters: Vec<_> = adds.map(|add| damaged_by(&add)).collect();
    let epoch = largest.to_string();
    clusters.push(damaged_by(&["HSET", ABOUT, "epoch", &epoch]));

    // The first heartbeats may begin new epochs. Those afterwards must not.
    wait_for_heartbeats(&clusters, 3);
    let kept: Vec<_> = clusters
        .iter()
        .map(|cluster| cluster.published_at_last(0, "topic=a&data=kept"))
        .collect();
    wait_for_heartbeats(&clusters, 3);

    for (cluster, kept) in clusters.iter().zip(kept) {
        let mut stream = cluster.resume(0, &kept);
        let next = cluster.published(0, "topic=a&data=next");
        let event = stream.event().unwrap();
        assert_eq!((event.name, event.id), (None, Some(next)), "after {kept}");
        let range = ["XRANGE", LOG, &kept[1..], &kept[1..]];
        assert!(!cluster.redis.command(&range).is_empty(), "{kept}");
    }
}

/// Starts a cluster with an event in its log, and then runs this command of another program.
fn damaged_by(command: &[&str]) -> Cluster {
    let cluster = Cluster::start(1, QUIET);
    cluster.published(0, "topic=a&data=first");
    cluster.redis.command(command);
    cluster
}

/// Ends a waiting `XREAD` of the node as if no entry had arrived in time.
fn end_a_read(cluster: &Cluster) {
    eventually("a waiting read", || {
        let clients = cluster.redis.command(&["CLIENT", "LIST"]);
        let reads = clients.lines().find(|line| line.contains(" cmd=xread "))?;
        let id = reads.split(' ').find_map(|field| field.strip_prefix("id="));
        let ended = cluster
            .redis
            .command(&["CLIENT", "UNBLOCK", id?, "TIMEOUT"]);
        (ended == "1").then_some(())
    });
}

#[test]
fn older_events_are_not_delivered_again_after_a_foreign_entry() {
    let cluster = Cluster::start(1, QUIET);
    let ids: Vec<_> = (0..3)
        .map(|n| cluster.published(0, &format!("topic=a&data={n}")))
        .collect();
    let mut stream = cluster.resume(0, &ids[0]);
    for id in &ids[1..] {
        assert_eq!(stream.event().unwrap().id.as_ref(), Some(id));
    }

    // A heartbeat fails while this key has another type, so it does not replace the log.
    cluster.redis.command(&["SET", NODES, "theirs"]);
    cluster
        .redis
        .command(&["XADD", LOG, "9007199254740993-1", "field", "theirs"]);
    stream.event().unwrap().gap();
    for _ in 0..3 {
        end_a_read(&cluster);
    }
    cluster.redis.command(&["DEL", NODES]);
    let next = cluster.published_at_last(0, "topic=a&data=next");

    let event = eventually("the event", || {
        stream.event().filter(|event| event.name.is_none())
    });
    assert_eq!(event.id, Some(next));
}
