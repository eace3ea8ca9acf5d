//! The settings: where they come from, and which values they accept.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod refusals;

use std::{ffi::OsString, fs, path::Path};

use sse_broadcaster::config::{Config, ConfigError, Flag, Found, Sources, changed_keys};
use toml::{Table, Value};

/// Every key, with values that are accepted and values that are refused. The last accepted value is not the
/// default. The ends of each range are included, and the values just beyond them.
#[rustfmt::skip]
const VALUES: &[(&str, &[&str], &[&str])] = &[
    ("server.bind",
        &["'[::1]:65535'", "'0.0.0.0:0'"],
        &["'0.0.0.0:65536'", "'0.0.0.0:-1'", "'0.0.0.0'", "':3000'", "''", "3000", "true"]),
    ("server.admin_bind",
        &["'off'", "'127.0.0.1:0'", "'[::]:9090'"],
        &["'0.0.0.0'", "'Off'", "''", "false", "9090"]),
    ("server.admin_token_file",
        &["'off'", "'/run/secrets/admin'"], &["''", "5", "'\\u0000'"]),
    ("server.workers",
        &["0", "512"], &["-1", "513", "1.0", "'one'", "''"]),
    ("server.static_dir",
        &["'/'", "'a b/é'"], &["''", "'\\u0000'", "5", "[]"]),
    ("server.static_csp",
        &["'off'", "\"default-src 'self'; img-src *\""], &["''", "\"a\\u0001b\"", "'é'", "5"]),
    ("server.max_subscribers",
        &["0", "10_000_000"], &["-1", "10_000_001", "'many'"]),
    ("server.request_timeout",
        &["'100ms'", "'1h'"], &["'99ms'", "'99999us'", "'1h 1ns'", "'0s'", "10", "''"]),
    ("server.write_timeout",
        &["'100ms'", "'1h'"], &["'99ms'", "'1h 1ns'", "30"]),
    ("server.drain_timeout",
        &["'0s'", "'1h'"], &["'-1s'", "'1h 1ns'", "10"]),
    ("ticker.enabled",
        &["true", "false"], &["'yes'", "1", "'TRUE'", "''"]),
    ("ticker.interval",
        &["'1ms'", "'24h'", "'1500us'"],
        &["'0s'", "'999us'", "'24h 1ns'", "'1'", "1", "'1 fortnight'", "'s'",
          "'99999999999999999999h'", "'9999999999999999h 9999999999999999h'", "'NaNs'", "''"]),
    ("ticker.message",
        &["''", "'{n} Ж'"], &["5", "true", "{ n = 1 }"]),
    ("ticker.topic",
        &["'/a b'", "'https://example.org/x'"], &["''", "'*'", "'\\u0000'", "5"]),
    ("stream.retry",
        &["'1ms'", "'1h'"], &["'0s'", "'999us'", "'1h 1ns'", "2000"]),
    ("stream.heartbeat",
        &["'100ms'", "'1h'"], &["'99ms'", "'1h 1ns'", "15"]),
    ("stream.checkpoints", &["true", "false"], &["1", "'no'"]),
    ("stream.max_lifetime",
        &["'off'", "'1s'", "'1day'"], &["'0s'", "'999ms'", "'20years'", "'never'", "60"]),
    ("stream.history",
        &["1", "100_000_000"], &["0", "100_000_001", "-9223372036854775808"]),
    ("stream.presence_history",
        &["1", "1_000_000"], &["0", "1_000_001", "'many'"]),
    ("stream.history_bytes",
        &["1024", "1_099_511_627_776"], &["1023", "1_099_511_627_777", "9223372036854775807", "'16MB'"]),
    ("stream.history_age",
        &["'off'", "'1s'", "'1day'"], &["'0s'", "'999ms'", "'20years'", "'never'", "1"]),
    ("stream.queue",
        &["1", "65_536"], &["0", "65_537", "inf"]),
    ("stream.retained_topics",
        &["0", "100_000_000"], &["-1", "100_000_001", "'off'"]),
    ("stream.retained_bytes",
        &["1024", "1_099_511_627_776"], &["1023", "1_099_511_627_777", "'16MB'"]),
    ("hub.url",
        &["'auto'", "'https://example.org/.well-known/mercure'", "'http://[::1]:3000/hub'"],
        &["'https://example.org'", "'https://example.org/hub?x'", "'ftp://x/y'", "'/hub'", "''", "1"]),
    ("hub.public_urls",
        &["[]", "['https://example.org/hub', 'http://localhost/.well-known/mercure']"],
        &["'/hub'", "['https://example.org']", "[5]"]),
    ("hub.legacy",
        &["false", "true"], &["1", "'on'"]),
    ("hub.subscriptions",
        &["false", "true"], &["'on'", "1"]),
    ("hub.unique_ids",
        &["false", "true"], &["'yes'", "0"]),
    ("publish.idempotency_window",
        &["'1s'", "'7days'"], &["'0s'", "'8days'", "600"]),
    ("publish.idempotency_keys",
        &["1", "100_000_000"], &["0", "100_000_001", "'many'"]),
    ("auth.subscribe",
        &["'anonymous'", "'token'"], &["'Token'", "''", "true"]),
    ("auth.cookie",
        &["'off'", "'mercure_access_token'"], &["'a b'", "'a;b'", "''", "'é'", "1"]),
    ("auth.expiring",
        &["'0s'", "'1h'"], &["'1h 1ns'", "10"]),
    ("auth.issuers",
        &["[]", "[{ issuer = 'https://example.org', pem_file = 'a b.pem' }]",
          "[{ issuer = 'a', secret_file = '/run/secrets/key' }, { issuer = 'https://b.example/', jwks_file = 'keys.json' }]"],
        &["{ issuer = 'a' }", "{}"]),
    ("auth.revocation_ttl",
        &["'1s'", "'3650days'"], &["'0s'", "'4000days'", "'off'", "5"]),
    ("auth.publish_origins",
        &["['cors']", "[]", "['cors', 'https://a.example', 'https://*.b.example:8443']"],
        &["'*'", "['null']", "['https://A.example']", "[5]"]),
    ("auth.authorization_servers",
        &["[]", "['https://login.example.org/tenant']"],
        &["'login'", "['https://a.example?x']", "['ftp://a/b']", "[5]"]),
    ("limits.body", &["1024", "67_108_864"], &["1023", "67_108_865"]),
    ("limits.field", &["256", "67_108_864"], &["255", "67_108_865"]),
    ("limits.topics", &["1", "1000"], &["0", "1001"]),
    ("limits.matchers", &["1", "1000"], &["0", "1001"]),
    ("limits.matcher_bytes",
        &["65_536", "1_099_511_627_776"], &["65_535", "1_099_511_627_777"]),
    ("limits.pattern", &["16", "4096"], &["15", "4097"]),
    ("limits.subscriptions", &["1", "10_000_000"], &["0", "10_000_001"]),
    ("limits.subscriptions_policy", &["'oldest'", "'newest'"], &["'Oldest'", "''", "1"]),
    ("limits.token", &["256", "65_536"], &["255", "65_537"]),
    ("limits.token_details", &["1", "1000"], &["0", "1001"]),
    ("limits.token_topics", &["1", "1000"], &["0", "1001"]),
    ("cors.allowed_origins",
        &["['*']", "[]", "['https://example.org', 'null']", "['https://*.example.org']"],
        &["'https://example.org/'", "['https://example.org', 'other.org']", "[5]", "[['*']]"]),
    ("logging.level",
        &["'off'", "'error'", "'warn'", "'info'", "'debug'", "'trace'"],
        &["'loud'", "''", "5", "false"]),
    ("log.kind",
        &["'memory'", "'file'", "'redis'"], &["'File'", "'redb'", "''", "1"]),
    ("log.url",
        &["'redis://localhost'", "'rediss://:secret@r.example:6380/1'",
            "'redis+sentinel://a,b:1/0/main'"],
        &["'http://localhost'", "'localhost'", "''", "5"]),
    ("log.prefix", &["'broadcaster'", "'a:b'"], &["''", "'{a}'", "'a b'", "7"]),
    ("log.history", &["1", "1000000000"], &["0", "1000000001", "true"]),
    ("log.history_age", &["'off'", "'1s'"], &["'0s'", "'4000days'", "5"]),
    ("log.path",
        &["'events.redb'", "'/var/lib/broadcaster/events.redb'"], &["''", "1", "'\\u0000'"]),
    ("log.sync",
        &["'always'", "'interval'"], &["'never'", "''", "true"]),
    ("log.sync_interval",
        &["'1ms'", "'1m'"], &["'0s'", "'2m'", "1"]),
];

