//! Subscribers that come together, on a few threads, and what can be known of them meanwhile.

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
    thread::{LoadThread, MemoryBudget},
};

/// How often a crowd is looked at by those who wait for it.
const LOOK: Duration = Duration::from_millis(1);

/// Who comes, and for what.
#[derive(Debug, Clone)]
pub(crate) struct Crowd {
    pub(crate) request: Request,
    pub(crate) subscribers: usize,
    /// How many came before, from the same addresses.
    pub(crate) before: usize,
    pub(crate) threads: usize,
    /// How many connections may wait for their answer at once, in all.
    pub(crate) at_once: usize,
    /// Whether the server numbers each subscriber's messages by itself: one message to all, and the
    /// time it takes, do not exist then.
    pub(crate) own_numbers: bool,
    /// The number that has to come first; `None`: any.
    pub(crate) next: Option<u64>,
}

/// What the threads of a crowd and those who wait for it both see.
#[derive(Debug)]
pub(super) struct Shared {
    /// Times of the run count from here.
    pub(super) start: Instant,
    pub(super) leave: AtomicBool,
    /// The number up to which all are to have got every message; 0: none was set.
    pub(super) goal: AtomicU64,
    pub(super) progress: Vec<Progress>,
}

/// Of one thread. On a cache line of its own, because it is written all the time.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Progress {
    /// Subscribers whose answer has begun, or that were turned away.
    pub(super) answered: AtomicUsize,
    pub(super) deliveries: AtomicU64,
    /// The number after the newest that anybody got.
    pub(super) next: AtomicU64,
    /// The goal that all of this thread's subscribers reached.
    pub(super) reached_goal: AtomicU64,
}

/// A crowd that is there. Leaves when it is dropped.
pub(crate) struct Present {
    subscribers: usize,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<anyhow::Result<MemoryBudget>>>,
}

impl Crowd {
    /// Begins to connect. `start`: what times count from. `goal`: see [`Present::wait_for`].
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
    /// Waits until every answer has begun.
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

    /// Waits until everybody got all messages before this number. Whether that came about.
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

    /// The number after the newest that anybody got.
    pub(crate) fn next(&self) -> u64 {
        let progress = self.shared.progress.iter();
        progress
            .map(|progress| progress.next.load(Relaxed))
            .max()
            .unwrap_or_default()
    }

    /// Closes every connection. What was counted meanwhile.
    pub(crate) fn leave(mut self) -> anyhow::Result<MemoryBudget> {
        self.shared.leave.store(true, Relaxed);
        let mut tally = MemoryBudget::default();
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

fn join(thread: JoinHandle<anyhow::Result<MemoryBudget>>) -> anyhow::Result<MemoryBudget> {
    thread
        .join()
        .map_err(|_| anyhow!("a thread of the load panicked"))?
}
