//! Starting the binary: files, variables, flags, exit codes, and what it prints and logs.

mod starting;

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    process::{Command, Stdio},
};

use crate::support::process::{Finished, command, finish, run};
use sse_broadcaster::config::Config;
use tempfile::{TempDir, tempdir};
use toml::{Table, Value};

const PORT_0: [&str; 2] = ["--bind", "127.0.0.1:0"];

/// A temporary folder with these files.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn with(mut command: Command, variables: &[(&str, &str)]) -> Command {
    command.envs(variables.iter().copied());
    command
}

/// Asserts that the binary refused to run with a one-line message, and returns the message.
fn refusal(finished: &Finished) -> &str {
    assert_eq!(finished.code, Some(2), "{}", finished.stderr);
    assert_eq!(finished.stdout, "");
    let line = finished.stderr.strip_prefix("broadcaster: ").unwrap();
    let line = line.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'), "{line}");
    line
}

/// The ticker interval of a run with these arguments.
fn interval(folder: &Path, args: &[&str]) -> String {
    let printed = run(folder, &[&["--print-config"], args].concat());
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    let config: Table = printed.stdout.parse().unwrap();
    config["ticker"]["interval"].as_str().unwrap().to_owned()
}

#[test]
fn the_file_in_the_working_directory_is_used_unless_another_is_named() {
    let folder = folder(&[
        ("config/default.toml", b"[ticker]\ninterval = '2s'"),
        ("other.toml", b"[ticker]\ninterval = '3s'"),
    ]);
    let elsewhere = tempdir().unwrap();

    assert_eq!(interval(folder.path(), &[]), "2s");
    assert_eq!(interval(folder.path(), &["--config", "other.toml"]), "3s");
    assert_eq!(interval(elsewhere.path(), &[]), "1s");
}

#[test]
fn without_a_file_the_defaults_are_built_in() {
    let elsewhere = tempdir().unwrap();

    let printed = run(elsewhere.path(), &["--print-config"]);
    let checked = run(elsewhere.path(), &["--check-config"]);

    assert_eq!(printed.stdout, Config::default().to_toml());
    assert_eq!(checked.stdout, "the built-in config is good\n");
    assert_eq!(checked.code, Some(0));
}

/// Issuers with every key that a table can have, as they are printed.
fn issuers() -> Value {
    let issuers = serde_json::json!([
        {
            "issuer": "https://a.example",
            "pem_file": "a.pem",
            "algorithms": ["ES256", "PS512"],
            "actions": ["publish"],
            "topics": [
                { "match": "a", "match_type": "exact" },
                { "match": "/:b", "match_type": "urlpattern" }
            ]
        },
        { "issuer": "b", "jwks_file": "b", "actions": ["publish", "subscribe"] },
        { "issuer": "c", "secret_file": "c", "actions": ["subscribe"] },
        { "issuer": "d", "jwks_url": "https://d.example/keys", "actions": ["subscribe"] }
    ]);
    Value::try_from(issuers).unwrap()
}

#[test]
fn every_printed_key_can_be_set_by_its_variable() {
    let elsewhere = tempdir().unwrap();
    let all: Table = run(elsewhere.path(), &["--print-config"])
        .stdout
        .parse()
        .unwrap();

    for (section, keys) in &all {
        for (key, default) in keys.as_table().unwrap() {
            let other = match default {
                Value::Boolean(default) => Value::Boolean(!default),
                Value::Integer(default) => Value::Integer((default + 1024) / 2),
                Value::Array(_) if key == "issuers" => issuers(),
                Value::Array(_) if key == "public_urls" => {
                    Value::Array(vec!["https://a.example/hub".into(), "http://b/c".into()])
                }
                Value::Array(_) if key == "publish_origins" => {
                    Value::Array(vec!["https://a.example".into(), "cors".into()])
                }
                Value::Array(_) if key == "authorization_servers" => {
                    Value::Array(vec!["https://a.example".into(), "https://b.example".into()])
                }
                Value::Array(_) => Value::Array(vec!["https://a.example".into(), "null".into()]),
                Value::String(_) if key == "subscriptions_policy" => "newest".into(),
                Value::String(_) if key == "level" => "debug".into(),
                Value::String(_) if key == "kind" => "file".into(),
                Value::String(_) if key == "sync" => "interval".into(),
                Value::String(_) if ["history_age", "max_lifetime"].contains(&key.as_str()) => {
                    "1day".into()
                }
                Value::String(_) if section == "log" && key == "url" => {
                    "rediss://a.example/1".into()
                }
                Value::String(_) if key == "url" => "https://a.example/hub".into(),
                Value::String(_) if key == "subscribe" => "token".into(),
                Value::String(_) if key == "cookie" => "other_cookie".into(),
                Value::String(text) if text.ends_with(['s', 'm']) => "7s".into(),
                Value::String(_) => "localhost:8080".into(),
                other => panic!("a setting of a new type: {other}"),
            };
            let bare = match &other {
                Value::String(text) => text.clone(),
                Value::Array(items) if key == "issuers" => serde_json::to_string(items).unwrap(),
                Value::Array(items) => {
                    let items: Vec<_> = items.iter().map(|item| item.as_str().unwrap()).collect();
                    items.join(", ")
                }
                other => other.to_string(),
            };
            let name = format!("BROADCASTER__{section}__{key}").to_ascii_uppercase();
            let print = command(elsewhere.path(), &["--print-config"]);

            let printed = finish(with(print, &[(&name, &bare)]));

            let mut expected = all.clone();
            expected[section.as_str()][key.as_str()] = other;
            assert_eq!(printed.stderr, "", "{name}={bare}");
            assert_eq!(
                printed.stdout.parse::<Table>().unwrap(),
                expected,
                "{name}={bare}"
            );
        }
    }
}

