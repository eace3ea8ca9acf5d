//! Who of one thread's subscribers is live: has been sent everything there is, and takes the next
//! event as soon as it comes. Never waits for a client: whoever cannot take everything at once is
//! taken off and catches up from the log. Pure: no clock, and no I/O but what it is given to write
//! to.

use std::{
    io,
    ops::Range,
    time::{Duration, Instant},
};

use bytes::Bytes;
use slab::Slab;
use tokio::sync::oneshot;

use crate::{
    event_log::Entry,
    metrics::HandOver,
    wire::{self, Frame, Framing},
};

/// What a live client's bytes are written to. Never waits.
pub(crate) trait Outlet {
    /// Takes as many bytes as it can at once: fewer than it is given, or `WouldBlock`, if it is
    /// full.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;
}

/// The next events in a row, encoded once for everyone.
#[derive(Debug)]
pub(crate) struct Round {
    /// The number of the first event.
    first: u64,
    /// When the first event was appended.
    arrived: Instant,
    /// Where in `bytes` each event ends.
    ends: Vec<usize>,
    bytes: Bytes,
}

/// Collects a [`Round`].
#[derive(Debug)]
pub(crate) struct RoundBuilder {
    first: u64,
    arrived: Instant,
    ends: Vec<usize>,
    batch: wire::Batch,
}

impl RoundBuilder {
    /// A round that begins with the event of this number.
    pub(crate) fn new(first: u64, now: Instant) -> Self {
        Self {
            first,
            arrived: now,
            ends: Vec::new(),
            batch: wire::Batch::new(Framing::Chunked),
        }
    }

    pub(crate) fn push(&mut self, entry: &Entry) {
        self.arrived = self.arrived.min(entry.appended);
        self.batch.push(&entry.frame);
        self.ends.push(self.batch.len());
    }

    pub(crate) fn finish(self) -> Round {
        Round {
            first: self.first,
            arrived: self.arrived,
            ends: self.ends,
            bytes: self.batch.finish(),
        }
    }
}

impl Round {
    /// When the first event was appended.
    pub(crate) fn arrived(&self) -> Instant {
        self.arrived
    }

    /// The number of the event after the last.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.ends.len() as u64
    }

    /// Where in the bytes the event with this number begins; `None`: it is not in here.
    fn start(&self, cursor: u64) -> Option<usize> {
        let events_before = cursor.checked_sub(self.first)? as usize;
        match events_before {
            0 => Some(0),
            _ if events_before >= self.ends.len() => None,
            _ => Some(self.ends[events_before - 1]),
        }
    }

    /// What is left for a client that took everything up to this place: the rest of the event that
    /// it has begun, and then those after it, from the log.
    fn left_after(&self, place: usize) -> Behind {
        let whole = self.ends.partition_point(|end| *end <= place);
        let last_end = whole.checked_sub(1).map_or(0, |last| self.ends[last]);
        if place == last_end {
            return Behind {
                rest: Bytes::new(),
                cursor: self.first + whole as u64,
            };
        }
        // A few bytes are not to keep the whole round in memory, nor a large event to be copied.
        let rest = place..self.ends[whole];
        let rest = if rest.len() < self.bytes.len() / 2 {
            Bytes::copy_from_slice(&self.bytes[rest])
        } else {
            self.bytes.slice(rest)
        };
        Behind {
            rest,
            cursor: self.first + whole as u64 + 1,
        }
    }
}

/// What a client that is no longer live has still to get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Behind {
    /// To be sent first.
    pub(crate) rest: Bytes,
    /// The number of the event that comes then.
    pub(crate) cursor: u64,
}

/// Names a live client. The serial keeps whoever leaves late from removing the one that got the
/// same slot next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LiveId {
    slot: usize,
    serial: u64,
}

#[derive(Debug)]
struct Live<O> {
    serial: u64,
    outlet: O,
    /// The number of the next event it is to get.
    cursor: u64,
    /// When it last was sent something.
    served: Instant,
    taken_off: oneshot::Sender<io::Result<Behind>>,
}

/// The live clients of one thread.
#[derive(Debug)]
pub(crate) struct Registry<O> {
    clients: Slab<Live<O>>,
    next_serial: u64,
}

impl<O> Default for Registry<O> {
    fn default() -> Self {
        Self {
            clients: Slab::new(),
            next_serial: 0,
        }
    }
}

