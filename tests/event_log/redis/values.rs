//! The current values of topics in Redis, and streams that begin at a time.

use std::{thread::sleep, time::Duration};

use super::nodes::{Cluster, QUIET};
use crate::support::{client::Stream, eventually};

const LOG: &str = "{broadcaster}:log";
const VALUES: &str = "{broadcaster}:values";
const ORDER: &str = "{broadcaster}:value-order";
const ABOUT: &str = "{broadcaster}:about";

/// Nodes with a short history in memory, and limits of the values.
fn cluster(nodes: usize) -> Cluster {
    let stream = "[stream]\nhistory = 2\nretained_topics = 5\nretained_bytes = 100000\n";
    Cluster::start(nodes, &format!("{QUIET}{stream}"))
}

fn open(cluster: &Cluster, node: usize, query: &str) -> Stream {
    let target = format!("/.well-known/mercure?{query}");
    Stream::request(cluster.nodes[node].addr(), &target, b"")
}

/// The data of all values, and whether they are complete.
fn snapshot(cluster: &Cluster, node: usize) -> (Vec<String>, bool) {
    let mut stream = open(cluster, node, "match=*&snapshot=1");
    let mut values = Vec::new();
    loop {
        let event = stream.event_or_checkpoint();
        match event.name.as_deref() {
            None => values.push(event.data),
            name => {
                assert_eq!(name, Some("checkpoint"));
                return (values, event.data.contains("complete"));
            }
        }
    }
}

fn assert_snapshot(cluster: &Cluster, node: usize, values: &[&str], is_complete: bool) {
    eventually(&format!("the values {values:?}"), || {
        let (found, complete) = snapshot(cluster, node);
        (found == values && complete == is_complete).then_some(())
    });
}

/// The number of values in Redis, their bytes, and the number of private ones, as the scripts count them.
fn counters(cluster: &Cluster) -> [usize; 3] {
    let counters = cluster.redis.command(&["HGET", ABOUT, "values"]);
    let mut counters = counters.split(' ').map(|number| number.parse().unwrap());
    std::array::from_fn(|_| counters.next().unwrap())
}

#[test]
fn values_outlive_the_stream_and_every_node_has_them() {
    let mut cluster = cluster(2);
    let publish = |form: &str| cluster.published(0, form);
    publish("topic=both&topic=cleared&data=both");
    publish("topic=a&data=a");
    publish("topic=secret&data=public");
    publish("topic=secret&data=hidden&private=on");
    publish("topic=cleared&data=");
    for n in 0..5 {
        publish(&format!("topic=z&data={n}"));
    }
    let values = ["both", "a", "public", "4"];
    assert_snapshot(&cluster, 1, &values, true);

    cluster.redis.command(&["XTRIM", LOG, "MAXLEN", "1"]);
    cluster.nodes[1].stop();
    cluster.nodes[1].start();

    assert_snapshot(&cluster, 1, &values, true);
    let target = "/.well-known/mercure?match=secret&snapshot=1";
    let headers = format!("Authorization: Bearer {}\r\n", cluster.token);
    let mut authorized = Stream::request(cluster.nodes[1].addr(), target, headers.as_bytes());
    assert_eq!(authorized.event().unwrap().data, "hidden");
    // A node that starts without any event in the stream has them too.
    cluster.redis.command(&["XTRIM", LOG, "MAXLEN", "0"]);
    cluster.nodes[0].stop();
    cluster.nodes[0].start();
    assert_snapshot(&cluster, 0, &values, true);
    cluster.published(0, "topic=a&data=");
    assert_snapshot(&cluster, 0, &["both", "public", "4"], true);
}

