//! What is retained beyond memory, for those who ask for older events: read a batch at a time, when
//! they have taken the one before.

use tokio::sync::{mpsc, oneshot};

use super::{resume_point::ResumePoint, waiting::LogUnavailable};
use crate::event::{Event, EventId, GapReason, GivenId, ResumeFrom};

/// How far a reader has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reached {
    /// The id of the last item.
    pub(crate) id: EventId,
    /// Number of events of its epoch up to there that are not presence events, if known.
    pub(crate) others: Option<u64>,
}

impl Reached {
    /// Whether there are only presence events between this position and another in the same epoch.
    fn is_level_with(self, other: Self) -> bool {
        self.id.epoch == other.id.epoch && self.others.is_some() && self.others == other.others
    }
}

impl From<EventId> for Reached {
    fn from(id: EventId) -> Self {
        let others = None;
        Self { id, others }
    }
}

/// What is missing between two items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Only presence events.
    Presence,
    /// Any events, for this reason.
    Events(GapReason),
}

impl Missing {
    /// Why a subscriber must receive a gap, if it must.
    pub(crate) fn reason(self, wants_presence: bool) -> Option<GapReason> {
        match self {
            Self::Presence => wants_presence.then_some(GapReason::Evicted),
            Self::Events(reason) => Some(reason),
        }
    }
}

/// What a log that others write, too, is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Event {
        id: EventId,
        event: Event,
        /// Number of events of its epoch before it that are not presence events, if known.
        others: Option<u64>,
    },
    /// A new epoch, with all that came up to this position; `None`: with nothing that came before. The
    /// id is that before the first event of the epoch.
    Begins(EventId, Option<Reached>),
    /// Something that somebody else wrote, in the place of an event.
    Unreadable(EventId),
}

impl Item {
    pub(crate) fn id(&self) -> EventId {
        match self {
            Self::Event { id, .. } | Self::Begins(id, _) | Self::Unreadable(id) => *id,
        }
    }

    /// The position of a reader that has this item.
    pub(crate) fn reached(&self) -> Reached {
        let id = self.id();
        let others = match self {
            Self::Event { event, others, .. } => {
                others.map(|others| others.saturating_add(u64::from(!event.is_presence())))
            }
            Self::Begins(..) => Some(0),
            Self::Unreadable(_) => None,
        };
        Reached { id, others }
    }

    /// The position of a reader for which this item is the next.
    pub(crate) fn before(&self) -> Reached {
        match self {
            Self::Event { id, others, .. } => Reached {
                id: EventId {
                    seq: id.seq.saturating_sub(1),
                    ..*id
                },
                others: *others,
            },
            // There is nothing to be had of it.
            Self::Begins(..) | Self::Unreadable(_) => self.reached(),
        }
    }

    /// What is missing between a position and this item; `None`: nothing. How many of the missing events are
    /// for a subscriber is not known.
    pub(crate) fn missing_after(&self, last: Reached) -> Option<Missing> {
        let any = |reason| Some(Missing::Events(reason));
        match self {
            Self::Begins(id, _) if *id == last.id => None,
            Self::Begins(_, Some(after)) if after.id == last.id => None,
            Self::Begins(_, Some(after)) if after.id > last.id && after.is_level_with(last) => {
                Some(Missing::Presence)
            }
            Self::Begins(..) => any(GapReason::Epoch),
            _ if self.id().epoch != last.id.epoch => any(GapReason::Epoch),
            _ if self.before().id.seq <= last.id.seq => None,
            _ if self.before().is_level_with(last) => Some(Missing::Presence),
            _ => any(GapReason::Evicted),
        }
    }
}

/// What an archive is asked.
pub(super) enum Ask {
    /// Items from this id on, or after it; `None`: from the oldest on.
    Read {
        from: Option<EventId>,
        /// Whether the first is enough, be it that of this id.
        first: bool,
        done: Answer<Vec<Item>>,
    },
    /// The newest item up to this id.
    UpTo {
        id: EventId,
        done: Answer<Option<Item>>,
    },
    /// The id of the event to which its publisher gave this one.
    Given {
        id: GivenId,
        done: Answer<Option<EventId>>,
    },
}

impl Ask {
    /// Whether nobody waits for the answer any more.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Read { done, .. } => done.is_closed(),
            Self::UpTo { done, .. } => done.is_closed(),
            Self::Given { done, .. } => done.is_closed(),
        }
    }
}

