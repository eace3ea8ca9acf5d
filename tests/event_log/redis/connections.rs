//! How a server connects to Redis: with TLS, with a Redis user, and through Sentinels.

use super::{
    nodes::{Cluster, QUIET},
    refusals::refused,
};
use crate::support::{eventually, redis::Redis, server::free_port};

/// The folder of the test certificates.
const KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys");

fn with_tls() -> (Redis, String) {
    let port = free_port().to_string();
    let key = |name: &str| format!("{KEYS}/{name}");
    let redis = Redis::start_with(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &key("redis.pem"),
        "--tls-key-file",
        &key("redis-key.pem"),
        "--tls-ca-cert-file",
        &key("redis-ca.pem"),
        "--tls-auth-clients",
        "no",
    ]);
    (redis, port)
}

#[test]
fn tls_is_used_if_the_url_of_redis_requires_it() {
    let (redis, port) = with_tls();
    let trusted = format!("{KEYS}/redis-ca.pem");

    let url = format!("rediss://127.0.0.1:{port}/0");
    let cluster = Cluster::with_url(redis, &url, QUIET, &[("SSL_CERT_FILE", &trusted)]);
    let id = cluster.published(0, "topic=a&data=0");

    assert_eq!(cluster.resume(0, "earliest").event().unwrap().id, Some(id));
}

#[test]
fn a_redis_certificate_that_is_not_trusted_is_refused() {
    let (_redis, port) = with_tls();
    let url = format!("rediss://:secret@127.0.0.1:{port}/0");

    let said = refused(&[("BROADCASTER__LOG__URL", &url)]);

    assert!(said.to_lowercase().contains("certificate"), "{said}");
}

#[test]
fn the_password_and_database_in_the_redis_url_are_used() {
    let redis = Redis::start_with(&["--requirepass", "right"]);
    let url = format!("redis://:right@127.0.0.1:{}/3", redis.port());

    let cluster = Cluster::with_url(redis, &url, QUIET, &[]);
    cluster.published(0, "topic=a&data=0");

    let exists = ["-a", "right", "-n", "3", "EXISTS", "{broadcaster}:log"];
    assert_eq!(cluster.redis.command(&exists), "1");
}

#[test]
fn after_a_failover_the_server_follows_the_new_master_without_loss() {
    let master = Redis::start();
    let port = master.port().to_string();
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &port]);
    let sentinel = master.start_sentinel();
    eventually("the replica to be known", || {
        let known = sentinel.command(&["SENTINEL", "REPLICAS", "main"]);
        (known.contains(&replica.port().to_string()) && known.contains("master-link-status\nok"))
            .then_some(())
    });
    let url = format!("redis+sentinel://127.0.0.1:{}/0/main", sentinel.port());
    let mut cluster = Cluster::with_url(master, &url, QUIET, &[]);
    let ids: Vec<_> = (0..10)
        .map(|n| cluster.published(0, &format!("topic=a&data={n}")))
        .collect();
    let mut stream = cluster.resume(0, &ids[4]);
    assert_eq!(stream.event().unwrap().id.as_ref(), Some(&ids[5]));
    // The replica must also receive the presence event of this subscription. Wait until it is in the log.
    eventually("the subscription to be listed", || {
        (cluster.listed(0) == ["*"]).then_some(())
    });
    let newest = ["XREVRANGE", "{broadcaster}:log", "+", "-", "COUNT", "1"];
    eventually("the replica to have the newest entry", || {
        (cluster.redis.command(&newest) == replica.command(&newest)).then_some(())
    });

    cluster.redis.kill();
    cluster.nodes[0].wait_until_ready(false);
    cluster.nodes[0].wait_until_ready(true);
    let next = cluster.published_at_last(0, "topic=a&data=next");

    for id in ids[6..].iter().chain([&next]) {
        let event = stream.event().unwrap();
        assert_eq!((event.name, event.id.as_ref()), (None, Some(id)));
    }
    let mut again = cluster.resume(0, ids.last().unwrap());
    assert_eq!(again.event().unwrap().id, Some(next));
    assert_eq!(replica.command(&["ROLE"]).lines().next(), Some("master"));
}

/// The permissions of the Redis user in the documentation.
fn documented_user() -> Vec<String> {
    let manual = include_str!("../../../docs/operate/cluster.md");
    let (_, block) = manual.split_once("\nuser broadcaster on ").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    block.split_whitespace().map(ToOwned::to_owned).collect()
}

#[test]
fn the_documented_permissions_of_the_redis_user_are_sufficient() {
    let redis = Redis::start();
    let mut set = vec!["ACL", "SETUSER", "broadcaster", "on"];
    let rules = documented_user();
    set.extend(rules.iter().map(String::as_str));
    assert_eq!(redis.command(&set), "OK");
    let url = format!("redis://broadcaster:secret@127.0.0.1:{}/0", redis.port());
    let more = "history = 100\nhistory_age = '1s'\n\
                [ticker]\ninterval = '10ms'\n[stream]\nhistory = 1\n";

    let cluster = Cluster::with_url(redis, &url, more, &[]);
    let ids: Vec<_> = (0..250)
        .map(|n| cluster.published(0, &format!("topic=a&data={n}&id=urn:{n}")))
        .collect();
    let mut stream = cluster.resume_on(0, "a", &ids[200]);

    assert_eq!(stream.event().unwrap().id.as_ref(), Some(&ids[201]));
    assert_eq!(cluster.listed(0), ["a"]);
    let mut ticks = cluster.resume(0, "");
    assert!(ticks.event().unwrap().data.starts_with("Message number"));
    let refused = cluster.redis.command(&["ACL", "LOG"]);
    assert_eq!(refused, "", "nothing was refused");
    assert!(!cluster.nodes[0].process().stderr().contains("cannot be"));
}
