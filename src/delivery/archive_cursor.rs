//! A subscriber's cursor in the archive, for events that are no longer in memory. The archive is the whole
//! log in Redis.
//!
//! The cursor is an event id and not a position, because only memory has positions. The subscriber requests a
//! batch of events, sends it, and then requests the next batch.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{round::push_event, snapshot::Snapshot};
use crate::{
    event::{Batch, EventId, Framing, Gap, GapReason, wire},
    event_log::{Archive, ArchiveResponse, Item, LogUnavailable, MemoryLog, Reached},
    matching::Selection,
};

/// How far a subscriber has read the archive (the whole log in Redis): the id after which it continues, and
/// the items that were fetched but not processed yet.
#[derive(Debug)]
pub(crate) struct ArchiveCursor {
    after: Option<Reached>,
    /// Whether the client knows the id of the last event before the cursor. If not, that event was not for
    /// this client, and the client's last event id is older.
    is_announced: bool,
    /// Receives the response to the pending request for items. `None`: no request is pending.
    response: Option<ArchiveResponse<Vec<Item>>>,
    /// Items that the archive returned and that are not processed yet.
    items: VecDeque<Item>,
}

/// The result of processing some items of the archive: what to send to the subscriber, and what to count in
/// the metrics.
#[derive(Debug)]
pub(crate) struct ArchiveBatch {
    /// The encoded events and gaps. Empty if there are none for the subscriber.
    pub(crate) bytes: Bytes,
    pub(crate) events: u64,
    pub(crate) gaps: Vec<GapReason>,
}

impl ArchiveCursor {
    /// Starts after the id `after`, or at the oldest event if `after` is `None`. Assumes that the client
    /// knows the id `after`.
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

    /// If no fetched items are left to process, requests the next ones from the archive and waits for them.
    /// Returns `false` if the archive has no items after the cursor, and fails if it cannot be read. If this
    /// future is dropped while it waits for items, the request stays pending: the next call waits for the
    /// same response.
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

    /// Returns the id of the cursor, or `None` if the client knows the id of the last event before it. The
    /// caller must send the returned id to the client, because from now on the client is assumed to know it.
    pub(crate) fn announce(&mut self) -> Option<EventId> {
        let was_announced = std::mem::replace(&mut self.is_announced, true);
        self.after().filter(|_| !was_announced)
    }

    /// Encodes fetched items for the subscriber, and moves the cursor past them. Stops when at least `most`
    /// topics of events were matched, or when no fetched item is left. The next call continues with the
    /// remaining items. If `snapshot` is on and events are missing, adds the gap, begins the snapshot and stops;
    /// the caller must then read the snapshot instead of more items.
    pub(crate) fn take(
        &mut self,
        most: usize,
        log: &MemoryLog,
        (selection, snapshot): (&Selection, &mut Snapshot),
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
                let mut gap = Gap::new(reason, &last, Some(item.before().id), None);
                gaps.push(gap.reason);
                if snapshot.is_on() {
                    snapshot.begin_after(&mut gap, log);
                    batch.push(&wire::gap(&gap));
                    break;
                }
                batch.push(&wire::gap(&gap));
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
                let topics = (&audience.topics, audience.private);
                push_event(&mut batch, &wire::event(id, &event), topics, selection);
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
        event_log::{Retention, ValueRetention},
        matching::{HubUrl, Matcher},
    };

    fn id(epoch: u64, seq: u64) -> EventId {
        EventId { epoch, seq }
    }

    #[test]
    fn selected_events_are_sent_and_missing_events_are_reported_as_gaps() {
        let topic = |text| Topic::parse(text).unwrap();
        let retention = Retention {
            events: 1,
            presence: 1000,
            bytes: 1,
            age: None,
            queue: 1,
            values: ValueRetention::default(),
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
            let sent =
                archive_cursor.take(9, &log, (&selection, &mut Snapshot::Off), Framing::Plain);
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
