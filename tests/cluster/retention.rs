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
    let cluster = Cluster::start(
        1,
        &format!("history_age = '2s'\n{QUIET}[stream]\nhistory = 1\n"),
    );
    for n in 0..10 {
        cluster.published(0, &format!("topic=a&data={n}"));
    }

    eventually("what is old to go", || (kept(&cluster) == 0).then_some(()));
    let id = cluster.published(0, "topic=a&data=new");

    let mut stream = cluster.resume(0, "earliest");
    assert_eq!(stream.event().unwrap().id, Some(id));
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
    assert_eq!(gap["resumed_after"], missed[3].trim_start_matches('#'));
    assert_eq!(stream.event().unwrap().id.as_ref(), missed.last());
}
