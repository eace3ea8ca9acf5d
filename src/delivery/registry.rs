//! Who of one thread's subscribers is live: has been sent everything there is for it, and takes the
//! next event as soon as it comes. Those that ask for the same are a group, which an event is routed
//! to as one. Never waits for a client: whoever cannot take everything at once is taken off and
//! catches up from the log. Pure: no clock, and no I/O but what it is given to write to.

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
    place::Place,
    round::{Left, Round, RoundBuilder},
};
use crate::{
    event::{Frame, Framing},
    event_log::Entry,
    matching::{HubUrl, Router, Selection},
    metrics::DeliveryStats,
};

/// What a live client's bytes are written to. Never waits.
pub(crate) trait Outlet {
    /// Takes as many bytes as it can at once: fewer than it is given, or `WouldBlock`, if it is
    /// full.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;
}

/// What a client that is no longer live has still to get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Behind {
    /// To be sent first.
    pub(crate) rest: Bytes,
    /// Where it stands then.
    pub(crate) place: Place,
}

/// Names a group. The serial tells it from the one that had the slot before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupId {
    slot: usize,
    serial: u64,
}

/// Names a live client, in the same way.
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
    place: Place,
    /// When it last was sent something.
    served: Instant,
    taken_off: oneshot::Sender<io::Result<Behind>>,
}

/// Live clients that get the same.
#[derive(Debug)]
struct Group<O> {
    serial: u64,
    selection: Arc<Selection>,
    clients: Slab<Live<O>>,
    /// What is being collected for it.
    round: Option<RoundBuilder>,
}

/// The live clients of one thread.
#[derive(Debug)]
pub(crate) struct Registry<O> {
    groups: Slab<Group<O>>,
    /// Finds groups by their slots.
    router: Router,
    next_serial: u64,
    /// Every event before this number was handed over to whom it is for.
    handed_over: u64,
}

/// Some of the clients of a group.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) group: GroupId,
    pub(crate) slots: Range<usize>,
}

/// What idle clients are sent.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    pub(crate) comment: Frame,
    /// Moves a client's last id up to the events that were handed over; `None`: none is sent.
    pub(crate) checkpoint: Option<Frame>,
    /// A client whose last id is that of an event before this number gets the checkpoint.
    pub(crate) newer_half: u64,
}

impl<O: Outlet> Registry<O> {
    /// A registry of a hub, of whose events those before `head` are handed over.
    pub(crate) fn new(hub: HubUrl, head: u64) -> Self {
        Self {
            groups: Slab::new(),
            router: Router::new(hub),
            next_serial: 0,
            handed_over: head,
        }
    }

