//! A group of subscribers that connect together, on a few threads, and their progress.

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
    thread::{LoadThread, Tally},
};

/// How often the progress is polled.
const LOOK: Duration = Duration::from_millis(1);

/// The number of subscribers, their request, and how they connect.
#[derive(Debug, Clone)]
pub(crate) struct Crowd {
    pub(crate) request: Request,
    pub(crate) subscribers: usize,
    /// Number of subscribers that connected earlier from the same source addresses.
    pub(crate) before: usize,
    pub(crate) threads: usize,
    /// Maximum number of connections that wait for their response at once, over all threads.
    pub(crate) at_once: usize,
    /// Whether the server numbers the messages of each subscriber separately. Then no message goes to all
    /// subscribers, and there is no spread.
    pub(crate) own_numbers: bool,
    /// The number that each subscriber must receive first. `None` allows any number.
    pub(crate) next: Option<u64>,
}

/// State shared by the threads of the crowd and the thread that waits for them.
#[derive(Debug)]
pub(super) struct Shared {
    /// The start of the run; times are relative to it.
    pub(super) start: Instant,
    pub(super) leave: AtomicBool,
    /// Every subscriber must receive all messages before this number. 0 means that no goal is set.
    pub(super) goal: AtomicU64,
    pub(super) progress: Vec<Progress>,
}

/// The progress of one thread. It has its own cache line, because the thread writes it constantly.
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
    threads: Vec<JoinHandle<anyhow::Result<Tally>>>,
}

impl Crowd {
    /// Begins to connect. Times are relative to `start`. For `goal`, see [`Present::wait_for`].
    pub(crate) fn come(&self, start: Instant, goal: u64) -> Present {
        let shared = Arc::new(Shared {
            start,
            leave: AtomicBool::new(false),
            goal: AtomicU64::new(goal),
            progress: (0..self.threads).map(|_| Progress::default()).collect(),
        });
        let share = |n: usize| self.subscribers * n / self.threads;
        let threads = (0..self.threads)
            .map(|place| {
                let thread = LoadThread {
                    crowd: self.clone(),
                    first: self.before + share(place),
                    share: share(place + 1) - share(place),
                    shared: shared.clone(),
                    place,
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
    /// Waits until every response has begun.
    pub(crate) fn wait_for_answers(&mut self, at_most: Duration) -> anyhow::Result<()> {
        let all = self.wait(at_most, |present| present.answered() == present.subscribers)?;
        ensure!(
            all,
            "only {} of {} subscribers were answered within {at_most:?}",
            self.answered(),
            self.subscribers
        );
        Ok(())
    }

    /// Waits until every subscriber has received all messages before this number. Returns whether that
    /// happened in time.
    pub(crate) fn wait_for(&mut self, goal: u64, at_most: Duration) -> anyhow::Result<bool> {
        self.shared.goal.store(goal, Relaxed);
        self.wait(at_most, |present| {
            let mut progress = present.shared.progress.iter();
            progress.all(|progress| progress.reached_goal.load(Relaxed) == goal)
        })
    }

    fn wait(&mut self, at_most: Duration, is_so: impl Fn(&Self) -> bool) -> anyhow::Result<bool> {
        let until = Instant::now() + at_most;
        while !is_so(self) {
            if let Some(place) = self.threads.iter().position(JoinHandle::is_finished) {
                join(self.threads.swap_remove(place))?;
                return Err(anyhow!("a thread of the load left early"));
            }
            if Instant::now() > until {
                return Ok(false);
            }
            std::thread::sleep(LOOK);
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
    pub(crate) fn leave(mut self) -> anyhow::Result<Tally> {
        self.shared.leave.store(true, Relaxed);
        let mut tally = Tally::default();
        for thread in self.threads.drain(..) {
            tally.merge(join(thread)?);
        }
        Ok(tally)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.shared.leave.store(true, Relaxed);
    }
}

fn join(thread: JoinHandle<anyhow::Result<Tally>>) -> anyhow::Result<Tally> {
    thread
        .join()
        .map_err(|_| anyhow!("a thread of the load panicked"))?
}
