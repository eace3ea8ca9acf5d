//! The live subscribers of one worker thread: those that have received every event and wait for the next.
//!
//! No write waits for a client. A client whose socket does not accept all bytes is removed and catches up from
//! the log. Subscribers with the same selection form a group, and events are routed to groups. The registry is
//! pure: the caller passes the time and the outlets that it writes to.

use std::{
    io,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use slab::Slab;
use tokio::sync::oneshot;

use super::{
    outlet::{Outlet, write},
    position::Position,
    round::{Remainder, Round, RoundBuilder},
};
use crate::{
    event::{Frame, Framing},
    event_log::Entry,
    matching::{HubUrl, Router, Selection},
    metrics::DeliveryStats,
};

/// What must be sent next to a client that is no longer live, and where it continues to read the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lagging {
    /// The unsent bytes of an event or heartbeat that was not written completely. They must be sent before
    /// anything else. May be empty.
    pub(crate) rest: Bytes,
    /// The client's position in the log after `rest` is sent.
    pub(crate) position: Position,
}

/// Identifies a group of live clients. The slot of a removed group is reused, so the serial number tells
/// apart the groups that had the same slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupId {
    slot: usize,
    serial: u64,
}

/// Identifies a live client by its slot in its group. Slots are reused, so the serial number tells apart the
/// clients that had the same slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LiveId {
    group: GroupId,
    slot: usize,
    serial: u64,
}

#[derive(Debug)]
struct Live<O> {
    serial: u64,
    outlet: O,
    position: Position,
    /// When the client joined, or was last sent something.
    served: Instant,
    removed: oneshot::Sender<io::Result<Lagging>>,
}

/// The live clients with one selection (topics and rights). All of them receive the same events.
#[derive(Debug)]
struct Group<O> {
    serial: u64,
    selection: Arc<Selection>,
    clients: Slab<Live<O>>,
    /// The events for this group that [`Registry::route`] has collected so far. `None` outside of `route`.
    round: Option<RoundBuilder>,
}

/// The live clients of one worker thread, in groups.
#[derive(Debug)]
pub(crate) struct Registry<O> {
    groups: Slab<Group<O>>,
    /// Finds the groups that receive an event. It identifies each group by its slot.
    router: Router,
    next_serial: u64,
    /// Every event before this position was delivered to the live clients whose selection includes it.
    delivered_to: u64,
}

/// A range of a group's slots. A large group is served in parts, so that other tasks run in between.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) group: GroupId,
    pub(crate) slots: Range<usize>,
}

/// What the fan-out sends to idle clients: the comment, or the checkpoint.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    pub(crate) comment: Frame,
    /// An event that only sets the client's last event id: to that of the newest delivered event. `None` if
    /// checkpoints are off or this id is unknown.
    pub(crate) checkpoint: Option<Frame>,
    /// The position where the newer half of the history begins. A client whose last event id is older
    /// receives the checkpoint, if there is one, instead of the comment.
    pub(crate) newer_half: u64,
}

impl<O: Outlet> Registry<O> {
    /// Creates an empty registry. Delivery begins with the event at position `head`.
    pub(crate) fn new(hub: HubUrl, head: u64) -> Self {
        Self {
            groups: Slab::new(),
            router: Router::new(hub),
            next_serial: 0,
            delivered_to: head,
        }
    }

