//! Random faults. `CHAOS_SEED=7 make chaos` repeats a random sequence, and `CHAOS_ROUNDS` sets the number of
//! faults.

use std::time::Duration;

use super::faults::{Fault, cluster, run};

pub fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number")),
    )
}

fn fault(random: &mut fastrand::Rng) -> Fault {
    let time = Duration::from_millis(random.u64(100..4000));
    let node = random.usize(0..3);
    match random.u8(0..6) {
        0 => Fault::KillNode(node),
        1 => Fault::RestartAll,
        2 => Fault::KillRedis,
        3 => Fault::CutOne(node, time),
        4 => Fault::CutAll(time),
        _ => Fault::SlowDown(time),
    }
}

#[test]
fn random_failures_lose_no_acknowledged_event() {
    let seed = number("CHAOS_SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    let rounds = number("CHAOS_ROUNDS").unwrap_or(4);
    println!("seed {seed}, {rounds} rounds");
    let mut random = fastrand::Rng::with_seed(seed);
    let faults = (0..rounds).map(|_| {
        let fault = fault(&mut random);
        println!("{fault:?}");
        fault
    });
    run(cluster(), faults).assert_whole(&format!("seed {seed}, {rounds} rounds of chaos"));
}
