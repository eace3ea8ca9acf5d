//! The plan: which server is measured under which load, and for how long.

use crate::record::{Case, Peer, Scenario};

/// Duration of a run, in seconds.
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
/// NestJS is not measured with more subscribers.
const MOST_NESTJS: usize = 10_000;
/// Subscribers that listen while 10,000 others reconnect. Together they just fit into the limit of open
/// files.
const LISTENING: usize = 9_000;

/// Topics with one subscriber each, and topics that match many patterns.
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
                .filter(|peer| *peer != Peer::Nestjs || subscribers <= MOST_NESTJS)
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

/// The number of rounds. Cases that take very long or vary little need fewer.
pub(super) fn rounds_of(case: &Case, rounds: usize) -> usize {
    let few = match case.scenario {
        Scenario::Idle => 1,
        Scenario::FanOut if case.subscribers == 100 => 1,
        Scenario::FanOut if case.subscribers == 5_000 && case.per_second == 10 => 2,
        // This is far beyond its capacity: responses take minutes, if they come at all.
        Scenario::FanOut if case.peer == Peer::Nestjs && case.subscribers == MOST_NESTJS => 1,
        Scenario::Large | Scenario::Laggards => 2,
        _ => rounds,
    };
    few.min(rounds)
}

/// The arguments for `sse-bench`, except the address and process of the server.
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
        // There are few deliveries, so measure longer: the kernel counts CPU time in hundredths of a second.
        Scenario::FanOut if case.subscribers == 100 => {
            arguments.extend(["--settle=1", "--measure=20"].map(str::to_owned));
        }
        Scenario::FanOut => {
            arguments.push(format!("--settle={settle}"));
            arguments.push(format!("--measure={measure}"));
        }
        // Long enough to fill the buffers of the stalled reader.
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
    // One thread would take too long for a pass over all of its subscribers.
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