pub(super) type Answer<T> = oneshot::Sender<Result<T, LogUnavailable>>;

/// Resolves to what was asked for.
pub(crate) type Asked<T> = oneshot::Receiver<Result<T, LogUnavailable>>;

/// Reads what is retained beyond memory. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Archive(mpsc::UnboundedSender<Ask>);

impl Archive {
    /// An archive that others answer for.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Ask>) {
        let (asks, asked) = mpsc::unbounded_channel();
        (Self(asks), asked)
    }

    fn ask<T>(&self, ask: impl FnOnce(Answer<T>) -> Ask) -> Asked<T> {
        let (done, answer) = oneshot::channel();
        // Where nobody answers, `done` is dropped, and whoever waits is told so.
        self.0.send(ask(done)).ok();
        answer
    }

    /// Asks for some of what comes after this event; `None`: from the oldest on.
    pub(crate) fn after(&self, from: Option<EventId>) -> Asked<Vec<Item>> {
        let first = false;
        self.ask(|done| Ask::Read { from, first, done })
    }

    /// The first item from this id on; `None`: the oldest.
    async fn first(&self, from: Option<EventId>) -> Result<Option<Item>, LogUnavailable> {
        let first = true;
        let items = self.ask(|done| Ask::Read { from, first, done }).await;
        let items = items.map_err(|_| LogUnavailable)??;
        Ok(items.into_iter().next())
    }

    /// The position of a reader whose last event has this id. The event may be evicted.
    pub(crate) async fn reached(&self, id: EventId) -> Result<Reached, LogUnavailable> {
        let newest = self.ask(|done| Ask::UpTo { id, done }).await;
        let newest = newest.map_err(|_| LogUnavailable)??;
        // If any other event between that item and this id is missing, the counts will not match later.
        let reached = newest.map(|item| item.reached());
        let others = reached.filter(|reached| reached.id.epoch == id.epoch);
        Ok(Reached {
            id,
            others: others.and_then(|reached| reached.others),
        })
    }

    async fn given(&self, id: GivenId) -> Result<Option<EventId>, LogUnavailable> {
        let known = self.ask(|done| Ask::Given { id, done }).await;
        known.map_err(|_| LogUnavailable)?
    }

    /// Finds where a subscriber starts. One that asks for what never was gets all that is retained,
    /// after a gap; one that asks for what is no more gets what comes after it.
    pub(crate) async fn resume(
        &self,
        from: &ResumeFrom,
        wants_presence: bool,
    ) -> Result<ResumePoint<Option<Reached>>, LogUnavailable> {
        match from {
            ResumeFrom::Now | ResumeFrom::Earliest => {
                let oldest = self.first(None).await?.map(|first| first.before());
                Ok(ResumePoint::at(oldest, false))
            }
            ResumeFrom::Unknown(_) => self.all(from).await,
            ResumeFrom::AfterGiven(given) => match self.given(given.clone()).await? {
                Some(id) => self.resume_after(id, from, wants_presence).await,
                None => self.all(from).await,
            },
            ResumeFrom::After { id, .. } => self.resume_after(*id, from, wants_presence).await,
        }
    }

    async fn resume_after(
        &self,
        id: EventId,
        from: &ResumeFrom,
        wants_presence: bool,
    ) -> Result<ResumePoint<Option<Reached>>, LogUnavailable> {
        let Some(first) = self.first(Some(id)).await? else {
            return self.all(from).await;
        };
        let (after, missing) = if first.id() == id {
            (first.reached(), None)
        } else {
            let after = self.reached(id).await?;
            (after, first.missing_after(after))
        };
        let reason = missing.and_then(|missing| missing.reason(wants_presence));
        Ok(match reason {
            None => ResumePoint::at(Some(after), true),
            Some(reason) => with_gap(reason, from, Some(first.before())),
        })
    }

    /// Everything, to one that asked for what never was.
    async fn all(&self, from: &ResumeFrom) -> Result<ResumePoint<Option<Reached>>, LogUnavailable> {
        let after = self.first(None).await?.map(|first| first.before());
        Ok(with_gap(GapReason::Unknown, from, after))
    }
}

fn with_gap(
    reason: GapReason,
    from: &ResumeFrom,
    after: Option<Reached>,
) -> ResumePoint<Option<Reached>> {
    let last = after.map(|after| after.id);
    ResumePoint::after_gap(after, reason, from, last, None)
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
