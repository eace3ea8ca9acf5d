//! Random failures of two servers and of the Redis that they share: servers are killed and paused, and
//! another program stops, empties and writes to Redis. Every loss must be reported as a gap, and no event may
//! be delivered twice. `ATTACK_SEED=7` repeats a random sequence, `ATTACK_SECONDS` sets the duration.

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{chaos::number, crowd::Crowd, nodes::Cluster};
use crate::support::redis::Redis;

const LOG: &str = "{broadcaster}:log";

/// One failure of a server or of Redis.
#[derive(Debug, Clone, Copy)]
enum Blow {
    Kill(usize),
    /// The server is paused for this time.
    Stop(usize, Duration),
    /// Redis closes all connections of clients.
    KillClients,
    /// Redis does not respond for this time.
    Sleep(Duration),
    /// Redis refuses writes for this time.
    OutOfMemory(Duration),
    /// All entries of the stream except the newest are removed. The number says how many remain.
    Trim(u32),
    FlushAll,
    Delete(&'static str),
    /// Another program appends an entry with this id.
    Append(&'static str),
}

impl Blow {
    fn any(random: &mut fastrand::Rng) -> Self {
        let time = Duration::from_millis(random.u64(100..2500));
        let node = random.usize(..2);
        match random.u8(0..11) {
            0 => Self::Kill(node),
            1 => Self::Stop(node, time),
            2 => Self::KillClients,
            3 => Self::Sleep(time),
            4 => Self::OutOfMemory(time),
            5 => Self::Trim(random.u32(..50)),
            6 => Self::FlushAll,
            7 => Self::Delete("{broadcaster}:about"),
            8 => Self::Delete("{broadcaster}:times"),
            9 => Self::Append(random.choice(["*", "9007199254740993-1"]).unwrap()),
            _ => Self::Delete(LOG),
        }
    }

    fn fall(self, cluster: &mut Cluster, crowd: &Crowd) {
        let redis = &cluster.redis;
        match self {
            Self::Kill(node) => {
                cluster.nodes[node].kill();
                crowd.wait_for(30);
                cluster.nodes[node].start();
            }
            Self::Stop(node, time) => {
                let process = cluster.nodes[node].process();
                process.signal(Signal::STOP);
                thread::sleep(time);
                process.signal(Signal::CONT);
            }
            Self::KillClients => {
                redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
            }
            Self::Sleep(time) => {
                redis.command(&["DEBUG", "SLEEP", &time.as_secs_f32().to_string()]);
            }
            Self::OutOfMemory(time) => {
                redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
                thread::sleep(time);
                redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
            }
            Self::Trim(keep) => {
                redis.command(&["XTRIM", LOG, "MAXLEN", &keep.to_string()]);
            }
            Self::FlushAll => {
                redis.command(&["FLUSHALL"]);
            }
            Self::Delete(key) => {
                redis.command(&["DEL", key]);
            }
            Self::Append(id) => {
                redis.command(&["XADD", LOG, id, "field", "theirs"]);
            }
        }
        crowd.wait_for(50);
    }
}

#[test]
fn every_loss_in_redis_is_reported_as_a_gap_and_no_event_is_delivered_twice() {
    let seed = number("ATTACK_SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    let lasts = Duration::from_secs(number("ATTACK_SECONDS").unwrap_or(10));
    println!("two nodes on Redis: seed {seed}, {lasts:?}");
    let mut random = fastrand::Rng::with_seed(seed);
    let redis = Redis::start_with(&["--enable-debug-command", "yes"]);
    let config = "[ticker]\ninterval = '100ms'\n\
                  [stream]\nheartbeat = '1s'\nretry = '1ms'\nhistory = 200\n";
    let mut cluster = Cluster::with_redis(redis, 2, config);
    let crowd = Crowd::gather(&cluster);
    crowd.wait_for(100);
    let began = Instant::now();
    let mut blows = 0;

    while began.elapsed() < lasts {
        let blow = Blow::any(&mut random);
        println!("{blow:?}");
        blow.fall(&mut cluster, &crowd);
        blows += 1;
    }
    let report = crowd.disperse(&cluster);

    println!("seed {seed}, {blows} blows: {report}");
    assert!(
        report.acknowledged > 100,
        "too few failures for a meaningful test"
    );
    assert_eq!(report.lost, 0);
    assert_eq!((report.duplicated, report.out_of_order), (0, 0));
}