    fn serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial
    }

    /// Makes a client live that got everything of its selection before the place's cursor. The
    /// receiver resolves when it is taken off: to what it has still to get, or to the outlet's error;
    /// and with nothing, if the registry is cleared.
    pub(crate) fn join(
        &mut self,
        selection: &Arc<Selection>,
        outlet: O,
        place: Place,
        now: Instant,
    ) -> (LiveId, oneshot::Receiver<io::Result<Behind>>) {
        let group = self.group(selection);
        let serial = self.serial();
        let (taken_off, receiver) = oneshot::channel();
        let slot = self.groups[group.slot].clients.insert(Live {
            serial,
            outlet,
            place,
            served: now,
            taken_off,
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

    /// Forgets a group that has no clients.
    fn clean_up(&mut self, id: GroupId) {
        if self.find(id).is_none_or(|group| !group.clients.is_empty()) {
            return;
        }
        let Group { selection, .. } = self.groups.remove(id.slot);
        self.router.remove(id.slot, &selection);
        if self.groups.is_empty() {
            // Gives the memory of those who left back.
            self.groups = Slab::new();
        }
    }

    /// Takes a client off that wants to go on by itself, and returns where it stands; `None` if it
    /// is gone already.
    pub(crate) fn leave(&mut self, id: LiveId) -> Option<Place> {
        let group = self.find(id.group)?;
        if group.clients.get(id.slot)?.serial != id.serial {
            return None;
        }
        let place = group.clients.remove(id.slot).place;
        self.clean_up(id.group);
        Some(place.at_least(self.handed_over))
    }

    /// Sorts events by whom they are for. Those of `handed_over` until then are to be delivered before it
    /// is asked again.
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
                round.push(entry);
            });
        }
        let finish = |slot: usize| {
            let group = &mut groups[slot];
            let round = group.round.take()?.finish();
            let serial = group.serial;
            Some((GroupId { slot, serial }, round))
        };
        touched.into_iter().filter_map(finish).collect()
    }

    /// Says that every event before this number was delivered.
    pub(crate) fn all_handed_over(&mut self, next: u64) {
        self.handed_over = next;
    }

    /// What it may take to try all patterns on a topic, in tries of a simple one.
    pub(crate) fn match_cost(&self) -> usize {
        self.router.match_cost()
    }

    /// The groups there are.
    pub(crate) fn groups(&self) -> Vec<GroupId> {
        let groups = self.groups.iter();
        groups
            .map(|(slot, group)| GroupId {
                slot,
                serial: group.serial,
            })
            .collect()
    }

    /// How many slots a group has, taken or not; none, if it is gone.
    pub(crate) fn slots(&mut self, group: GroupId) -> usize {
        self.find(group).map_or(0, |group| group.clients.capacity())
    }

    /// Hands a round to some of the clients of the group that it is for, to each what it lacks.
    pub(crate) fn deliver(&mut self, round: &Round, part: Part, now: Instant) -> DeliveryStats {
        self.each(part, |client, result| {
            let (events, start) = round.lacked(client.place.cursor);
            if events == 0 {
                return Ok(None);
            }
            let bytes = round.bytes_from(start);
            let taken = write(&client.outlet, bytes)?;
            result.bytes += taken as u64;
            if taken == bytes.len() {
                result.delivered += events as u64;
                client.place = Place::announced_at(round.next());
                client.served = now;
                return Ok(None);
            }
            let Left {
                rest,
                cursor,
                taken,
            } = round.left_after(start + taken);
            let delivered = taken - (round.len() - events);
            result.delivered += delivered as u64;
            let place = match delivered {
                0 => client.place,
                _ => Place::announced_at(cursor),
            };
            Ok(Some(Behind { rest, place }))
        })
    }

    /// Sends a comment or the checkpoint to those of some clients that were sent nothing for `idle`.
    pub(crate) fn keep_alive(
        &mut self,
        frames: &KeepAlive,
        part: Part,
        idle: Duration,
        now: Instant,
    ) -> DeliveryStats {
        let handed_over = self.handed_over;
        self.each(part, |client, result| {
            if now.saturating_duration_since(client.served) < idle {
                return Ok(None);
            }
            let is_at_risk = client.place.is_at_risk(handed_over, frames.newer_half);
            let checkpoint = frames.checkpoint.as_ref().filter(|_| is_at_risk);
            let frame = checkpoint.unwrap_or(&frames.comment);
            let bytes = frame.bytes(Framing::Chunked);
            let taken = write(&client.outlet, &bytes)?;
            result.bytes += taken as u64;
            client.served = now;
            client.place = client.place.at_least(handed_over);
            if checkpoint.is_some() {
                client.place.announced = handed_over;
            }
            let place = client.place;
            let rest = bytes.slice(taken..);
            Ok((!rest.is_empty()).then_some(Behind { rest, place }))
        })
    }

    /// Has `act` do something with each of some clients. One that cannot take all of it, or fails,
    /// is taken off.
    fn each(
        &mut self,
        part: Part,
        mut act: impl FnMut(&mut Live<O>, &mut DeliveryStats) -> io::Result<Option<Behind>>,
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
                Ok(Some(behind)) => {
                    result.fell_behind += 1;
                    Ok(behind)
                }
                Err(err) => Err(err),
            };
            tell(group.clients.remove(slot), left);
        }
        self.clean_up(part.group);
        result
    }

    /// Takes every client off: each catches up from its own cursor.
    pub(crate) fn take_off_all(&mut self) {
        let handed_over = self.handed_over;
        for client in self.drain() {
            take_off(client, handed_over);
        }
    }

    /// Takes off the clients that may want presence events, some of which were evicted.
    pub(crate) fn take_off_presence(&mut self) {
        let handed_over = self.handed_over;
        let wants = |group: &Group<O>| group.selection.may_select_presence();
        let groups = self.groups.iter().filter(|(_, group)| wants(group));
        let slots: Vec<_> = groups.map(|(slot, _)| slot).collect();
        for slot in slots {
            let mut group = self.groups.remove(slot);
            self.router.remove(slot, &group.selection);
            for client in group.clients.drain() {
                take_off(client, handed_over);
            }
        }
    }

    /// Forgets every client.
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

/// How many bytes were taken.
fn write(outlet: &impl Outlet, bytes: &[u8]) -> io::Result<usize> {
    match outlet.try_write(bytes) {
        Err(err) if err.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

/// Has a client catch up from its own cursor.
fn take_off<O>(client: Live<O>, handed_over: u64) {
    let behind = Behind {
        rest: Bytes::new(),
        place: client.place.at_least(handed_over),
    };
    tell(client, Ok(behind));
}

fn tell<O>(client: Live<O>, left: io::Result<Behind>) {
    if client.taken_off.send(left).is_err() {
        log::trace!("a subscriber left while it was taken off");
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