#[test]
fn flags_override_variables_and_variables_override_the_file() {
    let folder = folder(&[(
        "config/default.toml",
        b"[ticker]\ninterval = '2s'\n[server]\nbind = '127.0.0.1:1'\nstatic_dir = 'a'\n",
    )]);
    let variables = [
        ("BROADCASTER__TICKER__INTERVAL", "3s"),
        ("BROADCASTER__SERVER__BIND", "127.0.0.1:2"),
        ("BROADCASTER__SERVER__MAX_SUBSCRIBERS", "2"),
        ("BROADCASTER__LOGGING__LEVEL", "warn"),
    ];
    #[rustfmt::skip]
    let flags = [
        "--print-config", "--interval", "4s", "--bind", "127.0.0.1:3", "--static-dir", "b",
        "--max-subscribers", "3", "--log-level", "error",
    ];

    let variables_alone = finish(with(command(folder.path(), &flags[..1]), &variables));
    let both = finish(with(command(folder.path(), &flags), &variables));

    for (printed, lines) in [
        (
            variables_alone,
            [
                "interval = \"3s\"",
                "bind = \"127.0.0.1:2\"",
                "static_dir = \"a\"",
                "max_subscribers = 2",
                "level = \"warn\"",
            ],
        ),
        (
            both,
            [
                "interval = \"4s\"",
                "bind = \"127.0.0.1:3\"",
                "static_dir = \"b\"",
                "max_subscribers = 3",
                "level = \"error\"",
            ],
        ),
    ] {
        for line in lines {
            assert!(printed.stdout.contains(&format!("{line}\n")), "{line}");
        }
    }
}

#[test]
fn a_printed_config_loads_as_the_same_config() {
    let folder = tempdir().unwrap();
    let print = command(folder.path(), &["--print-config", "--interval", "1500us"]);
    let message = ("BROADCASTER__TICKER__MESSAGE", "\"'''\\ \n{n} \u{e9}");

    let first = finish(with(print, &[message]));
    fs::write(folder.path().join("printed.toml"), &first.stdout).unwrap();
    let second = run(
        folder.path(),
        &["--print-config", "--config", "printed.toml"],
    );

    assert_eq!(first.code, Some(0));
    assert!(first.stdout.contains("interval = \"1ms 500us\"\n"));
    assert_eq!(second.stdout, first.stdout);
}

#[test]
fn an_unusable_config_file_is_refused_with_its_name_and_the_reason() {
    let folder = folder(&[
        ("utf8.toml", b"[ticker]\n# \xff\n"),
        ("syntax.toml", b"[ticker]\ninterval = '1s\n"),
        ("value.toml", b"[ticker]\ninterval = '1h 30'\n"),
        ("key.toml", b"[ticker]\ninterva = '1s'\n"),
        ("long.toml", &[b'#'; (1 << 20) + 1]),
        ("longest.toml", &[b'#'; 1 << 20]),
        ("good.toml", b""),
    ]);
    let check = |name| run(folder.path(), &["--check-config", "--config", name]);

    for (name, reason) in [
        (
            "none.toml",
            "none.toml: cannot read the config file: No such file",
        ),
        (".", ".: cannot read the config file: it is a folder"),
        (
            "/dev/null",
            "/dev/null: cannot read the config file: it is not a regular file",
        ),
        ("utf8.toml", "it is not UTF-8 in line 2"),
        ("syntax.toml", "syntax.toml:2:15: this is not TOML: "),
        (
            "value.toml",
            "ticker.interval: found \"1h 30\", allowed is a duration from 1ms to 24h",
        ),
        ("key.toml", "there is no key ticker.interva; allowed is"),
        ("long.toml", "it is longer than 1048576 bytes"),
    ] {
        let checked = check(name);
        let started = run(folder.path(), &["--config", name]);

        assert!(
            refusal(&checked).contains(reason),
            "{reason:?} in {:?}",
            checked.stderr
        );
        assert_eq!(refusal(&checked), refusal(&started));
    }
    for name in ["good.toml", "longest.toml"] {
        let checked = check(name);

        assert_eq!(checked.code, Some(0), "{}", checked.stderr);
        assert_eq!(checked.stdout, format!("{name} is good\n"));
        assert_eq!(checked.stderr, "");
    }
}