    fn serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial
    }

    /// Makes a client live. It must be at the head: it has received every event before the cursor of
    /// `position` that its selection includes. When the registry removes the client, the returned receiver
    /// resolves to what must be sent next, or to the error of the outlet. The receiver fails if the client
    /// leaves or the registry is cleared.
    pub(crate) fn join(
        &mut self,
        selection: &Arc<Selection>,
        outlet: O,
        position: Position,
        now: Instant,
    ) -> (LiveId, oneshot::Receiver<io::Result<Lagging>>) {
        let group = self.group(selection);
        let serial = self.serial();
        let (removed, receiver) = oneshot::channel();
        let slot = self.groups[group.slot].clients.insert(Live {
            serial,
            outlet,
            position,
            served: now,
            removed,
        });
        let id = LiveId {
            group,
            slot,
            serial,
        };
        (id, receiver)
    }

    fn group(&mut self, selection: &Arc<Selection>) -> GroupId {
        if let Some(slot) = self.router.group_of(selection) {
            let serial = self.groups[slot].serial;
            return GroupId { slot, serial };
        }
        let serial = self.serial();
        let slot = self.groups.insert(Group {
            serial,
            selection: selection.clone(),
            clients: Slab::new(),
            round: None,
        });
        self.router.add(slot, selection);
        GroupId { slot, serial }
    }

    fn find(&mut self, id: GroupId) -> Option<&mut Group<O>> {
        let group = self.groups.get_mut(id.slot)?;
        (group.serial == id.serial).then_some(group)
    }

    /// Removes a group if it has no clients.
    fn clean_up(&mut self, id: GroupId) {
        if self.find(id).is_none_or(|group| !group.clients.is_empty()) {
            return;
        }
        let Group { selection, .. } = self.groups.remove(id.slot);
        self.router.remove(id.slot, &selection);
        if self.groups.is_empty() {
            // An empty slab keeps its memory, so replace it with a new one.
            self.groups = Slab::new();
        }
    }

    /// Removes a client at its own request and returns its position. `None` if the registry has already
    /// removed it.
    pub(crate) fn leave(&mut self, id: LiveId) -> Option<Position> {
        let group = self.find(id.group)?;
        if group.clients.get(id.slot)?.serial != id.serial {
            return None;
        }
        let position = group.clients.remove(id.slot).position;
        self.clean_up(id.group);
        Some(position.at_least(self.delivered_to))
    }

    /// Collects the events for each group into a round. A group that receives none of the events gets no
    /// round. The caller must deliver the rounds, and call [`Self::set_delivered_to`], before it calls this
    /// again.
    pub(crate) fn route(&mut self, entries: &[Entry], now: Instant) -> Vec<(GroupId, Round)> {
        let Self { groups, router, .. } = self;
        let mut touched = Vec::new();
        for entry in entries {
            router.find(&entry.audience, |slot| {
                let Some(group) = groups.get_mut(slot) else {
                    return;
                };
                let round = group.round.get_or_insert_with(|| {
                    touched.push(slot);
                    RoundBuilder::new(now)
                });
                round.push(entry, &group.selection);
            });
        }
        let finish = |slot: usize| {
            let Group { serial, round, .. } = &mut groups[slot];
            let (serial, round) = (*serial, round.take()?.finish());
            Some((GroupId { slot, serial }, round))
        };
        touched.into_iter().filter_map(finish).collect()
    }

    /// Records that every event before position `next` was delivered to the live clients.
    pub(crate) fn set_delivered_to(&mut self, next: u64) {
        self.delivered_to = next;
    }

    /// Upper estimate of the cost to match one topic against the patterns of all groups. The unit is the
    /// match of a simple pattern.
    pub(crate) fn match_cost(&self) -> usize {
        self.router.match_cost()
    }

    pub(crate) fn groups(&self) -> Vec<GroupId> {
        let id = |(slot, group): (usize, &Group<O>)| GroupId {
            slot,
            serial: group.serial,
        };
        self.groups.iter().map(id).collect()
    }

    /// Number of slots of a group, including those without a client. The caller uses it to serve the group in
    /// parts. 0 if the group no longer exists.
    pub(crate) fn slots(&mut self, group: GroupId) -> usize {
        self.find(group).map_or(0, |group| group.clients.capacity())
    }

    /// Writes a round to the clients in one part of a group: to each only the events that it lacks. Removes a
    /// client if its outlet fails or does not accept everything. Returns the numbers of delivered events,
    /// accepted bytes and clients that fell behind.
    pub(crate) fn deliver(&mut self, round: &Round, part: Part, now: Instant) -> DeliveryStats {
        self.each(part, |client, result| {
            let (events, start) = round.lacked(client.position.cursor);
            if events == 0 {
                return Ok(None);
            }
            let bytes = round.bytes_from(start);
            let taken = write(&client.outlet, bytes)?;
            result.bytes += taken as u64;
            if taken == bytes.len() {
                result.delivered += events as u64;
                client.position = Position::announced_at(round.next());
                client.served = now;
                return Ok(None);
            }
            let Remainder {
                rest,
                cursor,
                taken,
            } = round.left_after(start + taken);
            let delivered = taken - (round.len() - events);
            result.delivered += delivered as u64;
            let position = match delivered {
                0 => client.position,
                _ => Position::announced_at(cursor),
            };
            Ok(Some(Lagging { rest, position }))
        })
    }

    /// Sends a heartbeat to the clients in `part` that were sent nothing for `idle`. It is the checkpoint, if
    /// there is one and the client's last event id may soon be evicted. Otherwise it is the comment. Removes
    /// clients like [`Self::deliver`].
    pub(crate) fn keep_alive(
        &mut self,
        frames: &KeepAlive,
        part: Part,
        idle: Duration,
        now: Instant,
    ) -> DeliveryStats {
        let delivered_to = self.delivered_to;
        self.each(part, |client, result| {
            if now.saturating_duration_since(client.served) < idle {
                return Ok(None);
            }
            let is_at_risk = client.position.is_at_risk(delivered_to, frames.newer_half);
            let checkpoint = frames.checkpoint.as_ref().filter(|_| is_at_risk);
            let frame = checkpoint.unwrap_or(&frames.comment);
            let bytes = frame.bytes(Framing::Chunked);
            let taken = write(&client.outlet, &bytes)?;
            result.bytes += taken as u64;
            client.served = now;
            client.position = client.position.at_least(delivered_to);
            if checkpoint.is_some() {
                client.position.announced = delivered_to;
            }
            let (rest, position) = (bytes.slice(taken..), client.position);
            Ok((!rest.is_empty()).then_some(Lagging { rest, position }))
        })
    }

    /// Calls `act` for each client in `part`. Removes the client if `act` fails or returns what must be sent
    /// to the client next. Returns the numbers that `act` has counted.
    fn each(
        &mut self,
        part: Part,
        mut act: impl FnMut(&mut Live<O>, &mut DeliveryStats) -> io::Result<Option<Lagging>>,
    ) -> DeliveryStats {
        let mut result = DeliveryStats::default();
        let Some(group) = self.find(part.group) else {
            return result;
        };
        for slot in part.slots {
            let Some(client) = group.clients.get_mut(slot) else {
                continue;
            };
            let left = match act(client, &mut result) {
                Ok(None) => continue,
                Ok(Some(lagging)) => {
                    result.fell_behind += 1;
                    Ok(lagging)
                }
                Err(err) => Err(err),
            };
            notify(group.clients.remove(slot), left);
        }
        self.clean_up(part.group);
        result
    }

    /// Removes every client, so that each one then reads the log from its own cursor.
    pub(crate) fn take_off_all(&mut self) {
        let delivered_to = self.delivered_to;
        for client in self.drain() {
            remove_lagging(client, delivered_to);
        }
    }

    /// Removes the clients that may receive presence events (events about active subscriptions). Some of
    /// these events may have been evicted before delivery. So each of these clients must read the log, which
    /// tells it what is missing.
    pub(crate) fn take_off_presence(&mut self) {
        let delivered_to = self.delivered_to;
        let wants = |group: &Group<O>| group.selection.may_select_presence();
        let groups = self.groups.iter().filter(|(_, group)| wants(group));
        let slots: Vec<_> = groups.map(|(slot, _)| slot).collect();
        for slot in slots {
            let mut group = self.groups.remove(slot);
            self.router.remove(slot, &group.selection);
            for client in group.clients.drain() {
                remove_lagging(client, delivered_to);
            }
        }
    }

    /// Drops every client. The receivers that [`Self::join`] returned then fail.
    pub(crate) fn clear(&mut self) {
        drop(self.drain());
    }

    fn drain(&mut self) -> Vec<Live<O>> {
        let mut clients = Vec::new();
        for (slot, mut group) in std::mem::take(&mut self.groups) {
            self.router.remove(slot, &group.selection);
            clients.extend(group.clients.drain());
        }
        clients
    }
}

/// Tells a client that the registry has removed it. No event was written in part, so the client reads the log
/// from its cursor on.
fn remove_lagging<O>(client: Live<O>, delivered_to: u64) {
    let lagging = Lagging {
        rest: Bytes::new(),
        position: client.position.at_least(delivered_to),
    };
    notify(client, Ok(lagging));
}

fn notify<O>(client: Live<O>, left: io::Result<Lagging>) {
    if client.removed.send(left).is_err() {
        log::trace!("a subscriber left while the registry removed it");
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
