//! The plan: which server is measured under which load, and for how long.

use crate::record::{Case, Peer, Scenario};

/// Duration of the two parts of a run, in seconds: settling, and the measurement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    settle: u32,
    measure: u32,
}

impl Pace {
    pub(super) const WHOLE: Self = Self {
        settle: 2,
        measure: 5,
    };
    pub(super) const QUICK: Self = Self {
        settle: 2,
        measure: 6,
    };
}

/// Numbers of subscribers for which the CPU time of a delivery is plotted.
const SUBSCRIBERS: [usize; 5] = [100, 1_000, 5_000, 10_000, 19_000];
/// Maximum number of subscribers with which NestJS is measured.
const MAX_NESTJS_SUBSCRIBERS: usize = 10_000;
/// Number of subscribers that stay connected while 10,000 others reconnect. The limit of open files allows
/// only a few more.
const LISTENING: usize = 9_000;

/// Number of topics that have one subscriber each. `MATCHED_TOPICS` is the number of topics that match
/// patterns.
const TOPICS: usize = 10_000;
const MATCHED_TOPICS: usize = 100;

/// Cases that are compared with each other, and so measured one after another.
type Group = Vec<Case>;

fn fan_out(peer: Peer, subscribers: usize, per_second: u64) -> Case {
    Case {
        scenario: Scenario::FanOut,
        peer,
        subscribers,
        per_second,
    }
}

/// The plan of `make bench`.
pub(super) fn whole(peers: &[Peer]) -> Vec<Group> {
    let mut groups: Vec<Group> = SUBSCRIBERS
        .map(|subscribers| {
            let peers = Peer::ALL.into_iter();
            peers
                .filter(|peer| *peer != Peer::Nestjs || subscribers <= MAX_NESTJS_SUBSCRIBERS)
                .map(|peer| fan_out(peer, subscribers, 10))
                .collect()
        })
        .into();
    let fast = Peer::ALL.into_iter().filter(|peer| *peer != Peer::Nestjs);
    groups.push(fast.map(|peer| fan_out(peer, 1_000, 1_000)).collect());
    let ours = Peer::Broadcaster;
    groups.push(vec![
        fan_out(ours, 5_000, 1_000),
        fan_out(ours, 10_000, 1_000),
    ]);
    let special = |scenario, peer, subscribers, per_second| Case {
        scenario,
        peer,
        subscribers,
        per_second,
    };
    groups.push(vec![
        special(Scenario::Large, ours, 10_000, 10),
        special(Scenario::Laggards, ours, 10_000, 10),
    ]);
    groups.push(vec![
        special(Scenario::Storm, ours, LISTENING, 10),
        special(Scenario::Storm, Peer::Nchan, LISTENING, 10),
    ]);
    groups.push(vec![special(Scenario::Idle, ours, 10_000, 0)]);
    groups.push(vec![
        special(Scenario::Publish, ours, 1, 0),
        special(Scenario::Publish, Peer::Nchan, 1, 0),
    ]);
    groups.push(vec![
        special(Scenario::Topics, ours, TOPICS, 10_000),
        special(Scenario::Patterns, ours, 1_000, 1_000),
    ]);
    for group in &mut groups {
        group.retain(|case| peers.contains(&case.peer));
    }
    groups
}

/// The plan of `make bench-quick`.
pub(super) fn quick(peers: &[Peer]) -> Vec<Group> {
    [(10_000, 10), (1_000, 1_000)]
        .map(|(subscribers, per_second)| {
            let peers = peers.iter();
            peers
                .map(|peer| fan_out(*peer, subscribers, per_second))
                .collect()
        })
        .into()
}

/// The number of rounds for a case. It is smaller for a case that takes very long or whose results vary
/// little.
pub(super) fn rounds_of(case: &Case, rounds: usize) -> usize {
    let few = match case.scenario {
        Scenario::Idle => 1,
        Scenario::FanOut if case.subscribers == 100 => 1,
        Scenario::FanOut if case.subscribers == 5_000 && case.per_second == 10 => 2,
        // This load is far beyond the capacity of NestJS: responses take minutes, or never arrive.
        Scenario::FanOut
            if case.peer == Peer::Nestjs && case.subscribers == MAX_NESTJS_SUBSCRIBERS =>
        {
            1
        }
        Scenario::Large | Scenario::Laggards => 2,
        _ => rounds,
    };
    few.min(rounds)
}

/// The arguments for `sse-bench`, except the address and the process id of the server.
pub(super) fn load(case: &Case, pace: Pace) -> Vec<String> {
    let mut arguments = vec![
        match case.scenario {
            Scenario::FanOut | Scenario::Large | Scenario::Laggards => "load",
            Scenario::Storm => "storm",
            Scenario::Idle => "idle",
            Scenario::Publish | Scenario::Topics | Scenario::Patterns => {
                return publish(case, pace);
            }
        }
        .to_owned(),
        format!("--subscribers={}", case.subscribers),
    ];
    let Pace { settle, measure } = pace;
    match case.scenario {
        // With few deliveries, the CPU time is small. It is measured for longer, because the kernel counts it
        // in hundredths of a second.
        Scenario::FanOut if case.subscribers == 100 => {
            arguments.extend(["--settle=1", "--measure=20"].map(str::to_owned));
        }
        Scenario::FanOut => {
            arguments.push(format!("--settle={settle}"));
            arguments.push(format!("--measure={measure}"));
        }
        // The settle time is long enough to fill the socket buffers of the stalled reader. `Large` is
        // measured in the same way, for comparison.
        Scenario::Large | Scenario::Laggards => {
            arguments.extend(["--settle=8", "--measure=8"].map(str::to_owned));
        }
        _ => {}
    }
    if case.scenario == Scenario::Laggards {
        arguments.extend(["--stalled=1", "--slow=100"].map(str::to_owned));
    }
    let fan_out = !matches!(case.scenario, Scenario::Storm | Scenario::Idle);
    if fan_out && case.peer == Peer::Broadcaster {
        arguments.push("--metrics".to_owned());
    }
    // At such a rate, one thread of the load would be too slow.
    if case.subscribers as u64 * case.per_second > 1_000_000 {
        arguments.push("--threads=2".to_owned());
    }
    if case.peer == Peer::Nestjs {
        arguments.push("--own-numbers".to_owned());
    }
    arguments
}

fn publish(case: &Case, pace: Pace) -> Vec<String> {
    let mut arguments = vec![
        "publish".to_owned(),
        format!("--settle={}", pace.settle),
        format!("--measure={}", pace.measure),
        format!("--per-second={}", case.per_second),
    ];
    let hub = "/.well-known/mercure";
    match case.scenario {
        Scenario::Topics => arguments.extend([
            format!("--subscribers={}", case.subscribers),
            format!("--topics={TOPICS}"),
            format!("--target={hub}?match=/topics/{{topic}}"),
        ]),
        Scenario::Patterns => arguments.extend([
            format!("--subscribers={}", case.subscribers),
            format!("--topics={MATCHED_TOPICS}"),
            "--topic=/{topic}/x".to_owned(),
            format!("--target={hub}?match_urlpattern=/{{topic}}/:v{{n}}"),
        ]),
        _ if case.peer == Peer::Nchan => {
            arguments.extend(["--raw", "--to=/publish", "--target=/events/sse"].map(str::to_owned));
        }
        _ => {}
    }
    arguments
}
