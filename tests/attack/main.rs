//! Random attacks. `ATTACK_SEED=7` repeats the random choices, although the timing still varies.
//! `ATTACK_SECONDS=600` sets the duration of each attack (`make attack`). Each attack prints what it did.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test prints its figures, and fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod churn;
mod requests;
mod tokens;

use std::time::{Duration, Instant};

use support::mercure::HubProcess;

/// The duration of an attack, and the seed of its random choices.
struct Attack {
    began: Instant,
    lasts: Duration,
    seed: u64,
}

impl Attack {
    fn begin(what: &str) -> Self {
        let number = |name: &str| {
            let text = std::env::var(name).ok()?;
            let number = text.parse();
            Some(number.unwrap_or_else(|_| panic!("{name} must be a number")))
        };
        let seconds = number("ATTACK_SECONDS").unwrap_or(3);
        let seed = number("ATTACK_SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
        println!("{what}: seed {seed}, {seconds} s");
        Self {
            began: Instant::now(),
            lasts: Duration::from_secs(seconds),
            seed,
        }
    }

    fn is_over(&self) -> bool {
        self.began.elapsed() >= self.lasts
    }

    /// The random numbers of one attacker.
    fn random(&self, attacker: u64) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed.wrapping_add(attacker << 32))
    }
}

/// Asserts that the server runs, responds, and never panicked.
fn assert_unharmed(mut victim: HubProcess) {
    let status = support::client::get(victim.addr(), "/healthz").status();
    assert_eq!(status, 200);
    let process = &mut victim.process;
    assert!(process.is_running());
    process.signal(rustix::process::Signal::TERM);
    assert!(process.wait().success());
    let log = process.whole_stderr();
    assert!(!log.contains("panicked"), "{log}");
}
