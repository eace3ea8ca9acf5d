//! Faults of nodes, networks and Redis, and what must hold in spite of them. `FAULT_ROUNDS` sets how often
//! each fault occurs (`make faults`). By default, it is once or twice.

#![allow(clippy::print_stderr, reason = "a test that cannot be run says so")]

use std::{fs, thread, time::Duration};

use super::{
    crowd::{Crowd, Report},
    nodes::Cluster,
};
use crate::support::{eventually, redis::Redis, small_disk::SmallDisk};

/// The interval of numbered messages.
const INTERVAL: Duration = Duration::from_millis(100);

const CONFIG: &str = "[ticker]\ninterval = '100ms'\n\
                      [stream]\nheartbeat = '1s'\nretry = '1ms'\n";

pub fn cluster() -> Cluster {
    Cluster::start(3, CONFIG)
}

/// How often a fault occurs: `short` by default, `whole` with `FAULT_ROUNDS=all`, otherwise `FAULT_ROUNDS`.
fn rounds(short: usize, whole: usize) -> usize {
    match std::env::var("FAULT_ROUNDS").as_deref() {
        Ok("all") => whole,
        Ok(rounds) => rounds.parse().expect("a number of rounds, or all"),
        Err(_) => short,
    }
}

/// A fault that is repaired afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    KillNode(usize),
    RestartAll,
    KillRedis,
    CutOne(usize, Duration),
    CutAll(Duration),
    SlowDown(Duration),
}

impl Fault {
    pub fn happen(self, cluster: &mut Cluster, crowd: &Crowd) {
        match self {
            Self::KillNode(node) => {
                cluster.nodes[node].kill();
                // The other nodes must continue to accept events.
                crowd.wait_for(50);
                cluster.nodes[node].start();
            }
            Self::RestartAll => {
                for node in &mut cluster.nodes {
                    node.stop();
                    crowd.wait_for(30);
                    node.start();
                }
            }
            Self::KillRedis => {
                cluster.redis.kill();
                for node in &cluster.nodes {
                    node.wait_until_ready(false);
                }
                cluster.redis.run();
            }
            Self::CutOne(node, time) => {
                cluster.nodes[node].network.cut();
                thread::sleep(time);
                cluster.nodes[node].network.mend();
            }
            Self::CutAll(time) => {
                for node in &cluster.nodes {
                    node.network.cut();
                }
                thread::sleep(time);
                for node in &cluster.nodes {
                    node.network.mend();
                }
            }
            Self::SlowDown(time) => {
                for node in &cluster.nodes {
                    node.network.delay(Duration::from_millis(5));
                }
                thread::sleep(time);
                for node in &cluster.nodes {
                    node.network.delay(Duration::ZERO);
                }
            }
        }
        cluster.wait_until_ready();
        crowd.wait_for(200);
    }
}

/// Applies faults to a cluster while publishers and subscribers use it.
pub fn run(mut cluster: Cluster, faults: impl IntoIterator<Item = Fault>) -> Report {
    let crowd = Crowd::gather(&cluster);
    crowd.wait_for(200);
    for fault in faults {
        fault.happen(&mut cluster, &crowd);
    }
    crowd.disperse(&cluster)
}

impl Report {
    /// Asserts that nothing was lost, duplicated or out of order, and that no subscriber received a gap.
    pub fn assert_whole(&self, what: &str) {
        println!("{what}: {self}");
        assert!(self.acknowledged > 100, "{what}: too few to say anything");
        assert_eq!(self.acknowledged as u64, self.published, "{what}");
        assert_eq!((self.lost, self.reported_lost), (0, 0), "{what}");
        assert_eq!((self.duplicated, self.out_of_order), (0, 0), "{what}");
        assert_eq!(self.gaps, Vec::<String>::new(), "{what}");
        assert_eq!(self.wrong_ticks, 0, "{what}");
        self.assert_paced(what);
    }

    /// Asserts that there was at most one numbered message for each interval.
    pub fn assert_paced(&self, what: &str) {
        let due = self.elapsed.as_secs_f64() / INTERVAL.as_secs_f64();
        assert!(
            self.ticks as f64 <= due + 2.0,
            "{what}: {} of {due}",
            self.ticks
        );
    }

    /// Asserts that at least about 90% of the intervals have a numbered message.
    fn assert_steady(&self, what: &str) {
        let due = self.elapsed.as_secs_f64() / INTERVAL.as_secs_f64();
        assert!(
            self.ticks as f64 >= 0.9 * due - 5.0,
            "{what}: {} of {due}",
            self.ticks
        );
    }
}

#[test]
fn nothing_is_lost_when_one_of_three_nodes_is_killed() {
    let rounds = rounds(3, 30);
    let report = run(
        cluster(),
        (0..rounds).map(|round| Fault::KillNode(round % 3)),
    );
    let what = format!("one of three nodes killed {rounds} times");
    report.assert_whole(&what);
    report.assert_steady(&what);
}