fn from_file(text: &str) -> Result<Config, ConfigError> {
    Sources::default().load(&Found::Text("some.toml".into(), text.to_owned()))
}

fn from_variable(
    name: impl Into<OsString>,
    value: impl Into<OsString>,
) -> Result<Config, ConfigError> {
    let sources = Sources {
        environment: vec![(name.into(), value.into())],
        ..Sources::default()
    };
    sources.load(&Found::Nothing)
}

/// A config file that sets this key.
fn line(path: &str, value: &str) -> String {
    let (section, key) = path.split_once('.').unwrap();
    let value = value.replace("'\\u0000'", "\"\\u0000\"");
    format!("[{section}]\n{key} = {value}\n")
}

fn variable(path: &str) -> String {
    let name = path.to_ascii_uppercase().replace('.', "__");
    format!("BROADCASTER__{name}")
}

/// A value as written in an environment variable, without quotes.
fn bare(value: &str) -> String {
    match format!("x = {value}").parse::<Table>().unwrap()["x"].clone() {
        Value::String(text) => text,
        Value::Array(items) if items.first().is_some_and(Value::is_table) => {
            serde_json::to_string(&items).unwrap()
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| item.as_str().unwrap()).collect();
            items.join(",")
        }
        other => other.to_string(),
    }
}

