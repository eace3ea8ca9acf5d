//! A subscriber's cursor in the archive, for events that are no longer in memory.
//!
//! It is an id and not a position, because only memory has positions. The subscriber requests a batch, sends
//! it, and then requests the next one.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{
    event::{Batch, EventId, Framing, Gap, GapReason, wire},
    event_log::{Archive, ArchiveResponse, Item, LogUnavailable, MemoryLog, Reached},
    matching::Selection,
};

/// A cursor in the archive: the id after which the subscriber continues.
#[derive(Debug)]
pub(crate) struct ArchiveCursor {
    after: Option<Reached>,
    /// Whether the client knows the id in `after`.
    is_announced: bool,
    /// The request whose response has not arrived yet.
    response: Option<ArchiveResponse<Vec<Item>>>,
    /// Items that arrived and were not processed yet.
    items: VecDeque<Item>,
}

/// What to send to the subscriber, and what to count in the metrics.
#[derive(Debug)]
pub(crate) struct ArchiveBatch {
    /// Empty if nothing was for the subscriber.
    pub(crate) bytes: Bytes,
    pub(crate) events: u64,
    pub(crate) gaps: Vec<GapReason>,
}

impl ArchiveCursor {
    /// Starts after an id that the client knows, or at the oldest event if it is `None`.
    pub(crate) fn new(after: Option<Reached>) -> Self {
        Self {
            after,
            is_announced: true,
            response: None,
            items: VecDeque::new(),
        }
    }

    pub(crate) fn after(&self) -> Option<EventId> {
        self.after.map(|after| after.id)
    }

    /// Waits for the next items, unless some are left, and returns whether there are any. If this is
    /// cancelled, the next call continues with the same request.
    pub(crate) async fn fetch(&mut self, archive: &Archive) -> Result<bool, LogUnavailable> {
        if self.items.is_empty() {
            if let Some(after) = self.after.filter(|after| after.others.is_none()) {
                self.after = Some(archive.reached(after.id).await?);
            }
            let after = self.after();
            let response = self.response.get_or_insert_with(|| archive.after(after));
            let answer = response.await;
            self.response = None;
            self.items = answer.map_err(|_| LogUnavailable)??.into();
        }
        Ok(!self.items.is_empty())
    }

    /// The id to announce to the client, if the client knows only an earlier one. The caller must send it,
    /// because from now on it counts as announced.
    pub(crate) fn announce(&mut self) -> Option<EventId> {
        let was_announced = std::mem::replace(&mut self.is_announced, true);
        self.after().filter(|_| !was_announced)
    }

    /// Processes the fetched items until at least `most` topics were matched or no item is left. The next
    /// call continues with the remaining items.
    pub(crate) fn take(
        &mut self,
        most: usize,
        log: &MemoryLog,
        selection: &Selection,
        framing: Framing,
    ) -> ArchiveBatch {
        let mut batch = Batch::new(framing);
        let mut events = 0;
        let mut gaps = Vec::new();
        let mut topics = 0;
        while topics < most
            && let Some(item) = self.items.pop_front()
        {
            let missing = self.after.and_then(|last| {
                let missing = item.missing_after(last)?;
                Some((last.id, missing.reason(selection.may_select_presence())?))
            });
            if let Some((last, reason)) = missing {
                let gap = Gap::new(reason, &last, Some(item.before().id), None);
                batch.push(&wire::gap(&gap));
                gaps.push(gap.reason);
                self.is_announced = true;
            }
            self.after = Some(item.reached());
            let Item::Event { id, event, .. } = item else {
                continue;
            };
            let audience = log.audience(&event);
            topics += audience.topics.len();
            self.is_announced = selection.selects(&audience);
            if self.is_announced {
                batch.push(&wire::event(id, &event));
                events += 1;
            }
        }
        ArchiveBatch {
            bytes: batch.finish(),
            events,
            gaps,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::{Event, Topic},
        event_log::Retention,
        matching::{HubUrl, Matcher},
    };

    fn id(epoch: u64, seq: u64) -> EventId {
        EventId { epoch, seq }
    }

    #[test]
    fn what_is_for_the_subscriber_is_sent_and_what_is_missing_is_told() {
        let topic = |text| Topic::parse(text).unwrap();
        let retention = Retention {
            events: 1,
            presence: 1000,
            bytes: 1,
            age: None,
            queue: 1,
        };
        let log = MemoryLog::new(1, retention, topic("own"));
        let hub = HubUrl::parse("http://localhost/.well-known/mercure").unwrap();
        let selection = Selection::new(hub, vec![Matcher::exact(&topic("own"))], Vec::new());
        let item = |id, event| Item::Event {
            id,
            event,
            others: None,
        };
        let event = |epoch, seq, data: &str| item(id(epoch, seq), Event::message(data));
        let other = item(id(5, 3), Event::message("other").on(topic("other")));
        let mut archive_cursor = ArchiveCursor::new(Some(id(5, 1).into()));

        let mut take = |items: &[Item]| {
            archive_cursor.items = items.to_vec().into();
            let sent = archive_cursor.take(9, &log, &selection, Framing::Plain);
            let text = String::from_utf8(sent.bytes.to_vec()).unwrap();
            (
                text,
                sent.gaps,
                archive_cursor.after(),
                archive_cursor.announce(),
            )
        };

        let (text, gaps, after, announced) = take(&[event(5, 2, "a"), other]);
        assert_eq!(text, "id: #5-2\ndata: a\n\n");
        assert_eq!((gaps.len(), after, announced), (0, Some(id(5, 3)), after));
        let (text, gaps, after, announced) = take(&[Item::Begins(id(6, 0), Some(id(5, 3).into()))]);
        assert_eq!((&*text, gaps.len(), after), ("", 0, Some(id(6, 0))));
        assert_eq!(announced, None);
        let (text, gaps, after, announced) =
            take(&[event(6, 3, "b"), Item::Begins(id(9, 0), None)]);
        assert_eq!(gaps, [GapReason::Evicted, GapReason::Epoch]);
        assert!(text.contains("\"requested\":\"#6-0\",\"resumed_after\":\"#6-2\",\"missed\":null"));
        assert!(text.contains("id: #6-3\ndata: b\n\n"));
        assert!(text.contains("\"requested\":\"#6-3\",\"resumed_after\":\"#9-0\",\"missed\":null"));
        assert_eq!((after, announced), (Some(id(9, 0)), None));
    }
}
