//! Recognizes updates that publishers repeat, for the logs in memory and in a file. With Redis, append.lua
//! does it by the same rules.

use std::collections::HashMap;

use super::{
    append::{Append, AppendResult, Appended, Pending, PublishSettings, Refusal},
    error::LogUnavailable,
    given_ids::GivenUse,
    key_index::{KeyIndex, UsedKey},
    memory::MemoryLog,
};
use crate::event::{Event, EventId, GivenId, Hash128, KeyedUpdate, content_hash};

/// What is known of earlier updates, besides the ids that publishers chose, which [`MemoryLog`] knows.
#[derive(Debug)]
pub(super) struct Duplicates {
    unique_ids: bool,
    pub(super) keys: KeyIndex,
}

/// An event that is in the log, or the event with this index in [`Plan::events`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Known(EventId),
    Planned(usize),
}

#[derive(Debug, Clone, Copy)]
enum Outcome {
    Append(usize),
    Replay(Target),
    Refuse(Refusal),
}

/// What to do with appends that arrived together.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The events to append, in this order.
    pub(super) events: Vec<Event>,
    outcomes: Vec<(Pending, Outcome)>,
    /// The keys to remember, in the order of the appends.
    keys: Vec<(KeyedUpdate, Target)>,
    /// The same keys, each with its update.
    updates: HashMap<Hash128, (Hash128, Target)>,
    /// The ids that publishers chose for `events`, with the content and the index of each event.
    given_ids: HashMap<GivenId, Vec<(Hash128, usize)>>,
}

impl Duplicates {
    pub(super) fn new(settings: PublishSettings, keys: KeyIndex) -> Self {
        Self {
            unique_ids: settings.unique_ids,
            keys,
        }
    }

    /// Decides what to do with each append. The memory log must not change until the plan is carried out.
    pub(super) fn plan(&self, appends: Vec<Append>, memory: &MemoryLog) -> Plan {
        let mut plan = Plan::default();
        for append in appends {
            let keyed = append.keyed_update();
            let (event, pending) = append.into_parts();
            let used = keyed.and_then(|keyed| self.used(keyed.key, &plan));
            let outcome = match keyed.zip(used) {
                Some((keyed, (update, target))) if update == keyed.update => {
                    Outcome::Replay(target)
                }
                Some(_) => Outcome::Refuse(Refusal::KeyReused),
                None => self.append_by_id(event, memory, &mut plan),
            };
            let target = match outcome {
                Outcome::Append(index) => Some(Target::Planned(index)),
                Outcome::Replay(target) => Some(target),
                Outcome::Refuse(_) => None,
            };
            if let (Some(keyed), None, Some(target)) = (keyed, used, target) {
                plan.updates.insert(keyed.key, (keyed.update, target));
                plan.keys.push((keyed, target));
            }
            plan.outcomes.push((pending, outcome));
        }
        plan
    }

    /// What an idempotency key was used for, before or in the plan: the hash of the update, and the event.
    fn used(&self, key: Hash128, plan: &Plan) -> Option<(Hash128, Target)> {
        let known = self.keys.get(key);
        let known = known.map(|(update, id)| (update, Target::Known(id)));
        known.or_else(|| plan.updates.get(&key).copied())
    }

    /// Adds an event to the plan, unless that is not necessary or not allowed because of the id that its
    /// publisher chose.
    fn append_by_id(&self, event: Event, memory: &MemoryLog, plan: &mut Plan) -> Outcome {
        let index = plan.events.len();
        if let Some(given) = event.given_id() {
            let content = content_hash(&event);
            let planned = plan.given_ids.entry(given.clone()).or_default();
            let same = planned.iter().find(|(planned, _)| *planned == content);
            let known = memory.given_use(given, content);
            match (known, same) {
                (GivenUse::Same(id), _) => return Outcome::Replay(Target::Known(id)),
                (_, Some((_, index))) => return Outcome::Replay(Target::Planned(*index)),
                _ => {}
            }
            if self.unique_ids && (known == GivenUse::Other || !planned.is_empty()) {
                return Outcome::Refuse(Refusal::IdTaken);
            }
            planned.push((content, index));
        }
        plan.events.push(event);
        Outcome::Append(index)
    }
}

impl Plan {
    /// The keys to remember. `id_of` gives the id of each event of the plan; `now` is in milliseconds since
    /// 1970.
    pub(super) fn used_keys(&self, id_of: impl Fn(usize) -> EventId, now: u64) -> Vec<UsedKey> {
        let used = |(keyed, target): &(KeyedUpdate, Target)| UsedKey {
            key: keyed.key,
            update: keyed.update,
            id: match target {
                Target::Known(id) => *id,
                Target::Planned(index) => id_of(*index),
            },
            at: now,
        };
        self.keys.iter().map(used).collect()
    }

    /// Number of appends that are answered with an event that another append added.
    pub(super) fn replays(&self) -> usize {
        let is_replay = |(_, outcome): &&(Pending, Outcome)| matches!(outcome, Outcome::Replay(_));
        self.outcomes.iter().filter(is_replay).count()
    }

    /// Sends the result of each append. Call this when the plan's events are in the log; `ids` are their ids.
    pub(super) fn acknowledge(self, ids: &[EventId]) {
        self.answer(|outcome| {
            let appended = |id, is_replay| Ok(Appended { id, is_replay });
            match outcome {
                Outcome::Append(index) => appended(ids[index], false),
                Outcome::Replay(Target::Planned(index)) => appended(ids[index], true),
                Outcome::Replay(Target::Known(id)) => appended(id, true),
                Outcome::Refuse(refusal) => Err(refusal),
            }
        });
    }

    /// Answers each append, when the events could not be appended.
    pub(super) fn refuse(self) {
        self.answer(|outcome| {
            Err(match outcome {
                Outcome::Refuse(refusal) => refusal,
                _ => LogUnavailable.into(),
            })
        });
    }

    fn answer(self, result: impl Fn(Outcome) -> AppendResult) {
        for (pending, outcome) in self.outcomes {
            pending.answer(result(outcome));
        }
    }
}
