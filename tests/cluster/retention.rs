//! What Redis keeps, and for how long.

use super::nodes::{Cluster, QUIET};
use crate::support::eventually;

const LOG: &str = "{broadcaster}:log";

fn kept(cluster: &Cluster) -> usize {
    cluster.redis.command(&["XLEN", LOG]).parse().unwrap()
}

#[test]
fn redis_keeps_about_as_many_events_as_it_is_told() {
    let cluster = Cluster::start(1, &format!("history = 200\n{QUIET}"));

    for n in 0..700 {
        cluster.published(0, &format!("topic=a&data={n}"));
    }

    // It lets go of a hundred at a time.
    let kept = kept(&cluster);
    assert!((200..=301).contains(&kept), "{kept}");
}

#[test]
fn what_is_too_old_goes_by_itself_and_the_rest_stays() {
    let mut cluster = Cluster::start(
        1,
        &format!("history_age = '2s'\n{QUIET}[stream]\nhistory = 1\n"),
    );
    for n in 0..10 {
        cluster.published(0, &format!("topic=a&data={n}"));
    }

    // The last stays: whoever has it has everything, at a node that starts now, too.
    let last = cluster.published(0, "topic=a&data=last");
    eventually("what is old to go", || (kept(&cluster) == 1).then_some(()));
    cluster.nodes[0].stop();
    cluster.nodes[0].start();
    let mut stream = cluster.resume(0, &last);
    let mut new = cluster.resume(0, "");
    let id = cluster.published(0, "topic=a&data=new");

    for stream in [&mut stream, &mut new] {
        let event = stream.event().unwrap();
        assert_eq!((event.name, event.id.as_ref()), (None, Some(&id)));
    }
    let mut earliest = cluster.resume(0, "earliest");
    assert_eq!(earliest.event().unwrap().id, Some(last));
}

#[test]
fn a_node_that_was_cut_off_for_longer_than_that_says_what_is_missing() {
    let cluster = Cluster::start(2, QUIET);
    let first = cluster.published(0, "topic=a&data=first");
    let mut stream = cluster.resume(1, "earliest");
    assert_eq!(stream.event().unwrap().id.as_ref(), Some(&first));

    cluster.nodes[1].network.cut();
    cluster.nodes[1].wait_until_ready(false);
    let missed: Vec<_> = (0..5)
        .map(|n| cluster.published(0, &format!("topic=a&data={n}")))
        .collect();
    cluster.redis.command(&["XTRIM", LOG, "MAXLEN", "1"]);
    cluster.nodes[1].network.mend();

    let gap = stream.event().unwrap().gap();
    assert_eq!(gap["reason"], "evicted");
    assert_eq!(gap["resumed_after"], missed[3]);
    assert_eq!(stream.event().unwrap().id.as_ref(), missed.last());
}

#[test]
fn what_somebody_else_writes_to_the_log_is_told_as_a_gap_and_all_goes_on() {
    let cluster = Cluster::start(2, QUIET);
    let first = cluster.published(0, "topic=a&data=first");
    let mut streams = [cluster.resume(0, &first), cluster.resume(1, &first)];

    cluster
        .redis
        .command(&["XADD", LOG, "*", "field", "theirs"]);
    for stream in &mut streams {
        assert_eq!(stream.event().unwrap().gap()["reason"], "epoch");
    }
    let next = cluster.published_at_last(1, "topic=a&data=next");

    for stream in &mut streams {
        let event = stream.event().unwrap();
        assert_eq!((event.name, event.id), (None, Some(next.clone())));
    }
    let mut again = cluster.resume(0, &next);
    let last = cluster.published(0, "topic=a&data=last");
    assert_eq!(again.event().unwrap().id, Some(last));
}

#[test]
fn a_given_id_goes_with_its_event() {
    let cluster = Cluster::start(1, &format!("history = 100\n{QUIET}[stream]\nhistory = 1\n"));
    let kept = || cluster.redis.command(&["HLEN", "{broadcaster}:ids"]);
    for n in 0..450 {
        cluster.published(0, &format!("topic=a&data={n}&id=urn:{n}"));
    }

    let count: usize = kept().parse().unwrap();
    assert!((100..=200).contains(&count), "{count}");
    let gone = cluster.resume(0, "urn:0").event().unwrap().gap();
    assert_eq!(gone["reason"], "unknown");
    let mut found = cluster.resume(0, "urn:440");
    assert_eq!(found.event().unwrap().data, "441");
}

#[test]
fn large_events_after_small_ones_come_a_few_at_a_time_and_all_of_them() {
    let cluster = Cluster::start(1, &format!("{QUIET}[stream]\nhistory = 1\n"));
    let mut ids: Vec<_> = (0..100)
        .map(|n| cluster.published(0, &format!("topic=a&data={n}")))
        .collect();
    let large = "x".repeat(500_000);
    ids.extend((0..20).map(|_| cluster.published(0, &format!("topic=a&data={large}"))));

    let mut stream = cluster.resume(0, "earliest");

    for id in ids {
        let event = stream.event().unwrap();
        assert_eq!((event.name, event.id), (None, Some(id)));
    }
}
