//! One thread of a crowd (a group of subscribers): an epoll loop that opens its share of the connections and
//! reads from them.

use std::{
    io::ErrorKind,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use mio::{Events, Interest, Poll, Token};

use super::{
    arrivals::{Arrivals, micros},
    crowd::{Crowd, Shared},
    subscriber::{Order, Subscriber},
};

/// Size of the read buffer in bytes. It is larger than a socket's usual receive buffer, so that one read
/// empties the socket.
const BUFFER: usize = 256 * 1024;

pub(super) struct LoadThread {
    pub(super) crowd: Crowd,
    /// The number of this thread's first subscriber. The thread has `share` subscribers with successive
    /// numbers.
    pub(super) first: usize,
    pub(super) share: usize,
    pub(super) shared: Arc<Shared>,
    /// This thread's index in `shared.progress`.
    pub(super) index: usize,
}

/// The totals of one thread or crowd.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) closed: u64,
    pub(crate) arrivals: Arrivals,
}

impl Totals {
    pub(super) fn merge(&mut self, part: Self) {
        self.lost += part.lost;
        self.duplicated += part.duplicated;
        self.closed += part.closed;
        self.arrivals.merge(part.arrivals);
    }

    fn add(&mut self, order: Order) {
        self.lost += order.lost;
        self.duplicated += order.duplicated;
    }
}

impl LoadThread {
    /// Opens the connections of this thread and reads from them until `leave` is set.
    pub(super) fn run(self) -> anyhow::Result<Totals> {
        let mut poll = Poll::new()?;
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; BUFFER];
        let mut subscribers: Vec<Option<Subscriber>> = Vec::with_capacity(self.share);
        let mut totals = Totals::default();
        let progress = &self.shared.progress[self.index];
        let at_once = (self.crowd.at_once / self.crowd.threads).max(1);
        let mut answered = 0;
        let mut deliveries = 0;
        let mut newest = 0;
        let mut last_check = (0, 0);
        // The table of arrivals. It is created at the first message, because it begins with that message's
        // number.
        let mut arrivals: Option<Arrivals> = None;
        while !self.shared.leave.load(Relaxed) {
            while subscribers.len() < self.share && subscribers.len() - answered < at_once {
                let subscriber = self.open(subscribers.len(), &poll)?;
                subscribers.push(Some(subscriber));
            }
            match poll.poll(&mut events, Some(Duration::from_millis(20))) {
                Err(err) if err.kind() == ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                let slot = &mut subscribers[event.token().0];
                let Some(subscriber) = slot else { continue };
                let was_answered = subscriber.answered;
                let now = micros(self.shared.start.elapsed());
                let is_open = subscriber.read(&mut buffer, event.is_read_closed(), |number| {
                    deliveries += 1;
                    if self.crowd.own_numbers {
                        return;
                    }
                    arrivals
                        .get_or_insert_with(|| Arrivals::new(number))
                        .count(number, now);
                })?;
                newest = newest.max(subscriber.order.next.unwrap_or_default());
                if !is_open {
                    totals.closed += 1;
                    totals.add(subscriber.order);
                    answered += usize::from(!was_answered);
                    *slot = None;
                } else if subscriber.answered && !was_answered {
                    answered += 1;
                }
            }
            progress.answered.store(answered, Relaxed);
            progress.deliveries.store(deliveries, Relaxed);
            progress.next.store(newest, Relaxed);
            last_check = self.report_reached_goal(last_check, &subscribers);
        }
        for subscriber in subscribers.into_iter().flatten() {
            totals.add(subscriber.order);
            totals.lost += self.missing(subscriber.order);
        }
        totals.arrivals = arrivals.unwrap_or_default();
        Ok(totals)
    }

    /// Opens a connection, which `poll` reports under the number `slot`.
    fn open(&self, slot: usize, poll: &Poll) -> anyhow::Result<Subscriber> {
        let socket = self.crowd.request.send(self.first + slot, None)?;
        let mut subscriber = Subscriber::new(socket, self.crowd.next);
        poll.registry()
            .register(&mut subscriber.socket, Token(slot), Interest::READABLE)?;
        Ok(subscriber)
    }

    /// Checks whether all subscribers of this thread have reached the goal, and reports it in `progress`.
    /// `last_check` is the goal at the last check, and the number of subscribers that had reached it. The
    /// check continues after them.
    fn report_reached_goal(
        &self,
        last_check: (u64, usize),
        subscribers: &[Option<Subscriber>],
    ) -> (u64, usize) {
        let goal = self.shared.goal.load(Relaxed);
        if goal == 0 {
            return last_check;
        }
        let (last_goal, reached) = last_check;
        let mut reached = if goal == last_goal { reached } else { 0 };
        while let Some(subscriber) = subscribers.get(reached) {
            // A disconnected subscriber is `None`. It is skipped, because it cannot reach the goal.
            if let Some(subscriber) = subscriber
                && self.missing(subscriber.order) > 0
            {
                break;
            }
            reached += 1;
        }
        self.shared.progress[self.index]
            .reached_goal
            .store(if reached == self.share { goal } else { 0 }, Relaxed);
        (goal, reached)
    }

    /// Number of messages before the goal that this subscriber has not received.
    fn missing(&self, order: Order) -> u64 {
        let goal = self.shared.goal.load(Relaxed);
        // A subscriber that received no message is missing at least one.
        let next = order.next.unwrap_or(goal.saturating_sub(1));
        goal.saturating_sub(next)
    }
}
