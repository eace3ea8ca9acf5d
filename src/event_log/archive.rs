//! Reads retained events that are older than memory, one batch at a time. A subscriber requests the next
//! batch when its client has accepted the one before, so the client sets the pace.

use tokio::sync::{mpsc, oneshot};

use super::{resume_point::ResumePoint, waiting::LogUnavailable};
use crate::event::{Event, EventId, GapReason, GivenId, ResumeFrom};

/// How far a reader has read in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reached {
    /// The id of the last item.
    pub(crate) id: EventId,
    /// Number of events of this epoch, up to and including `id`, that are not presence events. `None` if
    /// unknown.
    pub(crate) others: Option<u64>,
}

impl Reached {
    /// Whether only presence events lie between this position and another one in the same epoch.
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
    /// Events of any kind, for this reason.
    Events(GapReason),
}

impl Missing {
    /// The reason for the gap that a subscriber must receive. `None` if it needs no gap.
    pub(crate) fn reason(self, wants_presence: bool) -> Option<GapReason> {
        match self {
            Self::Presence => wants_presence.then_some(GapReason::Evicted),
            Self::Events(reason) => Some(reason),
        }
    }
}

/// An entry of a log that several nodes write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Event {
        id: EventId,
        event: Event,
        /// Number of earlier events of this epoch that are not presence events. `None` if unknown.
        others: Option<u64>,
    },
    /// The start of a new epoch. The first value is the id before the first event of the epoch. The second
    /// value is the position in the previous epochs after which this one continues. If it is `None`, events
    /// may be missing, and every subscriber that crosses this point receives a gap.
    Begins(EventId, Option<Reached>),
    /// An entry that another program wrote and that is not an event.
    Unreadable(EventId),
}

impl Item {
    pub(crate) fn id(&self) -> EventId {
        match self {
            Self::Event { id, .. } | Self::Begins(id, _) | Self::Unreadable(id) => *id,
        }
    }

    /// The position of a reader that has read this item.
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

    /// The position of a reader whose next item is this one.
    pub(crate) fn before(&self) -> Reached {
        match self {
            Self::Event { id, others, .. } => Reached {
                id: EventId {
                    seq: id.seq.saturating_sub(1),
                    ..*id
                },
                others: *others,
            },
            // These items contain no event, so a reader can start after them.
            Self::Begins(..) | Self::Unreadable(_) => self.reached(),
        }
    }

    /// Which kind of events is missing between a position and this item, and why. `None` if nothing is. It
    /// has no count, because nobody knows how many of them a subscriber would have received.
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

/// A request to the archive.
pub(super) enum ArchiveRequest {
    /// Read a batch of items after this id, or from the oldest one if `from` is `None`.
    Read {
        from: Option<EventId>,
        /// Read only one item, which may be the one with the id `from`.
        first: bool,
        done: Reply<Vec<Item>>,
    },
    /// Read the newest item whose id is at most this one.
    UpTo {
        id: EventId,
        done: Reply<Option<Item>>,
    },
    /// Look up the id of the event with this given id.
    Given {
        id: GivenId,
        done: Reply<Option<EventId>>,
    },
}

impl ArchiveRequest {
    /// Whether the requester no longer waits for the answer.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Read { done, .. } => done.is_closed(),
            Self::UpTo { done, .. } => done.is_closed(),
            Self::Given { done, .. } => done.is_closed(),
        }
    }
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, LogUnavailable>>;

/// Resolves to the answer to a request.
pub(crate) type ArchiveResponse<T> = oneshot::Receiver<Result<T, LogUnavailable>>;

/// A handle that sends requests to the archive. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Archive(mpsc::UnboundedSender<ArchiveRequest>);

impl Archive {
    /// Returns a handle and the receiver of its requests.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<ArchiveRequest>) {
        let (requests, received) = mpsc::unbounded_channel();
        (Self(requests), received)
    }

    fn request<T>(&self, request: impl FnOnce(Reply<T>) -> ArchiveRequest) -> ArchiveResponse<T> {
        let (done, answer) = oneshot::channel();
        // If the receiver is gone, `done` is dropped, and the requester gets an error.
        self.0.send(request(done)).ok();
        answer
    }

    /// Requests a batch of items after this event, or from the oldest one if `from` is `None`.
    pub(crate) fn after(&self, from: Option<EventId>) -> ArchiveResponse<Vec<Item>> {
        let first = false;
        self.request(|done| ArchiveRequest::Read { from, first, done })
    }

    /// Reads the first item whose id is at least `from`, or the oldest one if `from` is `None`.
    async fn first(&self, from: Option<EventId>) -> Result<Option<Item>, LogUnavailable> {
        let first = true;
        let items = self
            .request(|done| ArchiveRequest::Read { from, first, done })
            .await;
        let items = items.map_err(|_| LogUnavailable)??;
        Ok(items.into_iter().next())
    }

    /// The position of a reader whose last event has this id. The event may be evicted.
    pub(crate) async fn reached(&self, id: EventId) -> Result<Reached, LogUnavailable> {
        let newest = self.request(|done| ArchiveRequest::UpTo { id, done }).await;
        let newest = newest.map_err(|_| LogUnavailable)??;
        // If an event that is not a presence event is missing between this item and the id, the count is too
        // low. It then does not match the count in the next item, and the subscriber receives a gap.
        let reached = newest.map(|item| item.reached());
        let others = reached.filter(|reached| reached.id.epoch == id.epoch);
        Ok(Reached {
            id,
            others: others.and_then(|reached| reached.others),
        })
    }

    async fn given(&self, id: GivenId) -> Result<Option<EventId>, LogUnavailable> {
        let known = self
            .request(|done| ArchiveRequest::Given { id, done })
            .await;
        known.map_err(|_| LogUnavailable)?
    }

    /// Finds where a subscriber starts. If it requests an id that the log never gave, it starts at the oldest
    /// event, after a gap. If it requests an event that was evicted or lost, it starts at the next event that
    /// is retained, after a gap if it misses anything.
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

    /// Starts at the oldest event, after a gap, because the log never gave the requested id.
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
