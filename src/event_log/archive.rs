//! What is retained beyond memory, for those who ask for older events: read a batch at a time, when
//! they have taken the one before.

use tokio::sync::{mpsc, oneshot};

use super::LogUnavailable;
use crate::{
    event::{Event, EventId, GivenId},
    gap::{Gap, GapReason},
    resume::ResumeFrom,
};

/// What a log that others write, too, is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Event(EventId, Event),
    /// A new epoch, with all that came up to this event; `None`: with nothing that came before. The
    /// id is that before the first event of the epoch.
    Begins(EventId, Option<EventId>),
    /// Something that somebody else wrote, in the place of an event.
    Unreadable(EventId),
}

impl Item {
    pub(crate) fn id(&self) -> EventId {
        match self {
            Self::Event(id, _) | Self::Begins(id, _) | Self::Unreadable(id) => *id,
        }
    }

    /// The id that one has to have come to, to go on here.
    pub(crate) fn before(&self) -> EventId {
        match self {
            Self::Event(id, _) => EventId {
                seq: id.seq.saturating_sub(1),
                ..*id
            },
            // There is nothing to be had of it.
            Self::Begins(id, _) | Self::Unreadable(id) => *id,
        }
    }

    /// Why something is missing between the event of this id and this item; `None`: nothing is. How many
    /// events that are for a subscriber, nobody knows.
    pub(crate) fn missing_after(&self, last: EventId) -> Option<GapReason> {
        match self {
            Self::Begins(id, after) => {
                (*after != Some(last) && *id != last).then_some(GapReason::Epoch)
            }
            Self::Event(id, _) | Self::Unreadable(id) if id.epoch != last.epoch => {
                Some(GapReason::Epoch)
            }
            Self::Event(..) | Self::Unreadable(_) => {
                let is_next = self.before().seq <= last.seq;
                (!is_next).then_some(GapReason::Evicted)
            }
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
            Self::Given { done, .. } => done.is_closed(),
        }
    }
}

pub(super) type Answer<T> = oneshot::Sender<Result<T, LogUnavailable>>;

/// Resolves to what was asked for.
pub(crate) type Asked<T> = oneshot::Receiver<Result<T, LogUnavailable>>;

/// Where a subscriber starts that asked for something older.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Beginning {
    /// It starts after this event; `None`: with the oldest.
    pub(crate) after: Option<EventId>,
    /// Whether the client already has that id, from its request or from the gap.
    pub(crate) is_announced: bool,
    /// The gap that comes first, if it asked for something that is not retained.
    pub(crate) gap: Option<Gap>,
}

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

    async fn given(&self, id: GivenId) -> Result<Option<EventId>, LogUnavailable> {
        let known = self.ask(|done| Ask::Given { id, done }).await;
        known.map_err(|_| LogUnavailable)?
    }

    /// Finds where a subscriber starts. One that asks for what never was gets all that is retained,
    /// after a gap; one that asks for what is no more gets what comes after it.
    pub(crate) async fn place(&self, from: &ResumeFrom) -> Result<Beginning, LogUnavailable> {
        match from {
            ResumeFrom::Now | ResumeFrom::Earliest => Ok(Beginning {
                after: self.first(None).await?.map(|first| first.before()),
                is_announced: false,
                gap: None,
            }),
            ResumeFrom::Unknown(_) => self.all(from).await,
            ResumeFrom::AfterGiven(given) => match self.given(given.clone()).await? {
                Some(id) => self.place_after(id, from).await,
                None => self.all(from).await,
            },
            ResumeFrom::After { id, .. } => self.place_after(*id, from).await,
        }
    }

    async fn place_after(
        &self,
        id: EventId,
        from: &ResumeFrom,
    ) -> Result<Beginning, LogUnavailable> {
        let Some(first) = self.first(Some(id)).await? else {
            return self.all(from).await;
        };
        let missing = (first.id() != id)
            .then(|| first.missing_after(id))
            .flatten();
        Ok(match missing {
            None => Beginning {
                after: Some(id),
                is_announced: true,
                gap: None,
            },
            Some(reason) => with_gap(reason, from, Some(first.before())),
        })
    }

    /// Everything, to one that asked for what never was.
    async fn all(&self, from: &ResumeFrom) -> Result<Beginning, LogUnavailable> {
        let after = self.first(None).await?.map(|first| first.before());
        Ok(with_gap(GapReason::Unknown, from, after))
    }
}