fn every_key() -> Vec<String> {
    let all: Table = Config::default().to_toml().parse().unwrap();
    let keys = |(section, keys): (String, Value)| {
        let keys = keys.as_table().unwrap().clone();
        keys.into_iter()
            .map(move |(key, _)| format!("{section}.{key}"))
    };
    all.into_iter().flat_map(keys).collect()
}

fn shipped(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    fs::read_to_string(folder.join(name)).unwrap()
}

/// Asserts that the message is one line, shorter than 600 bytes, and contains all of these parts.
fn assert_says(err: &ConfigError, parts: &[&str]) {
    let message = err.to_string();
    for part in parts {
        assert!(message.contains(part), "{part:?} in {message:?}");
    }
    assert!(!message.contains('\n'), "{message:?}");
    assert!(message.len() < 600, "{message:?}");
}

#[test]
fn the_table_of_values_has_every_key() {
    let mut keys: Vec<_> = VALUES.iter().map(|(key, ..)| (*key).to_owned()).collect();
    keys.sort();

    assert_eq!(keys, every_key());
}

#[test]
fn every_file_in_config_loads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".toml"))
        .collect();

    assert!(names.contains(&"default.toml".to_owned()));
    for name in names {
        let loaded = from_file(&shipped(&name));

        assert!(loaded.is_ok(), "{name}: {loaded:?}");
    }
}

#[test]
fn numbered_messages_are_sent_by_default_and_not_in_production() {
    let of = |name: &str| from_file(&shipped(name)).unwrap();

    assert!(of("default.toml").ticker.enabled);
    for name in ["durable.toml", "cluster.toml"] {
        assert!(!of(name).ticker.enabled, "{name}");
    }
}

#[test]
fn the_history_is_ten_thousand_events_by_default() {
    let stream = Config::default().stream;

    assert_eq!((stream.history, stream.history_bytes), (10_000, 16 << 20));
}

#[test]
fn the_default_file_sets_every_key_to_its_built_in_default() {
    let file: Table = shipped("default.toml").parse().unwrap();
    let mut built_in: Table = Config::default().to_toml().parse().unwrap();
    // Tables can only be added where the key is not set already.
    built_in["auth"].as_table_mut().unwrap().remove("issuers");

    assert_eq!(file, built_in);
}

#[test]
fn the_default_file_explains_every_key_with_its_range() {
    let text = shipped("default.toml");
    let values = VALUES.iter().filter(|(path, ..)| *path != "auth.issuers");
    for (path, _, bad) in values {
        let (section, key) = path.split_once('.').unwrap();
        let (_, section) = text.split_once(&format!("[{section}]\n")).unwrap();
        let (before, _) = section.split_once(&format!("\n{key} = ")).unwrap();
        let paragraph = before.rsplit("\n\n").next().unwrap();
        let words: Vec<_> = paragraph
            .lines()
            .map(|line| line.strip_prefix("# ").unwrap())
            .collect();
        let refusal = from_file(&line(path, bad[0])).unwrap_err().to_string();
        let range = refusal
            .split_once(" from ")
            .map_or("", |(_, range)| range.split(',').next().unwrap());

        assert!(!words.is_empty(), "{path}");
        assert!(words.join(" ").contains(range), "{path}: {range}");
    }
}