#[test]
fn the_counters_of_the_values_are_right_whatever_is_published() {
    let cluster = cluster(1);
    let mut random = fastrand::Rng::with_seed(1);
    for n in 0..300 {
        let topics: Vec<_> = (0..=random.usize(0..2))
            .map(|_| format!("topic={}", random.u8(0..8)))
            .collect();
        let private = if random.bool() { "&private=on" } else { "" };
        let data = "x".repeat(if random.u8(0..3) == 0 { 0 } else { n });
        cluster.published(0, &format!("{}{private}&data={data}", topics.join("&")));
    }

    let fields = cluster.redis.command(&["HKEYS", VALUES]);
    let fields: Vec<_> = fields.lines().collect();
    let length = |field: &&str| {
        let length = cluster.redis.command(&["HSTRLEN", VALUES, field]);
        field.len() + length.parse::<usize>().unwrap()
    };
    let bytes = fields.iter().map(length).sum();
    let private = fields.iter().filter(|field| field.starts_with('-')).count();
    assert_eq!(counters(&cluster), [fields.len(), bytes, private]);
    let ordered = cluster.redis.command(&["ZRANGE", ORDER, "0", "-1"]);
    assert_eq!(ordered.lines().count(), fields.len());
    // A private event without data is there only while it hides a public value.
    for topic in 0..8 {
        let private = cluster
            .redis
            .command(&["HGET", VALUES, &format!("-{topic}")]);
        let public = cluster
            .redis
            .command(&["HGET", VALUES, &format!("+{topic}")]);
        assert!(
            !private.ends_with('}') || !public.is_empty(),
            "{topic}: {private}"
        );
    }
}

#[test]
fn redis_drops_the_values_that_were_updated_least_recently() {
    let mut cluster = cluster(1);
    for topic in ["a", "b", "c", "d", "e", "a", "f"] {
        cluster.published(0, &format!("topic={topic}&data={topic}"));
    }
    let values = ["c", "d", "e", "a", "f"];
    assert_snapshot(&cluster, 0, &values, false);

    cluster.nodes[0].stop();
    cluster.nodes[0].start();

    assert_snapshot(&cluster, 0, &values, false);
    cluster.published(0, &format!("topic=large&data={}", "x".repeat(99_900)));
    assert_eq!(counters(&cluster)[0], 1);
    // An event that exceeds the limit alone does not push out the others.
    let larger = "x".repeat(101_000);
    cluster.published(0, &format!("topic=larger&topic=large&data={larger}"));
    cluster.published(0, "topic=small&data=small");
    cluster.published(0, &format!("topic=larger&data={larger}"));
    assert_eq!(counters(&cluster)[0], 1);
    cluster.nodes[0].stop();
    cluster.nodes[0].start();
    assert_snapshot(&cluster, 0, &["small"], false);
}

#[test]
fn if_the_values_are_lost_or_changed_snapshots_say_that_they_are_partial() {
    let mut cluster = cluster(2);
    cluster.published(0, "topic=a&data=a");
    cluster.published(0, "topic=b&data=b");
    for command in [
        &["DEL", VALUES, ORDER][..],
        &["SET", VALUES, "foreign"],
        &["HSET", VALUES, "+x", "foreign", "foreign", "y"],
        &["ZADD", ORDER, "1", "x"],
        &["SET", ORDER, "foreign"],
        &["HSET", ABOUT, "values", "1 2 many 4"],
        &["HSET", ABOUT, "values", "0 3000000 0 50"],
        &["HSET", ABOUT, "values", "2 60 9 50"],
    ] {
        cluster.redis.command(command);
        cluster.nodes[1].stop();
        cluster.nodes[1].start();
        // Publishing continues, with values that are certain.
        cluster.published(0, "topic=b&data=new");
        cluster.published(0, "topic=b&data=new");
        eventually("a partial snapshot", || {
            let is_partial = |node| !snapshot(&cluster, node).1;
            (is_partial(0) && is_partial(1)).then_some(())
        });
        let mut certain = open(&cluster, 1, "match=b&snapshot=1");
        assert_eq!(certain.event_or_checkpoint().data, "new");
        assert_eq!(
            certain.event_or_checkpoint().data,
            r#"{"snapshot":"complete"}"#,
            "{command:?}"
        );
    }
}