#[test]
fn a_dangling_link_as_config_file_is_an_error() {
    let folder = folder(&[("config/other", b"")]);
    std::os::unix::fs::symlink("nothing", folder.path().join("config/default.toml")).unwrap();

    let checked = run(folder.path(), &["--check-config"]);

    assert!(refusal(&checked).starts_with("config/default.toml: cannot read the config file: "));
}

#[test]
fn a_wrong_flag_or_variable_is_refused_with_its_name() {
    let elsewhere = tempdir().unwrap();
    for (flag, key, value) in [
        ("--bind", "server.bind", "3000"),
        ("--interval", "ticker.interval", "0s"),
        ("--static-dir", "server.static_dir", ""),
        ("--max-subscribers", "server.max_subscribers", "-1"),
        ("--log-level", "logging.level", "loud"),
    ] {
        let finished = run(
            elsewhere.path(),
            &["--check-config", &format!("{flag}={value}")],
        );

        let start = format!("flag {flag}: {key}: found ");
        assert!(refusal(&finished).starts_with(&start), "{start}");
        assert!(refusal(&finished).contains(", allowed is "));
    }
    let mut not_utf8 = command(elsewhere.path(), &["--check-config"]);
    not_utf8.env("BROADCASTER__TICKER__MESSAGE", OsStr::from_bytes(b"\xff"));
    assert_eq!(
        refusal(&finish(not_utf8)),
        "environment variable BROADCASTER__TICKER__MESSAGE: ticker.message: found \"\u{fffd}\", \
         allowed is text in UTF-8"
    );
}

#[test]
fn an_unknown_flag_is_refused_with_the_same_exit_code() {
    let elsewhere = tempdir().unwrap();

    let finished = run(elsewhere.path(), &["--intervall", "1s"]);

    assert_eq!(finished.code, Some(2));
    assert!(finished.stderr.contains("--interval"));
}

#[test]
fn the_help_names_flags_exit_codes_and_signals() {
    let elsewhere = tempdir().unwrap();

    let help = run(elsewhere.path(), &["--help"]);
    let version = run(elsewhere.path(), &["--version"]);

    #[rustfmt::skip]
    let parts = [
        "--config <PATH>", "--bind <ADDRESS>", "--interval <DURATION>", "--static-dir <PATH>",
        "--max-subscribers <NUMBER>", "--log-level <LEVEL>", "--check-config", "--print-config",
        "Exit codes:\n  0  ", "\n  1  ", "\n  2  ", "SIGTERM", "SIGINT", "SIGHUP", "RUST_LOG",
        "BROADCASTER__TICKER__INTERVAL=250ms", "config/default.toml",
    ];
    for part in parts {
        assert!(help.stdout.contains(part), "{part} in {}", help.stdout);
    }
    let longest = help.stdout.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(100), "{}", help.stdout);
    assert_eq!(help.code, Some(0));
    assert_eq!(
        version.stdout,
        concat!("broadcaster ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn a_closed_standard_output_is_not_an_error() {
    let elsewhere = tempdir().unwrap();
    let mut command = command(elsewhere.path(), &["--print-config"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());

    let output = child.wait_with_output().unwrap();

    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn a_failed_write_to_standard_output_is_an_error() {
    let folder = folder(&[("secret", &[b'k'; 32])]);
    let token: &[&str] = &[
        "token",
        "--publish",
        "*",
        "--issuer",
        "https://example.com",
        "--key",
        "secret",
    ];

    for args in [
        &["--print-config"][..],
        &["--check-config"],
        &["--help"],
        &["--version"],
        token,
    ] {
        let works = run(folder.path(), args);
        assert_eq!(works.code, Some(0), "{args:?} {}", works.stderr);
        let mut command = command(folder.path(), args);
        command.stdout(
            fs::OpenOptions::new()
                .write(true)
                .open("/dev/full")
                .unwrap(),
        );

        let output = command.output().unwrap();

        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?} {stderr}");
        assert!(
            stderr.starts_with("broadcaster: cannot write to standard output: No space left"),
            "{args:?} {stderr}"
        );
    }
}