fn with_gap(reason: GapReason, from: &ResumeFrom, after: Option<EventId>) -> Beginning {
    Beginning {
        after,
        is_announced: after.is_some(),
        gap: Some(Gap::new(reason, from, after, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(epoch: u64, seq: u64) -> EventId {
        EventId { epoch, seq }
    }

    fn event(epoch: u64, seq: u64) -> Item {
        Item::Event(id(epoch, seq), Event::message(""))
    }

    /// Who asks, answered for from a list of items.
    fn place(items: &[Item], from: &ResumeFrom) -> Beginning {
        let (archive, mut asked) = Archive::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let answering = async {
            while let Some(ask) = asked.recv().await {
                match ask {
                    Ask::Given { id: given, done } => {
                        let known = (given.as_str() == "urn:7").then_some(id(5, 11));
                        done.send(Ok(known)).unwrap();
                    }
                    Ask::Read { from, first, done } => {
                        let is_wanted = |item: &&Item| {
                            from.is_none_or(|from| item.id() > from || (first && item.id() == from))
                        };
                        let found = items.iter().filter(is_wanted).cloned().collect();
                        done.send(Ok(found)).unwrap();
                    }
                }
            }
            unreachable!("the archive is still there")
        };
        runtime.block_on(async {
            tokio::select! {
                place = archive.place(from) => place.unwrap(),
                () = answering => unreachable!(),
            }
        })
    }

    #[test]
    fn who_resumes_is_told_of_what_is_missing_and_of_nothing_else() {
        // 5-10 to 5-12, of which nothing more was kept in epoch 6, then 8 after something was lost.
        let items = [
            event(5, 10),
            event(5, 11),
            event(5, 12),
            Item::Begins(id(6, 0), Some(id(5, 12))),
            event(6, 1),
            Item::Begins(id(8, 0), None),
            event(8, 1),
        ];
        let gap = |after, reason| (Some(after), Some(reason));
        let epoch = GapReason::Epoch;
        for (asked, expected) in [
            (id(5, 10), (Some(id(5, 10)), None)),
            (id(5, 12), (Some(id(5, 12)), None)),
            (id(5, 9), (Some(id(5, 9)), None)),
            (id(6, 0), (Some(id(6, 0)), None)),
            (id(6, 1), (Some(id(6, 1)), None)),
            (id(8, 1), (Some(id(8, 1)), None)),
            (id(5, 6), gap(id(5, 9), GapReason::Evicted)),
            // Delivered, and lost when 6 began.
            (id(5, 13), gap(id(6, 0), epoch)),
            (id(6, 2), gap(id(8, 0), epoch)),
            (id(4, 100), gap(id(5, 9), epoch)),
            (id(8, 2), gap(id(5, 9), GapReason::Unknown)),
        ] {
            let Beginning { after, gap, .. } = place(&items, &asked.into());

            let told = gap.map(|gap| {
                assert_eq!(gap.requested, asked.to_string());
                assert_eq!(gap.resumed_after, after);
                gap.reason
            });
            assert_eq!((after, told), expected, "{asked}");
        }
        let given = GivenId::parse("urn:7").unwrap();
        let given = place(&items, &ResumeFrom::AfterGiven(given));
        assert_eq!((given.after, given.gap), (Some(id(5, 11)), None));
        let unknown = GivenId::parse("urn:x").unwrap();
        let unknown = place(&items, &ResumeFrom::AfterGiven(unknown));
        assert_eq!(unknown.after, Some(id(5, 9)));
        assert_eq!(unknown.gap.unwrap().reason, GapReason::Unknown);
        let earliest = place(&items, &ResumeFrom::Earliest);
        assert_eq!((earliest.after, earliest.gap), (Some(id(5, 9)), None));
        assert!(!earliest.is_announced);
    }
}