#[test]
fn the_configuration_page_has_every_key_once() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operate/configuration.md");
    let reference = fs::read_to_string(path).unwrap();
    for key in every_key() {
        let row = format!("| `{key}` |");
        let rows = reference.lines().filter(|line| line.starts_with(&row));
        assert_eq!(rows.count(), 1, "{key}");
    }
}

#[test]
fn every_key_can_be_set_by_the_file_and_by_its_variable() {
    for (path, good, _) in VALUES {
        for value in *good {
            let file = from_file(&line(path, value)).unwrap();
            let variable = from_variable(variable(path), bare(value)).unwrap();

            assert_eq!(file, variable, "{path} = {value}");
        }
        let last = from_file(&line(path, good.last().unwrap())).unwrap();
        assert_eq!(changed_keys(&Config::default(), &last), [*path]);
    }
}

#[test]
fn another_redis_password_is_a_change_of_the_url() {
    let with = |password: &str| {
        let url = format!("'redis://:{password}@127.0.0.1:6379/0'");
        from_file(&line("log.url", &url)).unwrap()
    };

    assert_eq!(changed_keys(&with("old"), &with("new")), ["log.url"]);
    assert!(changed_keys(&with("old"), &with("old")).is_empty());
}

#[test]
fn every_wrong_value_is_refused_with_the_file_the_key_and_the_allowed_values() {
    for (path, _, bad) in VALUES {
        for value in *bad {
            let err = from_file(&line(path, value)).unwrap_err();

            let start = format!("some.toml: {path}: found ");
            assert_says(&err, &[&start, ", allowed is "]);
        }
    }
}

#[test]
fn every_wrong_variable_is_refused_with_its_name_and_the_allowed_values() {
    for (path, _, bad) in VALUES {
        let wrong = |value: &&&str| !value.starts_with(['{', '[']) && !value.contains("u0000");
        for value in bad.iter().filter(wrong) {
            let name = variable(path);
            let Err(err) = from_variable(&name, bare(value)) else {
                assert!(
                    matches!(
                        *path,
                        "server.static_dir"
                            | "server.admin_token_file"
                            | "server.static_csp"
                            | "log.path"
                            | "log.prefix"
                            | "ticker.message"
                            | "ticker.topic"
                            | "auth.cookie"
                    ),
                    "{path} = {value}: only a text can be what was no text in a file"
                );
                continue;
            };

            let start = format!("environment variable {name}: {path}: found ");
            assert_says(&err, &[&start, ", allowed is "]);
        }
    }
}

#[test]
fn flags_override_variables_and_variables_override_the_file() {
    let variable = ("BROADCASTER__TICKER__INTERVAL".into(), "2s".into());
    let flag = Flag {
        name: "--interval",
        key: "ticker.interval",
        value: "3s".into(),
    };
    let mut sources = Sources::default();
    let file = Found::Text("some.toml".into(), "[ticker]\ninterval = '1500ms'".into());
    let seconds = |sources: &Sources| {
        let config = sources.load(&file).unwrap();
        config.ticker.interval.as_secs_f32()
    };

    assert_eq!(seconds(&sources), 1.5);
    sources.environment = vec![variable];
    assert_eq!(seconds(&sources), 2.0);
    sources.flags = vec![flag];
    assert_eq!(seconds(&sources), 3.0);
}

#[test]
fn a_printed_config_loads_as_the_same_config() {
    let values = |which: fn(&&[&str]) -> usize| {
        let lines = VALUES
            .iter()
            .map(|(path, good, _)| format!("{path} = {}\n", good[which(good)]));
        from_file(&lines.collect::<String>()).unwrap()
    };
    let odd = line("ticker.message", r#""\r\n\u0000'''\"\"\"\\ \u2028""#);
    for config in [
        values(|_| 0),
        values(|good| good.len() - 1),
        from_file(&odd).unwrap(),
        from_file("\u{feff}[ticker]\r\ninterval = '2s'\r\n").unwrap(),
    ] {
        assert_eq!(from_file(&config.to_toml()).unwrap(), config);
    }
}
