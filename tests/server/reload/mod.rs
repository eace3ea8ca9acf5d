//! The running server applies a changed config: no subscriber is disconnected, and no number is skipped.

mod files;
mod issuers;
mod saving;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use crate::support::{
    BOUND,
    client::Stream,
    eventually,
    process::{Process, command},
};
use rustix::process::Signal;
use tempfile::{TempDir, tempdir};

/// The log message of every reload that takes effect immediately.
const TAKEN: &str = "the config file has changed: config reloaded, in effect now: ";

/// Disables heartbeat comments in practice, so that a read without an event times out after [`BOUND`].
const NO_COMMENTS: (&str, &str) = ("BROADCASTER__STREAM__HEARTBEAT", "1h");

/// A running server, and the folder in which it was started.
struct Reloading {
    folder: TempDir,
    process: Process,
}

impl Reloading {
    /// Starts a server with the file `config.toml` in a new folder.
    fn start(config: &str) -> Self {
        Self::start_with(config, &[], &[NO_COMMENTS])
    }

    fn start_with(config: &str, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let folder = tempdir().unwrap();
        fs::write(folder.path().join("config.toml"), config).unwrap();
        Self::run(
            folder,
            &[&["--config", "config.toml"], flags].concat(),
            variables,
        )
    }

    fn run(folder: TempDir, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = command(folder.path(), &[&["--bind", "127.0.0.1:0"], args].concat());
        command.envs(variables.iter().copied());
        let process = Process::spawn(command);
        process.wait_for_log("listening on");
        Self { folder, process }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Overwrites `config.toml` in place.
    fn save(&self, config: &str) {
        fs::write(self.path("config.toml"), config).unwrap();
    }

    fn open(&self) -> Stream {
        Stream::resume(self.process.addr(), Some("earliest"))
    }

    /// The lines logged since the server listens, each beginning with its level.
    fn log(&self) -> Vec<String> {
        let log = self.process.stderr();
        let lines = log
            .lines()
            .skip_while(|line| !line.contains("listening on"));
        lines
            .skip(1)
            .map(|line| line.split_once("Z ").unwrap().1.to_owned())
            .collect()
    }

    /// Waits until this many lines are logged, and asserts that each contains its expected text.
    fn assert_log(&self, expected: &[&str]) {
        let lines = eventually(&format!("{} lines in the log", expected.len()), || {
            Some(self.log()).filter(|lines| lines.len() >= expected.len())
        });
        assert_eq!(lines.len(), expected.len(), "{lines:#?}");
        for (line, part) in lines.iter().zip(expected) {
            assert!(line.contains(part), "{part:?} in {line:?}");
        }
    }
}

/// A config with this ticker interval. The messages contain `name`, so that a test recognizes the config.
fn ticker(interval: &str, name: &str) -> String {
    format!("[ticker]\ninterval = '{interval}'\nmessage = '{name} {{n}}'\n")
}

/// Reads up to the first message of the config with this name. Asserts that each number follows the previous
/// one.
fn read_until(stream: &mut Stream, next: &mut u64, name: &str) {
    let deadline = Instant::now() + BOUND;
    loop {
        assert!(Instant::now() < deadline, "timed out waiting for: {name}");
        let event = stream.event().expect("the stream continues");
        assert_eq!(event.name, None, "{event:?}");
        assert_eq!(event.index(), *next);
        let (said, number) = event.data.rsplit_once(' ').unwrap();
        assert_eq!(number, next.to_string(), "{event:?}");
        *next += 1;
        if said == name {
            return;
        }
    }
}

fn replace(path: &Path, content: &str) {
    let new = path.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::rename(new, path).unwrap();
}

#[test]
fn a_saved_interval_takes_effect_on_open_streams() {
    let server = Reloading::start(&ticker("24h", "slow"));
    let mut stream = server.open();

    server.save(&ticker("50ms", "fast"));
    let first = stream.numbers(3);
    server.save(&ticker("20ms", "faster"));
    let mut next = 3;
    read_until(&mut stream, &mut next, "faster");

    assert_eq!(first, [0, 1, 2]);
    let taken =
        format!("INFO  sse_broadcaster::server::reload] {TAKEN}ticker.interval, ticker.message");
    server.assert_log(&[&taken, TAKEN]);
}

#[test]
fn sighup_reloads_the_file() {
    let server = Reloading::start(&ticker("24h", "slow"));
    let mut stream = server.open();

    server.process.signal(Signal::HUP);
    server.assert_log(&["SIGHUP: config reloaded, nothing takes effect now"]);
    server.save(&ticker("50ms", "fast"));
    server.process.signal(Signal::HUP);
    let numbers = stream.numbers(3);

    assert_eq!(numbers, [0, 1, 2]);
}

#[test]
fn a_bad_file_changes_nothing_and_logs_one_line() {
    let server = Reloading::start(&ticker("20ms", "old"));
    let (mut stream, mut next) = (server.open(), 0);

    let refused = "ERROR sse_broadcaster::server::reload] the config file has changed: the config is not \
                   reloaded, the old one stays: config.toml";
    server.save("[ticker]\ninterval = '5ms'\nmessage =\n");
    let syntax = format!("{refused}:3:10: this is not TOML: ");
    server.assert_log(&[&syntax]);
    server.save("[ticker]\ninterval = '5ms'\nmessage = 5\n");
    let value = format!("{refused}: ticker.message: found 5, allowed is ");
    server.assert_log(&[&syntax, &value]);
    server.process.signal(Signal::HUP);
    let again = "ERROR sse_broadcaster::server::reload] SIGHUP: the config is not reloaded, ";
    server.assert_log(&[&syntax, &value, again]);
    let bad_until = next_number(&mut stream, &mut next, "old");
    server.save(&ticker("20ms", "new"));
    read_until(&mut stream, &mut next, "new");

    assert!(next > bad_until);
    server.assert_log(&[&syntax, &value, again, TAKEN]);
}

/// Waits for a message of the config with this name, and returns the number of the message after it.
fn next_number(stream: &mut Stream, next: &mut u64, name: &str) -> u64 {
    read_until(stream, next, name);
    *next
}

#[test]
fn after_an_invalid_file_the_previous_content_is_loaded_again() {
    let server = Reloading::start(&ticker("24h", "old"));

    server.save("[ticker");
    server.assert_log(&["not reloaded"]);
    server.save(&ticker("24h", "old"));

    server.assert_log(&["not reloaded", "config reloaded, nothing takes effect now"]);
}

#[test]
fn a_key_that_needs_a_restart_is_named_once_for_each_change() {
    let config = |workers, interval| {
        let ticker = ticker(interval, "m");
        format!("[server]\nworkers = {workers}\n{ticker}[stream]\nqueue = {workers}\n")
    };
    let server = Reloading::start(&config(1, "24h"));
    let mut log = Vec::new();
    for (config, lines) in [
        (
            config(2, "23h"),
            &[
                "config reloaded, in effect now: ticker.interval",
                "WARN  sse_broadcaster::server::reload] a restart is needed for the change of \
                 server.workers, stream.queue",
            ][..],
        ),
        (config(2, "22h"), &["in effect now: ticker.interval"]),
        (
            config(3, "22h"),
            &["nothing takes effect now", "a restart is needed for"],
        ),
        (
            config(1, "22h"),
            &[
                "nothing takes effect now",
                "no restart is needed any more for server.workers, stream.queue",
            ],
        ),
    ] {
        server.save(&config);

        log.extend(lines);
        server.assert_log(&log);
    }
}

#[test]
fn variables_and_flags_still_override_the_file_after_a_reload() {
    let variable = ("BROADCASTER__TICKER__INTERVAL", "20ms");
    let flags = ["--max-subscribers", "7"];
    let server = Reloading::start_with(&ticker("24h", "old"), &flags, &[variable, NO_COMMENTS]);
    let (mut stream, mut next) = (server.open(), 0);
    read_until(&mut stream, &mut next, "old");

    let new = ticker("23h", "new");
    server.save(&format!("[server]\nmax_subscribers = 8\n{new}"));
    for _ in 0..3 {
        read_until(&mut stream, &mut next, "new");
    }

    server.assert_log(&["in effect now: ticker.message"]);
}

#[test]
fn a_ticker_that_is_disabled_and_enabled_continues_its_count() {
    let off = "[ticker]\nenabled = false\n";
    let server = Reloading::start(&ticker("20ms", "first"));
    let (mut stream, mut next) = (server.open(), 0);
    read_until(&mut stream, &mut next, "first");

    server.save(off);
    server.assert_log(&["in effect now: ticker.enabled, ticker.interval, ticker.message"]);
    server.save(&ticker("20ms", "second"));
    read_until(&mut stream, &mut next, "second");

    server.assert_log(&[TAKEN, TAKEN]);
}

#[test]
fn a_new_heartbeat_takes_effect_on_open_streams() {
    let config =
        |heartbeat| format!("[ticker]\nenabled = false\n[stream]\nheartbeat = '{heartbeat}'");
    let server = Reloading::start_with(&config("1h"), &[], &[]);
    let mut stream = Stream::open(server.process.addr());
    stream.chunk();

    server.save(&config("100ms"));
    let comments = [stream.chunk(), stream.chunk()];

    assert_eq!(comments, [Some(b":\n".to_vec()), Some(b":\n".to_vec())]);
    server.assert_log(&["in effect now: stream.heartbeat"]);
}