impl<O: Outlet> Registry<O> {
    /// Makes a client live that got everything before `cursor`. The receiver resolves when it is
    /// taken off: to what it has still to get, or to the outlet's error; and with nothing, if the
    /// registry is cleared.
    pub(crate) fn join(
        &mut self,
        outlet: O,
        cursor: u64,
        now: Instant,
    ) -> (LiveId, oneshot::Receiver<io::Result<Behind>>) {
        let (taken_off, receiver) = oneshot::channel();
        let serial = self.next_serial;
        self.next_serial += 1;
        let slot = self.clients.insert(Live {
            serial,
            outlet,
            cursor,
            served: now,
            taken_off,
        });
        (LiveId { slot, serial }, receiver)
    }

    /// Forgets a client; does nothing if it is gone already.
    pub(crate) fn remove(&mut self, id: LiveId) {
        if self
            .clients
            .get(id.slot)
            .is_some_and(|client| client.serial == id.serial)
        {
            self.clients.remove(id.slot);
        }
        if self.clients.is_empty() {
            // Gives the memory of those who left back.
            self.clients = Slab::new();
        }
    }

    /// Slots there are, taken or not: what [`deliver`](Self::deliver) has to go through.
    pub(crate) fn slots(&self) -> usize {
        self.clients.capacity()
    }

    /// Hands the events to the clients in these slots, to each what it lacks of them.
    pub(crate) fn deliver(&mut self, round: &Round, slots: Range<usize>, now: Instant) -> HandOver {
        let mut result = HandOver::default();
        for slot in slots {
            let Some(client) = self.clients.get_mut(slot) else {
                continue;
            };
            let Some(start) = round.start(client.cursor) else {
                continue;
            };
            let bytes = &round.bytes[start..];
            let taken = match write(&client.outlet, bytes) {
                Ok(taken) => taken,
                Err(err) => {
                    self.take_off(slot, Err(err));
                    continue;
                }
            };
            result.bytes += taken as u64;
            if taken == bytes.len() {
                result.delivered += round.next() - client.cursor;
                client.cursor = round.next();
                client.served = now;
            } else {
                let behind = round.left_after(start + taken);
                result.delivered += behind.cursor - client.cursor;
                result.fell_behind += 1;
                self.take_off(slot, Ok(behind));
            }
        }
        result
    }

    /// Sends a comment to the clients in these slots that were sent nothing for `idle`.
    pub(crate) fn keep_alive(
        &mut self,
        comment: &Frame,
        slots: Range<usize>,
        idle: Duration,
        now: Instant,
    ) -> HandOver {
        let comment = comment.bytes(Framing::Chunked);
        let mut result = HandOver::default();
        for slot in slots {
            let Some(client) = self.clients.get_mut(slot) else {
                continue;
            };
            if now.saturating_duration_since(client.served) < idle {
                continue;
            }
            let taken = match write(&client.outlet, &comment) {
                Ok(taken) => taken,
                Err(err) => {
                    self.take_off(slot, Err(err));
                    continue;
                }
            };
            result.bytes += taken as u64;
            if taken == comment.len() {
                client.served = now;
            } else {
                let (rest, cursor) = (comment.slice(taken..), client.cursor);
                result.fell_behind += 1;
                self.take_off(slot, Ok(Behind { rest, cursor }));
            }
        }
        result
    }

    /// Takes every client off: each catches up from its own cursor.
    pub(crate) fn take_off_all(&mut self) {
        for client in self.clients.drain() {
            let behind = Behind {
                rest: Bytes::new(),
                cursor: client.cursor,
            };
            tell(client, Ok(behind));
        }
    }

    /// Forgets every client.
    pub(crate) fn clear(&mut self) {
        self.clients.clear();
    }

    fn take_off(&mut self, slot: usize, left: io::Result<Behind>) {
        tell(self.clients.remove(slot), left);
    }
}

/// How many bytes were taken.
fn write(outlet: &impl Outlet, bytes: &[u8]) -> io::Result<usize> {
    match outlet.try_write(bytes) {
        Err(err) if err.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

fn tell<O>(client: Live<O>, left: io::Result<Behind>) {
    if client.taken_off.send(left).is_err() {
        log::trace!("a subscriber left while it was taken off");
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
