//! One thread of a crowd: an epoll loop that opens its share of the connections and reads from them.

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

/// Size of the read buffer in bytes, larger than what a socket usually holds.
const BUFFER: usize = 256 * 1024;

pub(super) struct LoadThread {
    pub(super) crowd: Crowd,
    /// The first of this thread's subscribers. `share` is their number.
    pub(super) first: usize,
    pub(super) share: usize,
    pub(super) shared: Arc<Shared>,
    /// This thread's index in `shared.progress`.
    pub(super) place: usize,
}

/// The totals of one thread or crowd.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) closed: u64,
    pub(crate) arrivals: Arrivals,
}

impl Tally {
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
    /// Opens the connections and reads from them until `leave` is set.
    pub(super) fn run(self) -> anyhow::Result<Tally> {
        let mut poll = Poll::new()?;
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; BUFFER];
        let mut subscribers: Vec<Option<Subscriber>> = Vec::with_capacity(self.share);
        let mut tally = Tally::default();
        let progress = &self.shared.progress[self.place];
        let at_once = (self.crowd.at_once / self.crowd.threads).max(1);
        let mut answered = 0;
        let mut deliveries = 0;
        let mut newest = 0;
        let mut looked = (0, 0);
        // Created at the first message, because the table begins with its number.
        let mut arrivals: Option<Arrivals> = None;
        while !self.shared.leave.load(Relaxed) {
            while subscribers.len() < self.share && subscribers.len() - answered < at_once {
                let n = self.first + subscribers.len();
                let socket = self.crowd.request.send(n, None)?;
                let mut subscriber = Subscriber::new(socket, self.crowd.next);
                let token = Token(subscribers.len());
                poll.registry()
                    .register(&mut subscriber.socket, token, Interest::READABLE)?;
                subscribers.push(Some(subscriber));
            }
            match poll.poll(&mut events, Some(Duration::from_millis(20))) {
                Err(err) if err.kind() == ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                let place = &mut subscribers[event.token().0];
                let Some(subscriber) = place else { continue };
                let was_answered = subscriber.answered;
                let now = micros(self.shared.start.elapsed());
                let goes_on = subscriber.read(&mut buffer, event.is_read_closed(), |number| {
                    deliveries += 1;
                    if self.crowd.own_numbers {
                        return;
                    }
                    arrivals
                        .get_or_insert_with(|| Arrivals::new(number))
                        .count(number, now);
                })?;
                newest = newest.max(subscriber.order.next.unwrap_or_default());
                if !goes_on {
                    tally.closed += 1;
                    tally.add(subscriber.order);
                    answered += usize::from(!was_answered);
                    *place = None;
                } else if subscriber.answered && !was_answered {
                    answered += 1;
                }
            }
            progress.answered.store(answered, Relaxed);
            progress.deliveries.store(deliveries, Relaxed);
            progress.next.store(newest, Relaxed);
            looked = self.tell_reached(looked, &subscribers);
        }
        for subscriber in subscribers.into_iter().flatten() {
            tally.add(subscriber.order);
            tally.lost += self.missing(subscriber.order);
        }
        tally.arrivals = arrivals.unwrap_or_default();
        Ok(tally)
    }

    /// Continues the check at the first subscriber that had not reached this goal at the last check. Reports
    /// when all have reached it.
    fn tell_reached(
        &self,
        looked: (u64, usize),
        subscribers: &[Option<Subscriber>],
    ) -> (u64, usize) {
        let goal = self.shared.goal.load(Relaxed);
        if goal == 0 {
            return looked;
        }
        let (last_goal, reached) = looked;
        let mut reached = if goal == last_goal { reached } else { 0 };
        while let Some(subscriber) = subscribers.get(reached) {
            // Do not wait for subscribers that are disconnected.
            if let Some(subscriber) = subscriber
                && self.missing(subscriber.order) > 0
            {
                break;
            }
            reached += 1;
        }
        self.shared.progress[self.place]
            .reached_goal
            .store(if reached == self.share { goal } else { 0 }, Relaxed);
        (goal, reached)
    }

    /// How many messages before the goal have not arrived.
    fn missing(&self, order: Order) -> u64 {
        let goal = self.shared.goal.load(Relaxed);
        // A subscriber without any message is missing at least one.
        let next = order.next.unwrap_or(goal.saturating_sub(1));
        goal.saturating_sub(next)
    }
}
