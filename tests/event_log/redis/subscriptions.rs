//! The active subscriptions of all nodes: the list, and the presence events about changes.

use serde_json::Value;

use super::nodes::{Cluster, HUB, QUIET};
use crate::support::{
    client::{Stream, request},
    eventually,
    mercure::bearer,
};

impl Cluster {
    fn watch(&self, node: usize) -> Stream {
        let target = format!("{HUB}?match_urlpattern={HUB}/subscriptions/:type/:match/:subscriber");
        Stream::request(
            self.nodes[node].addr(),
            &target,
            bearer(&self.token).as_bytes(),
        )
    }

    /// The topics of the active subscriptions, as listed by this node.
    pub fn listed(&self, node: usize) -> Vec<String> {
        let path = format!("{HUB}/subscriptions");
        let answer = request(self.nodes[node].addr(), "GET", &path, &bearer(&self.token));
        assert_eq!(answer.status(), 200, "{}", answer.body);
        let document: Value = serde_json::from_str(&answer.body).unwrap();
        let topics = document["subscriptions"].as_array().unwrap().iter();
        let topics = topics.map(|each| each["match"].as_str().unwrap().to_owned());
        let mut topics: Vec<_> = topics.filter(|topic| !topic.contains('/')).collect();
        topics.sort();
        topics
    }
}

/// Reads presence events up to the one with this topic and state. Returns the topic of each, and whether it
/// is active.
fn presence_until(stream: &mut Stream, topic: &str, active: bool) -> Vec<(String, bool)> {
    let mut all = Vec::new();
    loop {
        let event = stream.event().unwrap();
        let document: Value = serde_json::from_str(&event.data).unwrap();
        let told = document["match"].as_str().unwrap().to_owned();
        all.push((told.clone(), document["active"].as_bool().unwrap()));
        if told == topic && document["active"] == active {
            return all;
        }
    }
}

#[test]
fn each_node_announces_and_lists_the_subscriptions_of_all_nodes() {
    let cluster = Cluster::start(2, QUIET);
    let mut watching = cluster.watch(1);

    let a = cluster.resume_on(0, "a", "");
    let _b = cluster.resume_on(1, "b", "");

    presence_until(&mut watching, "b", true);
    for node in 0..2 {
        eventually("both subscriptions to be listed", || {
            (cluster.listed(node) == ["a", "b"]).then_some(())
        });
    }
    drop(a);
    presence_until(&mut watching, "a", false);
    for node in 0..2 {
        eventually("only b to be listed", || {
            (cluster.listed(node) == ["b"]).then_some(())
        });
    }
}

#[test]
fn each_subscription_of_a_dead_node_ends_exactly_once() {
    let mut cluster = Cluster::start(3, QUIET);
    let mut watching = cluster.watch(2);
    let _a = cluster.resume_on(0, "a", "");
    let _b = cluster.resume_on(1, "b", "");
    presence_until(&mut watching, "b", true);

    cluster.nodes[0].kill();

    let told = presence_until(&mut watching, "a", false);
    assert_eq!(told.last().unwrap(), &("a".to_owned(), false));
    eventually("the dead node to be removed", || {
        (cluster.listed(1) == ["b"]).then_some(())
    });
    // No second presence event reports the end of the same subscription.
    let _end = cluster.resume_on(1, "end", "");
    assert_eq!(
        presence_until(&mut watching, "end", true),
        [("end".to_owned(), true)]
    );
}

#[test]
fn changes_during_an_outage_of_redis_are_announced_after_it() {
    let mut cluster = Cluster::start(1, QUIET);
    let mut watching = cluster.watch(0);
    let a = cluster.resume_on(0, "a", "");
    presence_until(&mut watching, "a", true);
    cluster.redis.kill();
    cluster.nodes[0].wait_until_ready(false);

    let _b = cluster.resume_on(0, "b", "");
    drop(a);
    cluster.redis.run();

    let mut told = presence_until(&mut watching, "a", false);
    if !told.contains(&("b".to_owned(), true)) {
        told.extend(presence_until(&mut watching, "b", true));
    }
    eventually("only b to be listed", || {
        (cluster.listed(0) == ["b"]).then_some(())
    });
}

#[test]
fn invalid_entries_are_not_listed_and_are_removed() {
    let mut cluster = Cluster::start(2, QUIET);
    let _a = cluster.resume_on(0, "a", "");
    let mut watching = cluster.watch(1);
    let _b = cluster.resume_on(1, "b", "");
    presence_until(&mut watching, "b", true);
    let keys = cluster.redis.command(&["KEYS", "*:subscriptions:*"]);
    for key in keys.lines() {
        cluster.redis.command(&["HSET", key, "/x", "1", "/y", "[]"]);
    }

    eventually("invalid entries to be removed", || {
        let left = keys
            .lines()
            .map(|key| cluster.redis.command(&["HEXISTS", key, "/x"]));
        left.into_iter().all(|left| left == "0").then_some(())
    });
    assert_eq!(cluster.listed(0), ["a", "b"]);
    // The subscriptions of a dead node must end even if an entry beside them is invalid.
    for key in keys.lines() {
        cluster.redis.command(&["HSET", key, "/x", "1"]);
    }
    cluster.nodes[0].kill();
    presence_until(&mut watching, "a", false);
}

#[test]
fn presence_events_do_not_evict_other_events_from_redis() {
    let short = format!("history = 1000\n{QUIET}[stream]\nhistory = 3\npresence_history = 10\n");
    let cluster = Cluster::start(2, &short);
    let mut ids = vec![cluster.published(0, "topic=a&data=first")];
    let asked: Vec<_> = (0..50).map(|n| format!("match=urn:{n}")).collect();
    let target = format!("{HUB}?{}", asked.join("&"));

    for round in 0..20 {
        drop(Stream::request(
            cluster.nodes[round % 2].addr(),
            &target,
            b"",
        ));
        ids.push(cluster.published(round % 2, &format!("topic=a&data={round}")));
    }
    let length = || {
        cluster
            .redis
            .command(&["XLEN", "{broadcaster}:log"])
            .parse::<usize>()
    };
    eventually("presence events to be evicted", || {
        (length().unwrap() <= ids.len() + 1 + 10).then_some(())
    });

    for node in 0..2 {
        // A subscriber of other topics continues from Redis to memory without a gap.
        let mut stream = cluster.resume_on(node, "a", &ids[0]);
        for id in &ids[1..] {
            let event = stream.event().unwrap();
            assert_eq!((event.name, event.id.as_ref()), (None, Some(id)));
        }
        // A subscriber of presence events receives at most one gap before each other event.
        let headers = format!("{}Last-Event-ID: {}\r\n", bearer(&cluster.token), ids[0]);
        let target = format!("{HUB}?match=*");
        let mut stream = Stream::request(cluster.nodes[node].addr(), &target, headers.as_bytes());
        let mut expected = ids[1..].iter();
        let mut gaps = 0;
        while expected.len() > 0 {
            let event = stream.event().unwrap();
            match event.name.as_deref() {
                Some("gap") => gaps += 1,
                Some(_) => {}
                None => assert_eq!(event.id.as_ref(), expected.next()),
            }
        }
        assert!((1..=ids.len()).contains(&gaps), "{gaps}");
    }
}