#[test]
fn wrong_bytes_of_the_values_never_stop_publishing() {
    let cluster = cluster(1);
    cluster.published(0, "topic=a&data=a");
    cluster.published(0, "topic=b&data=b");
    cluster
        .redis
        .command(&["HSET", ABOUT, "values", "2 99999999 0 50"]);

    let mut stream = open(&cluster, 0, "match=a");
    for data in ["c", "d"] {
        cluster.published(0, &format!("topic=a&data={data}"));
        assert_eq!(stream.event().unwrap().data, data);
    }
    assert_eq!(counters(&cluster)[0], 1);
    eventually("a partial snapshot", || {
        (!snapshot(&cluster, 0).1).then_some(())
    });
}

#[test]
fn a_node_that_starts_after_a_loss_knows_which_values_are_newer() {
    let mut cluster = cluster(1);
    for topic in ["old", "new"] {
        cluster.published(0, &format!("topic={topic}&data=1"));
    }
    cluster.redis.command(&["HSET", ABOUT, "others", "foreign"]);
    cluster.nodes[0].wait_until_ready(true);
    eventually("a new epoch after the loss", || {
        let lost = cluster.redis.command(&["HGET", ABOUT, "values_lost_until"]);
        (!lost.is_empty()).then_some(())
    });
    cluster.published(0, "topic=new&data=2");
    // The node knows the value from the events, and then only from the values.
    for _ in 0..2 {
        cluster.nodes[0].stop();
        cluster.nodes[0].start();
        for (topic, data, state) in [("old", "1", "partial"), ("new", "2", "complete")] {
            let mut stream = open(&cluster, 0, &format!("match={topic}&snapshot=1"));
            assert_eq!(stream.event_or_checkpoint().data, data);
            let end = format!("{{\"snapshot\":\"{state}\"}}");
            assert_eq!(stream.event_or_checkpoint().data, end, "{topic}");
        }
        cluster.redis.command(&["XTRIM", LOG, "MAXLEN", "0"]);
    }
}

#[test]
fn a_node_that_missed_events_reads_the_values_again() {
    let cluster = cluster(2);
    cluster.published(0, "topic=a&data=a");
    cluster.published(0, "topic=b&data=b");
    assert_snapshot(&cluster, 1, &["a", "b"], true);
    let mut stream = open(&cluster, 1, "match=*&snapshot=1");
    for data in ["a", "b"] {
        assert_eq!(stream.event().unwrap().data, data);
    }

    cluster.nodes[1].network.cut();
    cluster.nodes[1].wait_until_ready(false);
    for form in ["topic=a&data=", "topic=b&data=missed", "topic=c&data=c"] {
        cluster.published(0, form);
    }
    cluster.redis.command(&["XTRIM", LOG, "MAXLEN", "1"]);
    cluster.nodes[1].network.mend();

    assert_eq!(stream.event().unwrap().gap()["reason"], "evicted");
    for data in ["missed", "c"] {
        assert_eq!(stream.event().unwrap().data, data);
    }
    assert_snapshot(&cluster, 1, &["missed", "c"], true);
}

#[test]
fn a_stream_begins_at_a_time() {
    let cluster = cluster(2);
    cluster.published(0, "topic=a&data=before");
    sleep(Duration::from_millis(20));
    let time = humantime::format_rfc3339_millis(std::time::SystemTime::now());
    sleep(Duration::from_millis(20));
    let first = cluster.published(0, "topic=a&data=first");
    for n in 0..5 {
        cluster.published(0, &format!("topic=a&data={n}"));
    }
    let since = |node, since: &str| open(&cluster, node, &format!("match=a&since={since}"));
    let data = |stream: &mut Stream| stream.event().unwrap().data;

    for node in 0..2 {
        let mut stream = since(node, &time.to_string());
        assert_eq!(data(&mut stream), "first");
        assert_eq!(data(&mut stream), "0");
        // Events before the log began may have been lost.
        let mut stream = since(node, "1h");
        assert_eq!(stream.event().unwrap().gap()["reason"], "epoch");
        assert_eq!(data(&mut stream), "before");
    }
    let mut later = since(1, "0s");
    let mut future = since(1, "2999-01-01T00:00:00Z");
    // Without the evicted events, the log knows when the newest of them was appended.
    cluster.redis.command(&["XTRIM", LOG, "MINID", &first[1..]]);
    let mut stream = since(1, &time.to_string());
    assert_eq!(stream.event().unwrap().id, Some(first));
    let mut stream = since(1, "1h");
    assert_eq!(stream.event().unwrap().gap()["reason"], "evicted");
    assert_eq!(data(&mut stream), "first");
    cluster.published(0, "topic=a&data=later");
    assert_eq!(data(&mut later), "later");
    assert_eq!(data(&mut future), "later");
    cluster.redis.command(&["XTRIM", LOG, "MAXLEN", "0"]);
    let mut stream = since(0, "1h");
    cluster.published(0, "topic=a&data=last");
    eventually("the last event", || {
        (data(&mut stream) == "last").then_some(())
    });
}

