//! Describes where the comparison runs: the machine, and the version of every program that takes part.

use std::{collections::HashMap, fs, process::Command, time::SystemTime};

use super::peers::Paths;
use crate::record::{Peer, Surroundings};

/// Describes this machine and the programs. `not_run` lists the peers that cannot be run, with the reason.
pub(super) fn look(paths: &Paths, rounds: usize, not_run: Vec<(Peer, String)>) -> Surroundings {
    let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(unknown);
    let memory_kb: u64 = field("/proc/meminfo", "MemTotal")
        .and_then(|total| total.split(' ').next()?.parse().ok())
        .unwrap_or_default();
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    Surroundings {
        date: now.split('T').next().unwrap_or_default().to_owned(),
        command: "make bench".into(),
        rounds,
        cpu,
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        memory_gib: (memory_kb as f64 / 1024.0 / 1024.0).round() as u64,
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
            .map_or_else(|_| unknown(), |release| format!("Linux {}", release.trim())),
        system: system(),
        versions: versions(paths),
        not_run,
    }
}

fn unknown() -> String {
    "unknown".into()
}

/// The text after the colon in the first line of a file that begins with this name.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn system() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map_or_else(unknown, |name| name.trim_matches('"').to_owned())
}

/// The first line that a command prints, on standard output or else on standard error.
fn first_line(command: &mut Command) -> Option<String> {
    let output = command
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).ok()?;
    text.lines().next().map(|line| line.trim().to_owned())
}

fn versions(paths: &Paths) -> Vec<(String, String)> {
    let commit = first_line(
        Command::new("git")
            .args(["describe", "--always", "--dirty"])
            .current_dir(&paths.root),
    );
    let ours = first_line(Command::new(&paths.broadcaster).arg("--version"))
        .map(|version| last_word(&version));
    let ours = ours.map(|version| match commit {
        Some(commit) => format!("{version} (commit {commit})"),
        None => version,
    });
    let nchan =
        first_line(Command::new("dpkg-query").args(["-W", "-f=${Version}", "libnginx-mod-nchan"]));
    let nginx = first_line(Command::new("nginx").arg("-v"))
        .map(|line| line.rsplit('/').next().unwrap_or_default().to_owned());
    let crates = crates(paths);
    let of = |name: &str| crates.get(name).cloned();
    [
        ("sse-broadcaster", ours),
        (
            "rustc",
            first_line(Command::new("rustc").arg("--version")).map(|line| second_word(&line)),
        ),
        ("nginx", nginx),
        ("nchan", nchan),
        ("Node.js", first_line(Command::new("node").arg("--version"))),
        ("NestJS", nestjs(paths)),
        ("axum", of("axum")),
        ("actix-web", of("actix-web")),
        ("tokio", of("tokio")),
    ]
    .into_iter()
    .filter_map(|(name, version)| Some((name.to_owned(), version?)))
    .collect()
}

fn last_word(line: &str) -> String {
    line.split(' ').next_back().unwrap_or_default().to_owned()
}

fn second_word(line: &str) -> String {
    line.split(' ').nth(1).unwrap_or_default().to_owned()
}

fn nestjs(paths: &Paths) -> Option<String> {
    let package = paths
        .nestjs()
        .join("node_modules/@nestjs/core/package.json");
    let package: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(package).ok()?).ok()?;
    Some(package["version"].as_str()?.to_owned())
}

/// The version of each crate in `Cargo.lock`.
fn crates(paths: &Paths) -> HashMap<String, String> {
    let lock = fs::read_to_string(paths.root.join("Cargo.lock")).unwrap_or_default();
    lock.split("[[package]]")
        .filter_map(|package| {
            let value = |key: &str| {
                let line = package.lines().find_map(|line| line.strip_prefix(key))?;
                Some(line.trim_matches([' ', '=', '"']).to_owned())
            };
            Some((value("name")?, value("version")?))
        })
        .collect()
}
