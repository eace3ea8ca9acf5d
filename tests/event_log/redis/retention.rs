//! Which events Redis keeps, and for how long.

use super::nodes::{Cluster, QUIET};
use crate::support::{client::request, eventually, mercure::HUB};

const LOG: &str = "{broadcaster}:log";

fn kept(cluster: &Cluster) -> usize {
    cluster.redis.command(&["XLEN", LOG]).parse().unwrap()
}

#[test]
fn redis_keeps_about_as_many_events_as_configured() {
    let cluster = Cluster::start(1, &format!("history = 200\n{QUIET}"));

    for n in 0..700 {
        cluster.published(0, &format!("topic=a&data={n}"));
    }

    // Eviction removes a hundred entries at a time.
    let kept = kept(&cluster);
    assert!((200..=301).contains(&kept), "{kept}");
}

#[test]
fn events_above_the_maximum_age_are_evicted_except_the_newest() {
    let mut cluster = Cluster::start(
        1,
        &format!("history_age = '2s'\n{QUIET}[stream]\nhistory = 1\n"),
    );
    for n in 0..10 {
        cluster.published(0, &format!("topic=a&data={n}"));
    }

    // The newest event is never evicted. So a subscriber that has it misses nothing, also on a node that
    // starts later.
    let last = cluster.published(0, "topic=a&data=last");
    eventually("old events to be evicted", || {
        (kept(&cluster) == 1).then_some(())
    });
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
fn a_node_reports_a_gap_for_events_that_were_evicted_while_it_was_cut_off() {
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
fn a_foreign_entry_in_the_log_is_reported_as_a_gap_and_delivery_continues() {
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
fn an_id_chosen_by_a_publisher_is_evicted_with_its_event() {
    let cluster = Cluster::start(1, &format!("history = 100\n{QUIET}[stream]\nhistory = 1\n"));
    let kept = || cluster.redis.command(&["HLEN", "{broadcaster}:ids"]);
    for n in 0..450 {
        cluster.published(0, &format!("topic=a&data={n}&id=urn:{n}"));
    }

    let count: usize = kept().parse().unwrap();
    // Three fields for each of 100 to 200 events.
    assert!((300..=600).contains(&count), "{count}");
    let gone = cluster.resume(0, "urn:0").event().unwrap().gap();
    assert_eq!(gone["reason"], "unknown");
    let mut found = cluster.resume(0, "urn:440");
    assert_eq!(found.event().unwrap().data, "441");
}

#[test]
fn a_resume_from_redis_delivers_many_small_and_large_events_without_loss() {
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

/// Asserts that after `break_it` no id of an acknowledged event is given twice, and that the subscribers of
/// each server receive every event that was published afterwards, and at least one gap.
#[track_caller]
fn assert_no_id_is_given_twice_and_losses_are_reported(break_it: impl Fn(&Cluster)) {
    assert_losses_are_reported_after(|_| (), break_it);
}

/// Like [`assert_no_id_is_given_twice_and_losses_are_reported`], but calls `prepare` after the first event.
#[track_caller]
fn assert_losses_are_reported_after(prepare: impl Fn(&Cluster), break_it: impl Fn(&Cluster)) {
    let cluster = Cluster::start(2, QUIET);
    let mut ids = vec![cluster.published(0, "topic=a&data=first")];
    let mut streams = [cluster.resume(0, &ids[0]), cluster.resume(1, &ids[0])];
    prepare(&cluster);
    ids.extend((0..3).map(|n| cluster.published(n % 2, &format!("topic=a&data={n}"))));
    let before = ids.len();
    for stream in &mut streams {
        for id in &ids[1..] {
            assert_eq!(stream.event().unwrap().id.as_ref(), Some(id));
        }
    }

    break_it(&cluster);
    // Publish immediately, so that an append and not a heartbeat detects the change.
    for n in 0..10 {
        ids.push(cluster.published_at_last(n % 2, &format!("topic=a&data=after-{n}")));
    }

    let mut distinct = ids.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), ids.len(), "{ids:?}");
    for stream in &mut streams {
        let mut gaps = 0;
        let mut got = Vec::new();
        while got.last() != ids.last() {
            let event = stream.event().unwrap();
            match event.name {
                None => got.push(event.id.unwrap()),
                Some(_) => {
                    event.gap();
                    gaps += 1;
                }
            }
        }
        assert!(gaps > 0, "{got:?}");
        assert_eq!(got, ids[before..]);
    }
    for node in 0..2 {
        let mut late = cluster.resume(node, &ids[before - 1]);
        late.event().unwrap().gap();
    }
}

#[test]
fn a_deleted_log_is_detected_by_the_next_append() {
    assert_no_id_is_given_twice_and_losses_are_reported(|cluster| {
        cluster.redis.command(&["DEL", LOG]);
    });
}

#[test]
fn an_idempotency_key_is_forgotten_when_the_log_is_deleted() {
    let cluster = Cluster::start(1, "history = 20");
    let publish = || {
        let headers = format!(
            "Authorization: Bearer {}\r\nIdempotency-Key: k\r\nContent-Length: 14\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\ntopic=a&data=x",
            cluster.token
        );
        let answer = request(cluster.addrs()[0], "POST", HUB, &headers);
        (answer.status() == 200).then_some(answer.body)
    };
    let first = publish().unwrap();
    assert_eq!(publish(), Some(first.clone()));

    cluster.redis.command(&["DEL", LOG]);

    // The event is lost. Without this, the publisher would be told that it is in the log.
    eventually("the event to be published again", || {
        publish().filter(|id| *id != first)
    });
    assert_eq!(cluster.resume(0, "earliest").event().unwrap().data, "x");
}

#[test]
fn a_deleted_about_key_is_detected_with_or_without_the_log() {
    assert_no_id_is_given_twice_and_losses_are_reported(|cluster| {
        cluster.redis.command(&["DEL", LOG, "{broadcaster}:about"]);
    });
    assert_no_id_is_given_twice_and_losses_are_reported(|cluster| {
        cluster.redis.command(&["DEL", "{broadcaster}:about"]);
    });
}

#[test]
fn missing_counters_do_not_stop_publishing() {
    for counter in ["seq", "others"] {
        let cluster = Cluster::start(1, QUIET);
        let first = cluster.published(0, "topic=a&data=first");
        cluster
            .redis
            .command(&["HDEL", "{broadcaster}:about", counter]);

        let next = cluster.published_at_last(0, "topic=a&data=next");

        assert_ne!(next, first);
        let mut stream = cluster.resume(0, &first);
        let event = eventually("the event", || {
            stream.event().filter(|event| event.name.is_none())
        });
        assert_eq!(event.id, Some(next));
    }
}

#[test]
fn an_older_copy_restored_in_a_running_redis_is_detected() {
    let about = "{broadcaster}:about";
    let copies = ["{broadcaster}:log~", "{broadcaster}:about~"];
    let copy = |cluster: &Cluster| {
        for (key, copy) in [LOG, about].into_iter().zip(copies) {
            assert_eq!(cluster.redis.command(&["COPY", key, copy]), "1");
        }
    };
    let put_back = |cluster: &Cluster| {
        let script =
            "redis.call('RENAME', KEYS[1], KEYS[3]) return redis.call('RENAME', KEYS[2], KEYS[4])";
        let [log_copy, about_copy] = copies;
        let eval = ["EVAL", script, "4", log_copy, about_copy, LOG, about];
        assert_eq!(cluster.redis.command(&eval), "OK");
    };
    assert_losses_are_reported_after(copy, put_back);
}

#[test]
fn foreign_values_in_the_other_keys_do_not_stop_publishing() {
    let about = "{broadcaster}:about";
    for command in [
        ["HSET", about, "seq", "foo"],
        ["HSET", about, "seq", "-5"],
        ["HSET", about, "seq", "1e300"],
        ["HSET", about, "epoch", "foo"],
        ["HSET", about, "epoch", ""],
        ["HSET", about, "others", "foo"],
        ["HSET", about, "ticks", "foo"],
        ["HSET", about, "last_tick", "foo"],
        ["LPUSH", "{broadcaster}:presence", "foo", "foo"],
        ["RPUSH", "{broadcaster}:presence", "foo", "foo"],
        ["ZADD", "{broadcaster}:times", "1", "foo"],
    ] {
        let mut cluster = Cluster::start(1, "history_age = '1h'\n[ticker]\ninterval = '20ms'\n");
        let first = cluster.published(0, "topic=a&data=first");

        cluster.redis.command(&command);
        let next = cluster.published_at_last(0, "topic=a&data=next");
        // This subscriber connects and leaves, which appends presence events.
        drop(cluster.resume(0, ""));
        cluster.nodes[0].stop();
        cluster.nodes[0].start();
        let last = cluster.published_at_last(0, "topic=a&data=last");

        let mut stream = cluster.resume(0, &last);
        assert_ne!(first, next, "{command:?}");
        assert_ne!(next, last, "{command:?}");
        let id = cluster.published(0, "topic=a&data=live");
        let event = eventually("the event", || {
            stream.event().filter(|event| event.data == "live")
        });
        assert_eq!(event.id, Some(id), "{command:?}");
    }
}

#[test]
fn a_log_that_redis_evicts_is_detected() {
    assert_no_id_is_given_twice_and_losses_are_reported(|cluster| {
        let set = |key, value| cluster.redis.command(&["CONFIG", "SET", key, value]);
        set("maxmemory-policy", "allkeys-lru");
        set("maxmemory", "1");
        eventually("the eviction", || {
            (cluster.redis.command(&["EXISTS", LOG]) == "0").then_some(())
        });
        set("maxmemory", "0");
    });
}

#[test]
fn a_log_that_was_truncated_at_its_end_gives_no_id_twice() {
    let cluster = Cluster::start(2, QUIET);
    let ids: Vec<_> = (0..4)
        .map(|n| cluster.published(n % 2, &format!("topic=a&data={n}")))
        .collect();
    let mut streams = [cluster.resume(0, &ids[3]), cluster.resume(1, &ids[3])];

    cluster.redis.command(&["XDEL", LOG, &ids[3][1..]]);
    cluster.redis.command(&["XSETID", LOG, &ids[2][1..]]);
    let after = cluster.published_at_last(0, "topic=a&data=after");

    assert!(!ids.contains(&after));
    for stream in &mut streams {
        // Nothing is missing for this subscriber, but it may receive a gap because a new epoch began.
        let event = eventually("the event", || {
            stream.event().filter(|event| event.name.is_none())
        });
        assert_eq!(event.id.as_ref(), Some(&after));
    }
}

#[test]
fn foreign_entries_with_any_id_do_not_stop_publishing() {
    for id in [
        "9007199254740993-1",
        "4503599627370496-1",
        "2251799813685248-1",
        "18446744073709551615-18446744073709551615",
        "EPOCH-9007199254740993",
        "EPOCH-18446744073709551615",
        "EPOCH-100",
    ] {
        assert_no_id_is_given_twice_and_losses_are_reported(|cluster| {
            let epoch = cluster
                .redis
                .command(&["HGET", "{broadcaster}:about", "epoch"]);
            let epoch = epoch.trim().trim_matches('"');
            let id = id.replace("EPOCH", epoch);
            cluster
                .redis
                .command(&["XADD", LOG, &id, "field", "theirs"]);
        });
    }
}