#[test]
fn nothing_is_lost_in_a_rolling_restart_of_three_nodes() {
    let rounds = rounds(1, 5);
    let report = run(cluster(), (0..rounds).map(|_| Fault::RestartAll));
    let what = format!("three nodes restarted in turn {rounds} times");
    report.assert_whole(&what);
    report.assert_steady(&what);
}

#[test]
fn nothing_is_lost_when_redis_is_killed_and_restarted() {
    let rounds = rounds(2, 20);
    let report = run(cluster(), (0..rounds).map(|_| Fault::KillRedis));
    report.assert_whole(&format!("Redis killed and started again {rounds} times"));
}

#[test]
fn nothing_is_lost_when_one_node_loses_its_connection_to_redis() {
    let rounds = rounds(1, 10);
    let time = Duration::from_secs(10);
    let report = run(
        cluster(),
        (0..rounds).map(|round| Fault::CutOne(round % 3, time)),
    );
    let what = format!("Redis cut off for 10 s from one node {rounds} times");
    report.assert_whole(&what);
    report.assert_steady(&what);
}

#[test]
fn nothing_is_lost_when_all_nodes_lose_their_connection_to_redis() {
    let rounds = rounds(1, 10);
    let time = Duration::from_secs(10);
    let report = run(cluster(), (0..rounds).map(|_| Fault::CutAll(time)));
    report.assert_whole(&format!(
        "Redis cut off for 10 s from all nodes {rounds} times"
    ));
}

#[test]
fn nothing_is_lost_without_a_gap_when_redis_is_emptied() {
    let rounds = rounds(1, 3);
    let cluster = cluster();
    let crowd = Crowd::gather(&cluster);
    let mut probes = 0..;
    let mut epoch = || {
        let probe = probes.next();
        let id = cluster.published_at_last(0, &format!("topic=b&data=probe-{probe:?}"));
        id.split('-').next().unwrap().to_owned()
    };
    for _ in 0..rounds {
        crowd.wait_for(300);
        let before = epoch();
        cluster.redis.command(&["FLUSHALL"]);
        eventually("a new epoch", || (epoch() > before).then_some(()));
    }
    crowd.wait_for(100);
    let report = crowd.disperse(&cluster);

    let what = format!("Redis emptied {rounds} times");
    println!("{what}: {report}");
    assert_eq!(
        (report.lost, report.duplicated, report.out_of_order),
        (0, 0, 0)
    );
    report.assert_paced(&what);
    // Each of the six subscribers receives a gap each time, with the reason.
    assert!(report.gaps.len() >= 6 * rounds, "{:?}", report.gaps);
    let is_epoch = |gap: &String| gap.contains("\"reason\":\"epoch\"");
    assert!(report.gaps.iter().all(is_epoch), "{:?}", report.gaps);
}

#[test]
fn nothing_is_lost_while_the_disk_of_redis_is_full() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("SKIPPED: no small disk could be mounted, which requires root");
        return;
    };
    let rounds = rounds(1, 3);
    let folder = disk.path().to_str().unwrap();
    // With `always`, Redis would exit when the disk is full.
    let redis = Redis::start_with(&["--dir", folder, "--appendfsync", "everysec"]);
    let cluster = Cluster::with_redis(redis, 3, CONFIG);
    let crowd = Crowd::gather(&cluster);
    for _ in 0..rounds {
        crowd.wait_for(300);
        disk.fill();
        for node in &cluster.nodes {
            node.wait_until_ready(false);
        }
        disk.free();
        cluster.wait_until_ready();
        crowd.wait_for(50);
    }
    let report = crowd.disperse(&cluster);
    report.assert_whole(&format!("the disk of Redis full {rounds} times"));
}

#[test]
fn nothing_is_lost_when_the_clock_of_a_node_jumps() {
    let Some(library) = faketime() else {
        eprintln!("SKIPPED: libfaketime is missing, which `make setup` installs");
        return;
    };
    let rounds = rounds(1, 3);
    let mut cluster = cluster();
    let clock = cluster.nodes[0].file("clock");
    // The file is replaced atomically, because a partly written offset would be invalid.
    let set = |offset: &str| {
        let new = clock.with_extension("new");
        fs::write(&new, offset).unwrap();
        fs::rename(&new, &clock).unwrap();
    };
    set("+0");
    cluster.nodes[0].kill();
    cluster.nodes[0].start_with(&[
        ("LD_PRELOAD", &library),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ]);
    let crowd = Crowd::gather(&cluster);
    for _ in 0..rounds {
        for offset in ["+3600", "+0", "-3600", "+0"] {
            set(offset);
            crowd.wait_for(300);
        }
    }
    let report = crowd.disperse(&cluster);
    let what = format!("the clock of a node stepped by an hour {rounds} times");
    report.assert_whole(&what);
    report.assert_steady(&what);
}

/// The path of libfaketime, a library that changes the clock that a process sees.
fn faketime() -> Option<String> {
    let machines = fs::read_dir("/usr/lib").ok()?;
    let path = |machine: fs::DirEntry| machine.path().join("faketime/libfaketime.so.1");
    let mut found = machines.filter_map(Result::ok).map(path);
    let found = found.find(|path| path.exists())?;
    Some(found.to_str()?.to_owned())
}