#[test]
fn a_gap_stays_when_the_start_of_an_epoch_is_evicted() {
    let cluster = cluster(1);
    let gap = |cluster: &Cluster| {
        let mut stream = open(cluster, 0, "match=a&since=1h");
        let event = stream.event_or_checkpoint();
        (event.name.as_deref() == Some("gap")).then(|| event.gap()["reason"].to_string())
    };
    let keep_last = |cluster: &Cluster| {
        cluster.redis.command(&["XTRIM", LOG, "MAXLEN", "1"]);
    };
    cluster.published(0, "topic=a&data=1");
    // Only the start of the log is missing before its first event.
    keep_last(&cluster);
    assert_eq!(gap(&cluster), None);

    // An epoch that loses nothing.
    cluster
        .redis
        .command(&["HSET", ABOUT, "process", "another"]);
    eventually("a new epoch", || {
        let epoch = cluster.redis.command(&["HGET", ABOUT, "seq"]);
        (epoch == "0").then_some(())
    });
    cluster.published(0, "topic=a&data=2");
    keep_last(&cluster);
    assert_eq!(gap(&cluster).as_deref(), Some("\"evicted\""));

    // An epoch after a loss.
    cluster.redis.command(&["DEL", LOG]);
    eventually("a new epoch", || {
        let epoch = cluster.redis.command(&["HGET", ABOUT, "seq"]);
        (epoch == "0").then_some(())
    });
    cluster.published(0, "topic=a&data=3");
    keep_last(&cluster);
    assert_eq!(gap(&cluster).as_deref(), Some("\"evicted\""));
}

#[test]
fn a_stream_that_begins_before_another_epoch_continues_in_it() {
    let mut cluster = cluster(1);
    cluster.published(0, "topic=a&data=0");
    let time = humantime::format_rfc3339_millis(std::time::SystemTime::now());
    sleep(Duration::from_millis(20));
    for n in 1..4 {
        cluster.redis.kill();
        cluster.redis.run();
        cluster.wait_until_ready();
        cluster.published_at_last(0, &format!("topic=a&data={n}"));
    }

    let mut stream = open(&cluster, 0, &format!("match=a&since={time}"));
    for n in 1..4 {
        assert_eq!(stream.event().unwrap().data, n.to_string());
    }
    assert_snapshot(&cluster, 0, &["3"], true);
}

#[test]
fn values_that_were_switched_off_for_a_while_are_not_restored() {
    let values = |topics| format!("{QUIET}[stream]\nhistory = 1\nretained_topics = {topics}\n");
    let on = Cluster::start(1, &values(5));
    on.published(0, "topic=a&data=old");
    let off = Cluster::with_redis(on.redis, 1, &values(0));
    off.published(0, "topic=a&data=new");
    off.published(0, "topic=b&data=b");

    let on = Cluster::with_redis(off.redis, 1, &values(5));
    on.published(0, "topic=c&data=c");

    eventually("the value of c", || {
        let (values, is_complete) = snapshot(&on, 0);
        (values.contains(&"c".to_owned()) && !values.contains(&"old".to_owned()) && !is_complete)
            .then_some(())
    });
}
