//! Reads retained events that are older than those in memory, one batch at a time. A subscriber requests the
//! next batch when its client has accepted the previous one, so the client sets the pace.

use tokio::sync::{mpsc, oneshot};

use super::{error::LogUnavailable, resume_point::ResumePoint};
use crate::event::{Event, EventId, GapReason, GivenId, ResumeFrom, Since};

/// The position of a reader in the archive, which is the whole log in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reached {
    /// The reader continues after this id. It is usually the id of the last item that was read, but need not
    /// be the id of an item.
    pub(crate) id: EventId,
    /// How many events of the same epoch, up to and including `id`, are not presence events (events about
    /// active subscriptions). If two positions in an epoch have the same number, only presence events lie
    /// between them. `None` if unknown.
    pub(crate) others: Option<u64>,
}

impl Reached {
    /// Whether `self` and `other` are known to be in the same epoch with only presence events between them.
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

/// Which events are missing before an item of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Only presence events (events about active subscriptions) are missing.
    Presence,
    /// Events other than presence events may be missing too, for this reason.
    Events(GapReason),
}

impl Missing {
    /// The reason in the gap that a subscriber must receive. `None` if it needs no gap, because only presence
    /// events are missing and it does not want them.
    pub(crate) fn reason(self, wants_presence: bool) -> Option<GapReason> {
        match self {
            Self::Presence => wants_presence.then_some(GapReason::Evicted),
            Self::Events(reason) => Some(reason),
        }
    }
}

/// An entry of the log in Redis, to which several servers append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Event {
        id: EventId,
        event: Event,
        /// How many earlier events of the same epoch are not presence events (events about active
        /// subscriptions). `None` if unknown.
        others: Option<u64>,
    },
    /// The start of a new epoch (the first number of each event id). The first value is the id before the
    /// first event of the new epoch. The second value is the position in an earlier epoch after which the new
    /// epoch continues. If it is `None`, events may have been lost, and every subscriber that reads past this
    /// item receives a gap.
    Begins(EventId, Option<Reached>),
    /// An entry that is neither an event nor the start of an epoch, so another program wrote it.
    Unreadable(EventId),
}

impl Item {
    pub(crate) fn id(&self) -> EventId {
        match self {
            Self::Event { id, .. } | Self::Begins(id, _) | Self::Unreadable(id) => *id,
        }
    }

    /// The position of a reader that has just read this item and continues after it.
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

    /// A position from which a reader misses nothing of this item: right before an event, or at the item
    /// itself if it contains no event.
    pub(crate) fn before(&self) -> Reached {
        match self {
            Self::Event { id, others, .. } => Reached {
                id: EventId {
                    seq: id.seq.saturating_sub(1),
                    ..*id
                },
                others: *others,
            },
            // Neither item contains an event, so a reader that starts after it misses nothing.
            Self::Begins(..) | Self::Unreadable(_) => self.reached(),
        }
    }

    /// Which events are missing between the position `last` and this item, and why. `None` if none is
    /// missing. Does not tell how many, because it is unknown how many of them a subscriber would have
    /// received.
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
    /// Read one item or a batch, starting at the id `from`. If `from` is `None`, start at the oldest item.
    Read {
        from: Option<EventId>,
        /// True: read only one item, the first whose id is at least `from`. False: read a batch, without the
        /// item `from` itself.
        first: bool,
        done: Reply<Vec<Item>>,
    },
    /// Read the newest item whose id is at most `id`, if there is one.
    UpTo {
        id: EventId,
        done: Reply<Option<Item>>,
    },
    /// Find the first item that was appended at or after a time.
    Since {
        since: Since,
        done: Reply<FirstSince>,
    },
    /// Look up an event by the id that its publisher chose. The response is the id that the log assigned to
    /// the event. `None`: the log does not know the id.
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
            Self::Since { done, .. } => done.is_closed(),
            Self::Given { done, .. } => done.is_closed(),
        }
    }
}

/// Where a reader starts that wants the events since a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FirstSince {
    /// The position before the first of these events. `None`: the oldest item.
    pub(super) before: Option<Reached>,
    /// Why some of these events are missing. `None`: none is.
    pub(super) missing: Option<GapReason>,
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, LogUnavailable>>;

/// Resolves to the response of the archive to a request, or to an error if the archive cannot be read.
pub(crate) type ArchiveResponse<T> = oneshot::Receiver<Result<T, LogUnavailable>>;

/// Sends requests to the archive, which is the whole log in Redis. Cloning it is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Archive(mpsc::UnboundedSender<ArchiveRequest>);

impl Archive {
    /// Creates an `Archive`, and the receiver of the requests that it sends.
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

    /// Requests a batch of items after the id `from`, or from the oldest item on if `from` is `None`. The
    /// response is empty if there are no such items yet.
    pub(crate) fn after(&self, from: Option<EventId>) -> ArchiveResponse<Vec<Item>> {
        let first = false;
        self.request(|done| ArchiveRequest::Read { from, first, done })
    }

    /// Reads the first item whose id is at least `from`, or the oldest item if `from` is `None`. Returns
    /// `None` if there is no such item.
    async fn first(&self, from: Option<EventId>) -> Result<Option<Item>, LogUnavailable> {
        let first = true;
        let items = self
            .request(|done| ArchiveRequest::Read { from, first, done })
            .await;
        let items = items.map_err(|_| LogUnavailable)??;
        Ok(items.into_iter().next())
    }

    /// The position of a reader whose last event had this id, even if the event was evicted or lost.
    pub(crate) async fn reached(&self, id: EventId) -> Result<Reached, LogUnavailable> {
        let newest = self.request(|done| ArchiveRequest::UpTo { id, done }).await;
        let newest = newest.map_err(|_| LogUnavailable)??;
        // `newest`, the newest retained item up to `id`, may be before `id`. If only presence events are
        // missing between them, the count `others` is the same for both. If another event is missing there,
        // the count is too low for `id`. It then differs from the count in the next item, and the subscriber
        // receives a gap.
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
    /// the oldest event, after a gap. If the requested event was evicted or lost, it starts at the next
    /// retained event. It then receives a gap only if it misses an event that it may want.
    pub(crate) async fn resume(
        &self,
        from: &ResumeFrom,
        wants_presence: bool,
    ) -> Result<ResumePoint<Option<Reached>>, LogUnavailable> {
        match from {
            ResumeFrom::Now | ResumeFrom::Snapshot | ResumeFrom::Earliest => {
                let oldest = self.first(None).await?.map(|first| first.before());
                Ok(ResumePoint::at(oldest, false))
            }
            ResumeFrom::Since(since) => self.since(*since, from).await,
            ResumeFrom::Unknown(_) => self.all(from).await,
            ResumeFrom::AfterGiven(given) => match self.given(given.clone()).await? {
                Some(id) => self.resume_after(id, from, wants_presence).await,
                None => self.all(from).await,
            },
            ResumeFrom::After { id, .. } => self.resume_after(*id, from, wants_presence).await,
        }
    }

    async fn since(
        &self,
        since: Since,
        from: &ResumeFrom,
    ) -> Result<ResumePoint<Option<Reached>>, LogUnavailable> {
        let response = self.request(|done| ArchiveRequest::Since { since, done });
        let FirstSince { before, missing } = response.await.map_err(|_| LogUnavailable)??;
        Ok(match missing {
            Some(reason) => with_gap(reason, from, before),
            None => ResumePoint::at(before, false),
        })
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

    /// The start at the oldest event, after a gap, because the log does not know the requested id.
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
