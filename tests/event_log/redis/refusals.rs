//! What makes a server with a Redis log refuse to start. The message must not contain the password.

use super::nodes::Cluster;
use crate::support::{
    process::{command, finish},
    redis::Redis,
};

/// Starts a server that must refuse to start, and returns its error message.
pub fn refused(environment: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path(), &[]);
    command.env("BROADCASTER__LOG__KIND", "redis");
    command.env("BROADCASTER__SERVER__BIND", "127.0.0.1:0");
    command.envs(environment.iter().copied());
    let finished = finish(command);
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(!finished.stderr.contains("secret"), "{}", finished.stderr);
    finished.stderr
}

#[test]
fn the_server_waits_for_an_unreachable_redis_and_then_refuses_to_start() {
    let redis = Redis::start();
    let url = redis.url();
    drop(redis);

    let said = refused(&[("BROADCASTER__LOG__URL", &url)]);

    assert!(said.contains("(log.url) cannot be used"), "{said}");
    assert!(said.contains(&url), "{said}");
}

#[test]
fn a_wrong_password_is_refused_and_the_right_one_is_not_shown() {
    let redis = Redis::start_with(&["--requirepass", "right-secret"]);
    let port = redis.port();
    let url = format!("redis://:wrong-secret@127.0.0.1:{port}/0");

    let said = refused(&[("BROADCASTER__LOG__URL", &url)]);

    assert!(
        said.contains(&format!("redis://:***@127.0.0.1:{port}/0")),
        "{said}"
    );
    assert!(said.to_lowercase().contains("password"), "{said}");
}

#[test]
fn the_server_does_not_overwrite_keys_of_another_program() {
    let redis = Redis::start();
    redis.command(&["SET", "{broadcaster}:log", "theirs"]);

    let said = refused(&[("BROADCASTER__LOG__URL", &redis.url())]);

    assert!(said.contains("use another log.prefix"), "{said}");
    assert_eq!(redis.command(&["GET", "{broadcaster}:log"]), "theirs");
    redis.command(&["DEL", "{broadcaster}:log"]);
    redis.command(&["HSET", "{broadcaster}:about", "format", "99"]);
    let said = refused(&[("BROADCASTER__LOG__URL", &redis.url())]);
    assert!(said.contains("has the format 99"), "{said}");
}

#[test]
fn different_prefixes_and_databases_have_separate_logs() {
    let cluster = Cluster::start(1, "prefix = 'one'\n[ticker]\nenabled = false\n");
    let id = cluster.published(0, "topic=a&data=0");

    let last = cluster
        .redis
        .command(&["--raw", "XREVRANGE", "{one}:log", "+", "-", "COUNT", "1"]);

    assert!(last.starts_with(&id[1..]), "{last}");
    assert_eq!(cluster.redis.command(&["EXISTS", "{broadcaster}:log"]), "0");
}
