//! How each server is started.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, ensure};

use super::{
    process::{Interruption, Process},
    publisher::Publisher,
};
use crate::record::{Case, Peer, Scenario};

/// History in events for high message rates. It is so long that lagging subscribers lose no events to
/// eviction.
pub(crate) const LONG_HISTORY: usize = 20_000;
/// Message rate per second above which the default history is too short.
const FAST: u64 = 100;
/// Number of bytes that are added to a message to make it large.
const PADDING: usize = 1000;

/// The issuer of the tokens for publishing. `KEY` is its key, and `HUB` is the hub URL in the tokens.
const ISSUER: &str = "https://issuer.example";
const KEY: &str = "tests/keys/ed25519";
const HUB: &str = "https://hub.example/.well-known/mercure";
const TOKEN_TIMEOUT: Duration = Duration::from_secs(10);

const NCHAN_MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/// Paths of the project and of its programs.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    /// Root folder of the project.
    pub(super) root: PathBuf,
    /// The server's binary.
    pub(super) broadcaster: PathBuf,
    pub(super) bench: PathBuf,
}

impl Paths {
    /// Finds the paths. The server binary must be in the same folder as this program, which it is if both
    /// were built with the same profile.
    pub(super) fn find(root: &Path) -> anyhow::Result<Self> {
        let bench = env::current_exe()?;
        Ok(Self {
            root: root.canonicalize()?,
            broadcaster: bench.with_file_name("broadcaster"),
            bench,
        })
    }

    pub(super) fn nestjs(&self) -> PathBuf {
        self.root.join("bench/peers/nestjs")
    }
}

/// A server that runs until this value is dropped.
pub(super) struct Server {
    pub(super) addr: SocketAddr,
    // This field is before `process`, so that publishing stops before the server.
    _publisher: Option<Publisher>,
    pub(super) process: Process,
    /// The bearer token for publishing.
    pub(super) token: Option<String>,
    _folder: Option<tempfile::TempDir>,
}

/// The reason why a peer cannot be run on this machine, or `None` if it can be run.
pub(super) fn missing(peer: Peer, paths: &Paths) -> Option<String> {
    let lacks = |path: &Path, what: &str| {
        (!path.exists()).then(|| format!("{what} is missing ({})", path.display()))
    };
    match peer {
        Peer::Broadcaster => lacks(&paths.broadcaster, "the server's release build"),
        Peer::Bare | Peer::Actix | Peer::Axum => None,
        Peer::Nchan => {
            let nginx = Command::new("nginx").arg("-v").output();
            if nginx.is_err() {
                return Some("nginx is not installed".into());
            }
            lacks(Path::new(NCHAN_MODULE), "nginx's module nchan")
        }
        Peer::Nestjs => {
            let built = Path::new("bench/peers/nestjs/dist/main.js");
            (!paths.root.join(built).exists()).then(|| {
                format!(
                    "its npm packages are not installed or {} is not built",
                    built.display()
                )
            })
        }
    }
}

/// Starts the server of this case, and waits until it listens.
pub(super) fn start(
    case: &Case,
    paths: &Paths,
    interruption: &Interruption,
) -> anyhow::Result<Server> {
    let interval = Duration::from_millis(1000_u64.checked_div(case.per_second).unwrap_or(1000));
    if case.peer == Peer::Nchan {
        return start_nchan(case, interval, paths, interruption);
    }
    let mut command = match case.peer {
        Peer::Broadcaster => broadcaster(case, interval, paths),
        Peer::Nestjs => {
            let mut command = Command::new("node");
            command
                .arg("dist/main.js")
                .current_dir(paths.nestjs())
                .env("NODE_ENV", "production")
                .env("INTERVAL_MS", interval.as_millis().to_string());
            command
        }
        peer => {
            let mut command = Command::new(&paths.bench);
            command.arg(match peer {
                Peer::Actix => "actix-pattern",
                Peer::Axum => "axum-broadcast",
                _ => "bare",
            });
            command.args(["--interval", &interval.as_millis().to_string()]);
            command
        }
    };
    let mut process = Process::start(&mut command)?;
    let addr = process.addr(interruption)?;
    let publishes = case.scenario.publishes() && case.peer == Peer::Broadcaster;
    let token = publishes.then(|| token(paths, interruption)).transpose()?;
    Ok(Server {
        addr,
        process,
        token,
        _publisher: None,
        _folder: None,
    })
}

/// The command that runs this server with its default settings, even if the environment contains other
/// settings.
fn shipped(paths: &Paths) -> Command {
    let mut command = Command::new(&paths.broadcaster);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("BROADCASTER__") {
            command.env_remove(name);
        }
    }
    command.current_dir(&paths.root).env_remove("RUST_LOG");
    command
}

/// The command that runs this server with its default settings, except for settings that the case needs.
fn broadcaster(case: &Case, interval: Duration, paths: &Paths) -> Command {
    let mut command = shipped(paths);
    command.env("BROADCASTER__SERVER__BIND", "127.0.0.1:0");
    if case.scenario.publishes() {
        let issuer = format!(r#"[{{"issuer":"{ISSUER}","pem_file":"{KEY}.pub.pem"}}]"#);
        command
            .env("BROADCASTER__HUB__URL", HUB)
            .env("BROADCASTER__AUTH__ISSUERS", issuer);
    }
    if case.per_second == 0 || case.scenario.publishes() {
        command.env("BROADCASTER__TICKER__ENABLED", "false");
    } else {
        let interval = format!("{}ms", interval.as_millis());
        command.env("BROADCASTER__TICKER__INTERVAL", interval);
    }
    if case.per_second > FAST || case.scenario == Scenario::Publish {
        command.env("BROADCASTER__STREAM__HISTORY", LONG_HISTORY.to_string());
    }
    if matches!(case.scenario, Scenario::Large | Scenario::Laggards) {
        let message = format!("Message number: {{n}} {}", "x".repeat(PADDING));
        command.env("BROADCASTER__TICKER__MESSAGE", message);
    }
    command
}

/// A token that allows publishing on every topic, signed with a private key.
fn token(paths: &Paths, interruption: &Interruption) -> anyhow::Result<String> {
    let mut command = shipped(paths);
    command
        .env("BROADCASTER__HUB__URL", HUB)
        .args(["token", "--publish", "*", "--issuer", ISSUER])
        .args(["--key", &format!("{KEY}.pem")]);
    let token = Process::start(&mut command)?.output(TOKEN_TIMEOUT, interruption)?;
    Ok(token.trim().to_owned())
}

fn start_nchan(
    case: &Case,
    interval: Duration,
    paths: &Paths,
    interruption: &Interruption,
) -> anyhow::Result<Server> {
    let template = paths.root.join("bench/peers/nchan.conf");
    let template = fs::read_to_string(&template)
        .with_context(|| format!("cannot read {}", template.display()))?;
    let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("tmp"))?;
    let config = folder.path().join("nginx.conf");
    fs::write(
        &config,
        template.replace("@PORT@", &addr.port().to_string()),
    )?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder.path()).arg("-c").arg(&config);
    let mut process = Process::start(&mut command)?;
    process.wait_for_listener(addr, interruption)?;
    ensure!(
        case.per_second <= 1000,
        "the publisher's shortest interval is a millisecond"
    );
    let publisher = (case.per_second > 0)
        .then(|| Publisher::start(addr, "/publish", interval))
        .transpose()?;
    Ok(Server {
        addr,
        process,
        token: None,
        _publisher: publisher,
        _folder: Some(folder),
    })
}
