//! Revoked tokens that all servers of a cluster know.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::nodes::{Cluster, HUB_URL, QUIET};
use crate::support::{
    client::{Stream, get},
    eventually,
    mercure::{Client, detail, now, signed_as},
    server::free_port,
};

const ABOUT: &str = "{broadcaster}:about";

/// Servers with listeners for operators, and the addresses of these.
fn cluster(nodes: usize) -> (Cluster, Vec<SocketAddr>) {
    let mut cluster = Cluster::start(nodes, QUIET);
    let mut admins = Vec::new();
    for node in &mut cluster.nodes {
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        node.stop();
        admins.push(addr);
        start(node, addr);
    }
    (cluster, admins)
}

fn start(node: &mut super::nodes::Node, admin: SocketAddr) {
    node.start_with(&[("BROADCASTER__SERVER__ADMIN_BIND", &admin.to_string())]);
}

fn of(subject: &str) -> String {
    let all = json!([detail(&["publish", "subscribe"], json!([{ "match": "*" }]))]);
    let claims = json!({
        "iss": "https://example.com",
        "aud": HUB_URL,
        "sub": subject,
        "iat": now() as u64 - 5,
        "exp": now() as u64 + 3600,
        "authorization_details": all,
    });
    signed_as("at+jwt", &claims)
}

fn ask(admin: SocketAddr, method: &str, target: &str, body: &str) -> u16 {
    let mut client = Client::connect(admin);
    let length = body.len();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: admin\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    client.send(request.as_bytes());
    client.answer().status()
}

fn revoke(admin: SocketAddr, subject: &str) -> u16 {
    let body = json!({ "iss": "https://example.com", "sub": subject });
    ask(admin, "POST", "/revocations", &body.to_string())
}

fn listed(admin: SocketAddr) -> usize {
    let list: Value = serde_json::from_str(&get(admin, "/revocations").body).unwrap();
    list["revocations"].as_array().unwrap().len()
}

fn subscribe(cluster: &Cluster, node: usize, token: &str) -> Stream {
    let headers = format!("Authorization: Bearer {token}\r\n");
    let target = "/.well-known/mercure?match=a";
    Stream::request(cluster.nodes[node].addr(), target, headers.as_bytes())
}

#[test]
fn a_revocation_is_in_effect_on_every_server_within_two_seconds() {
    let (mut cluster, admins) = cluster(3);
    let alice = of("alice");
    let mut streams: Vec<_> = (0..3)
        .map(|node| subscribe(&cluster, node, &alice))
        .collect();
    let mut lasting = subscribe(&cluster, 2, &of("bob"));

    let begin = Instant::now();
    assert_eq!(revoke(admins[0], "alice"), 200);
    for stream in &mut streams {
        assert_eq!(stream.status(), 200);
        while let Ok(Some(_)) = stream.try_event() {}
    }
    let lasted = begin.elapsed();
    assert!(lasted < Duration::from_secs(2), "{lasted:?}");
    for node in 0..3 {
        assert_eq!(subscribe(&cluster, node, &alice).status(), 401);
    }
    cluster.published(1, "topic=a&data=x");
    assert_eq!(lasting.event().unwrap().data, "x");

    // It outlives the servers.
    for (node, admin) in cluster.nodes.iter_mut().zip(&admins) {
        node.stop();
        start(node, *admin);
    }
    assert_eq!(subscribe(&cluster, 1, &alice).status(), 401);
    // And it is lifted on every server.
    let target = "/revocations?iss=https://example.com&sub=alice";
    assert_eq!(ask(admins[2], "DELETE", target, ""), 204);
    for node in 0..3 {
        eventually("a token that is good again", || {
            (subscribe(&cluster, node, &alice).status() == 200).then_some(())
        });
    }
    assert_eq!(ask(admins[0], "DELETE", target, ""), 404);
}

#[test]
fn revocations_that_redis_loses_are_written_again() {
    let (cluster, admins) = cluster(2);
    for subject in ["alice", "bob"] {
        assert_eq!(revoke(admins[0], subject), 200);
    }
    eventually("both on the other server", || {
        (listed(admins[1]) == 2).then_some(())
    });

    cluster.redis.command(&["FLUSHALL"]);
    eventually("the lost list in Redis", || {
        let number = cluster
            .redis
            .command(&["ZCARD", "{broadcaster}:revocations"]);
        (number == "2").then_some(())
    });
    assert_eq!([listed(admins[0]), listed(admins[1])], [2, 2]);
    // A counter that another program changed.
    cluster
        .redis
        .command(&["HSET", ABOUT, "revocations", "many"]);
    eventually("another revocation", || {
        (revoke(admins[1], "carol") == 200).then_some(())
    });
    eventually("three on both", || {
        (admins.iter().all(|admin| listed(*admin) == 3)).then_some(())
    });
}

#[test]
fn without_redis_nothing_is_revoked() {
    let (mut cluster, admins) = cluster(1);
    cluster.redis.kill();
    cluster.nodes[0].wait_until_ready(false);

    assert_eq!(revoke(admins[0], "alice"), 503);
    assert_eq!(listed(admins[0]), 0);
}
