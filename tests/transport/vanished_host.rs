//! A client whose host disappears without closing the connection: the server removes it within the heartbeat
//! and the write timeout. The host is a network namespace, and the test cuts its network cable.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::support::server::{TestServer, quiet};

/// Another host, connected by a virtual cable.
struct Host {
    name: String,
    /// The common prefix of the addresses at both ends.
    network: String,
    client: Option<Child>,
}

fn ip(args: &str) -> Result<(), String> {
    let output = Command::new("ip")
        .args(args.split(' '))
        .output()
        .map_err(|err| format!("ip: {err}"))?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {args}: {}", reason.trim()))
}

impl Host {
    fn connect() -> Result<Self, String> {
        let id = std::process::id();
        let host = Self {
            name: format!("sse{id}"),
            network: format!("10.213.{}", id % 256),
            client: None,
        };
        let Self { name, network, .. } = &host;
        ip(&format!("netns add {name}"))?;
        ip(&format!(
            "link add {name}a type veth peer name {name}b netns {name}"
        ))?;
        ip(&format!("addr add {network}.1/24 dev {name}a"))?;
        ip(&format!("link set {name}a up"))?;
        ip(&format!("-n {name} addr add {network}.2/24 dev {name}b"))?;
        ip(&format!("-n {name} link set {name}b up"))?;
        Ok(host)
    }

    fn subscribe(&mut self, port: u16) {
        let script = format!(
            "exec 3<>/dev/tcp/{}.1/{port}; \
             printf 'GET /events/sse HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' >&3; exec cat <&3",
            self.network
        );
        let client = Command::new("ip")
            .args(["netns", "exec", &self.name, "bash", "-c", &script])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.client = Some(client);
    }

    fn pull_the_cable(&self) {
        ip(&format!("-n {0} link set {0}b down", self.name)).unwrap();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(client) = &mut self.client {
            client.kill().ok();
            client.wait().ok();
        }
        for remains in [
            format!("netns del {}", self.name),
            format!("link del {}a", self.name),
        ] {
            // Deleting one end of the cable may already have deleted the other.
            ip(&remains).ok();
        }
    }
}

#[test]
fn a_client_whose_host_disappeared_is_removed_even_if_nothing_is_published() {
    let mut host = match Host::connect() {
        Ok(host) => host,
        Err(reason) => {
            println!("SKIPPED: no network namespace can be created: {reason}");
            return;
        }
    };
    let mut config = quiet();
    config.server.bind = format!("{}.1:0", host.network);
    config.server.write_timeout = Duration::from_secs(1);
    config.stream.heartbeat = Duration::from_secs(1);
    let server = TestServer::start(config);
    host.subscribe(server.addr.port());
    server.wait_for_live(1);

    let start = Instant::now();
    host.pull_the_cable();
    server.wait_for_live(0);

    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    println!("removed after {took:?}, with heartbeat and write timeout of 1 s each");
}
