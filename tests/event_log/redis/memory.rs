//! The memory for events that wait for an unresponsive Redis is bounded.

use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::nodes::{Cluster, QUIET};
use crate::support::{
    client::get,
    eventually,
    mercure::{Client, bearer, form},
};

const PUBLISHERS: usize = 400;

#[test]
fn the_memory_of_updates_that_wait_for_redis_is_bounded_including_their_topics() {
    let cluster = Cluster::start(1, QUIET);
    cluster.published(0, "topic=a&data=first");
    let topics: Vec<_> = (0..100).map(|n| format!("{n:04}").repeat(1000)).collect();
    let mut fields: Vec<_> = topics.iter().map(|topic| ("topic", &**topic)).collect();
    fields.push(("data", "x"));
    let update = form(&fields);
    let addr = cluster.nodes[0].addr();
    let headers = bearer(&cluster.token);
    let resident = || cluster.nodes[0].process().resident_kb();
    let before = resident();
    let redis = Pid::from_raw(cluster.redis.id().cast_signed()).unwrap();

    kill_process(redis, Signal::STOP).unwrap();
    let statuses: Vec<_> = thread::scope(|scope| {
        let publishers = (0..PUBLISHERS).map(|_| {
            scope.spawn(|| {
                let mut client = Client::try_connect(addr).ok()?;
                Some(client.try_post(&headers, &update).ok()?.status())
            })
        });
        let publishers: Vec<_> = publishers.collect();
        publishers
            .into_iter()
            .filter_map(|it| it.join().unwrap())
            .collect()
    });
    // Every publisher got a response: some at once, because the budget was used up, the others when the node
    // gave up on Redis.
    let most = resident();
    kill_process(redis, Signal::CONT).unwrap();

    assert!(statuses.iter().all(|status| *status == 503), "{statuses:?}");
    // The publishers sent 160 MB. The budget is 64 MiB, and events on their way to Redis are in memory twice.
    let growth = most.saturating_sub(before) / 1024;
    println!("{PUBLISHERS} publishers of 400 KB while Redis was stopped: {growth} MiB");
    assert!(growth < 150, "{growth} MiB");
    eventually("updates to be accepted again", || {
        let answer = cluster.publish(0, "topic=a&data=after");
        (answer.status() == 200).then_some(())
    });
    assert_eq!(get(addr, "/healthz").status(), 200);
}
