//! Reads retained events that are older than those in memory, one batch at a time. A subscriber requests the
//! next batch when its client has accepted the previous one, so the client sets the pace.

use tokio::sync::{mpsc, oneshot};

use super::{resume_point::ResumePoint, waiting::LogUnavailable};
use crate::event::{Event, EventId, GapReason, GivenId, ResumeFrom};

/// The position of a reader in the archive, which is the whole log in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reached {
    /// The id of the last item that the reader has read.
    pub(crate) id: EventId,
    /// How many events of the same epoch, up to and including `id`, are not presence events. If two positions
    /// in an epoch have the same number, only presence events lie between them. `None` if unknown.
    pub(crate) others: Option<u64>,
}

impl Reached {
    /// Whether `self` and `other` are in the same epoch and only presence events lie between them.
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

/// Which events are missing between two items of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Only presence events are missing.
    Presence,
    /// Events other than presence events may be missing too, for this reason.
    Events(GapReason),
}

impl Missing {
    /// The reason for the gap that a subscriber must receive. `None` if the subscriber needs no gap, because
    /// it does not want the missing events.
    pub(crate) fn reason(self, wants_presence: bool) -> Option<GapReason> {
        match self {
            Self::Presence => wants_presence.then_some(GapReason::Evicted),
            Self::Events(reason) => Some(reason),
        }
    }
}

/// An entry of the log in Redis, which several servers write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Event {
        id: EventId,
        event: Event,
        /// How many earlier events of the same epoch are not presence events. `None` if unknown.
        others: Option<u64>,
    },
    /// The start of a new epoch. The first value is the id before the first event of the new epoch. The
    /// second value is the position in an earlier epoch after which the new one continues. If it is `None`,
    /// events may have been lost, and every subscriber that reads past this item receives a gap.
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

    /// The position of a reader that has just read this item.
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

    /// The position of a reader that will read this item next.
    pub(crate) fn before(&self) -> Reached {
        match self {
            Self::Event { id, others, .. } => Reached {
                id: EventId {
                    seq: id.seq.saturating_sub(1),
                    ..*id
                },
                others: *others,
            },
            // These items contain no event, so a reader misses nothing if it starts after them.
            Self::Begins(..) | Self::Unreadable(_) => self.reached(),
        }
    }

    /// Which events are missing between the position `last` and this item, and why. `None` if nothing is
    /// missing. The number of missing events is not returned, because it is unknown how many of them a
    /// subscriber would have received.
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
    /// Read a batch of items after the id `from`, or from the oldest item on if `from` is `None`.
    Read {
        from: Option<EventId>,
        /// If true, read only one item: the first whose id is at least `from`. If false, read a batch after
        /// `from`.
        first: bool,
        done: Reply<Vec<Item>>,
    },
    /// Read the newest item whose id is at most `id`.
    UpTo {
        id: EventId,
        done: Reply<Option<Item>>,
    },
    /// Look up the id that the log assigned to an event, from its given id, which the publisher chose.
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

/// Resolves to the response of the archive to a request.
pub(crate) type ArchiveResponse<T> = oneshot::Receiver<Result<T, LogUnavailable>>;

/// A handle that sends requests to the archive. Cloning it is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Archive(mpsc::UnboundedSender<ArchiveRequest>);

impl Archive {
    /// Creates a handle, and the receiver of the requests that it sends.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<ArchiveRequest>) {
        let (requests, received) = mpsc::unbounded_channel();
        (Self(requests), received)
    }

    fn request<T>(&self, request: impl FnOnce(Reply<T>) -> ArchiveRequest) -> ArchiveResponse<T> {
        let (done, answer) = oneshot::channel();
        // If the receiver of requests is gone, sending fails and drops `done`, so the requester gets an
        // error.
        self.0.send(request(done)).ok();
        answer
    }

    /// Requests a batch of items after the id `from`, or from the oldest item on if `from` is `None`.
    pub(crate) fn after(&self, from: Option<EventId>) -> ArchiveResponse<Vec<Item>> {
        let first = false;
        self.request(|done| ArchiveRequest::Read { from, first, done })
    }

    /// Reads the first item whose id is at least `from`, or the oldest item if `from` is `None`.
    async fn first(&self, from: Option<EventId>) -> Result<Option<Item>, LogUnavailable> {
        let first = true;
        let items = self
            .request(|done| ArchiveRequest::Read { from, first, done })
            .await;
        let items = items.map_err(|_| LogUnavailable)??;
        Ok(items.into_iter().next())
    }

    /// The position of a reader whose last event had this id, even if the event is evicted.
    pub(crate) async fn reached(&self, id: EventId) -> Result<Reached, LogUnavailable> {
        let newest = self.request(|done| ArchiveRequest::UpTo { id, done }).await;
        let newest = newest.map_err(|_| LogUnavailable)??;
        // `newest` may be before `id`. If an event between them is lost that is not a presence event, the
        // number of `newest` is too low for `id`. It then differs from the number in the next item, and the
        // subscriber receives a gap.
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

    /// Finds where a subscriber starts. If the log does not know the requested id, the subscriber starts at
    /// the oldest event, after a gap. If the requested event was evicted or lost, the subscriber starts at
    /// the next retained event, after a gap if it misses any event.
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

    /// The resume point at the oldest event, after a gap, because the log does not know the requested id.
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
