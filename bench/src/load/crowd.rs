//! A crowd: a group of subscribers that connect together, on a few threads, and their progress.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{anyhow, ensure};

use super::{
    subscriber::Request,
    thread::{LoadThread, Totals},
};

/// How often the progress is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// The number of subscribers, their request, and how they connect.
#[derive(Debug, Clone)]
pub(crate) struct Crowd {
    pub(crate) request: Request,
    pub(crate) subscribers: usize,
    /// Number of subscribers of this process that connected earlier. Source addresses are assigned in the
    /// order of all subscribers of the process.
    pub(crate) before: usize,
    pub(crate) threads: usize,
    /// Maximum number of connections that wait for their response at the same time, over all threads.
    pub(crate) at_once: usize,
    /// Whether the server numbers the messages of each subscriber separately. Then equal numbers are not the
    /// same message, and messages have no spread.
    pub(crate) own_numbers: bool,
    /// The number that each subscriber must receive first. `None` allows any number.
    pub(crate) next: Option<u64>,
}

/// State shared by the threads of the crowd and the thread that waits for them.
#[derive(Debug)]
pub(super) struct Shared {
    /// The start of the run. The times of arrivals are relative to it.
    pub(super) start: Instant,
    pub(super) leave: AtomicBool,
    /// The goal is a message number: every subscriber must receive all messages before it. 0 means that no
    /// goal is set.
    pub(super) goal: AtomicU64,
    pub(super) progress: Vec<Progress>,
}

/// The progress of one thread. Each has its own cache lines, because its thread writes it constantly, which
/// would slow down the other threads.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Progress {
    /// Subscribers whose response has begun, or that the server rejected.
    pub(super) answered: AtomicUsize,
    pub(super) deliveries: AtomicU64,
    /// One more than the highest number that a subscriber of this thread received.
    pub(super) next: AtomicU64,
    /// The goal that all subscribers of this thread have reached.
    pub(super) reached_goal: AtomicU64,
}

/// A crowd that is connected. Dropping it closes the connections.
pub(crate) struct Present {
    subscribers: usize,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<anyhow::Result<Totals>>>,
}

impl Crowd {
    /// Starts the threads, which connect the subscribers. The times of arrivals are relative to `start`. For
    /// `goal`, see [`Present::wait_for`].
    pub(crate) fn connect(&self, start: Instant, goal: u64) -> Present {
        let shared = Arc::new(Shared {
            start,
            leave: AtomicBool::new(false),
            goal: AtomicU64::new(goal),
            progress: (0..self.threads).map(|_| Progress::default()).collect(),
        });
        let share = |n: usize| self.subscribers * n / self.threads;
        let threads = (0..self.threads)
            .map(|index| {
                let thread = LoadThread {
                    crowd: self.clone(),
                    first: self.before + share(index),
                    share: share(index + 1) - share(index),
                    shared: shared.clone(),
                    index,
                };
                std::thread::spawn(move || thread.run())
            })
            .collect();
        Present {
            subscribers: self.subscribers,
            shared,
            threads,
        }
    }
}

impl Present {
    /// Waits until the responses to all subscribers have begun.
    pub(crate) fn wait_for_answers(&mut self, timeout: Duration) -> anyhow::Result<()> {
        let all = self.wait(timeout, |present| present.answered() == present.subscribers)?;
        ensure!(
            all,
            "only {} of {} subscribers were answered within {timeout:?}",
            self.answered(),
            self.subscribers
        );
        Ok(())
    }

    /// Waits until every subscriber has received all messages before the number `goal`. Returns whether that
    /// happened within `timeout`.
    pub(crate) fn wait_for(&mut self, goal: u64, timeout: Duration) -> anyhow::Result<bool> {
        self.shared.goal.store(goal, Relaxed);
        self.wait(timeout, |present| {
            let mut progress = present.shared.progress.iter();
            progress.all(|progress| progress.reached_goal.load(Relaxed) == goal)
        })
    }

    fn wait(
        &mut self,
        timeout: Duration,
        condition: impl Fn(&Self) -> bool,
    ) -> anyhow::Result<bool> {
        let until = Instant::now() + timeout;
        while !condition(self) {
            if let Some(index) = self.threads.iter().position(JoinHandle::is_finished) {
                join(self.threads.swap_remove(index))?;
                return Err(anyhow!("a thread of the load ended early"));
            }
            if Instant::now() > until {
                return Ok(false);
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(true)
    }

    fn answered(&self) -> usize {
        let progress = self.shared.progress.iter();
        progress
            .map(|progress| progress.answered.load(Relaxed))
            .sum()
    }

    pub(crate) fn deliveries(&self) -> u64 {
        let progress = self.shared.progress.iter();
        progress
            .map(|progress| progress.deliveries.load(Relaxed))
            .sum()
    }

    /// One more than the highest number that any subscriber received.
    pub(crate) fn next(&self) -> u64 {
        let progress = self.shared.progress.iter();
        progress
            .map(|progress| progress.next.load(Relaxed))
            .max()
            .unwrap_or_default()
    }

    /// Closes all connections and returns the totals.
    pub(crate) fn leave(mut self) -> anyhow::Result<Totals> {
        self.shared.leave.store(true, Relaxed);
        let mut totals = Totals::default();
        for thread in self.threads.drain(..) {
            totals.merge(join(thread)?);
        }
        Ok(totals)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.shared.leave.store(true, Relaxed);
    }
}

fn join(thread: JoinHandle<anyhow::Result<Totals>>) -> anyhow::Result<Totals> {
    thread
        .join()
        .map_err(|_| anyhow!("a thread of the load panicked"))?
}
