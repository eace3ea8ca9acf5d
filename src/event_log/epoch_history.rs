//! Maps positions in memory to event ids and back. An event id is an epoch and a number. Within a span,
//! position and number both increase by one from event to event. A new span begins if a log in Redis
//! continues in another epoch, or after missing events.

use std::collections::VecDeque;

use crate::event::EventId;

/// Minimum number of spans (series of events with consecutive ids) to remember. The cursor of a connected
/// subscriber may be in a span whose events are no longer in memory. Such spans are forgotten only beyond
/// this number.
const MIN_KEPT_SPANS: usize = 256;

/// A series of events whose positions and ids both increase by one from event to event.
#[derive(Debug, Clone, Copy)]
struct EpochSpan {
    /// The position of the first event in this series.
    from: u64,
    first: EventId,
    /// False if events may be missing between the previous series of events and this one. Evicted presence
    /// events do not count as missing.
    follows: bool,
}

impl EpochSpan {
    /// The position after the event with this id, which is either in this span or the id right before
    /// `first`. `None` for an earlier id or another epoch. The caller must check that the id is not after the
    /// end of the span.
    fn after(&self, id: EventId) -> Option<u64> {
        let since = id.seq.saturating_add(1).checked_sub(self.first.seq)?;
        (id.epoch == self.first.epoch).then_some(self.from.saturating_add(since))
    }
}

/// The spans of a log, oldest first. A span is a series of events whose positions and ids both increase by
/// one from event to event.
#[derive(Debug)]
pub(super) struct EpochHistory {
    spans: VecDeque<EpochSpan>,
    /// Whether older spans were removed from `spans`.
    has_forgotten: bool,
}

impl EpochHistory {
    /// The history of a log whose first event is at position `from` and has the id `first`.
    pub(super) fn new(from: u64, first: EventId) -> Self {
        let follows = false;
        let span = EpochSpan {
            from,
            first,
            follows,
        };
        Self {
            spans: VecDeque::from([span]),
            has_forgotten: false,
        }
    }

    /// Begins a new series of consecutive ids: the event at position `from` has the id `first`. If `follows`
    /// is false, events before `first` may be missing, and the position before `from` is a hole, which marks
    /// this.
    pub(super) fn begin_span(&mut self, from: u64, first: EventId, follows: bool) {
        let mut span = EpochSpan {
            from,
            first,
            follows,
        };
        if self.newest().from == from {
            // The newest span has no events, so the new span replaces it. Events are missing before the new
            // span if they are missing before either of the two.
            span.follows &= self.newest().follows;
            self.spans.pop_back();
        }
        self.spans.push_back(span);
    }

    /// Forgets the oldest spans whose events are all before this position. Keeps at least [`MIN_KEPT_SPANS`]
    /// spans.
    pub(super) fn forget_before(&mut self, position: u64) {
        while self.spans.len() > MIN_KEPT_SPANS && self.spans[1].from <= position {
            self.spans.pop_front();
            self.has_forgotten = true;
        }
    }

    fn newest(&self) -> &EpochSpan {
        self.spans.back().expect("a log has a span")
    }

    /// The current epoch: the first number in the id of the next event.
    pub(super) fn epoch(&self) -> u64 {
        self.newest().first.epoch
    }

    fn span(&self, position: u64) -> &EpochSpan {
        let spans = self.spans.iter().rev();
        let found = spans.clone().find(|span| span.from <= position);
        found.or(self.spans.front()).expect("a log has a span")
    }

    /// The id of the event at this position. For a position before all known spans, counts back from the
    /// oldest known id.
    pub(super) fn id(&self, position: u64) -> EventId {
        let EpochSpan { from, first, .. } = *self.span(position);
        EventId {
            epoch: first.epoch,
            seq: first
                .seq
                .saturating_add(position.saturating_sub(from))
                .saturating_sub(from.saturating_sub(position)),
        }
    }

    /// The id right before this position: the last event id of a subscriber whose cursor is at this position.
    /// There need not be an event with this id: before the first event of a log, the number in the id is
    /// usually 0. `None` if no lower number exists, or if the id was forgotten.
    pub(super) fn id_before(&self, position: u64) -> Option<EventId> {
        let span = self.span(position);
        if self.has_forgotten && position < span.from {
            return None;
        }
        if position == span.from && span.follows {
            return Some(self.id(position - 1));
        }
        let EventId { epoch, seq } = self.id(position);
        seq.checked_sub(1).map(|seq| EventId { epoch, seq })
    }

    /// The position after the event with this id. `None` if the log does not know the id. For the oldest
    /// known epoch, the position may be before all events in memory. For the newest epoch, it may be beyond
    /// the head.
    pub(super) fn after(&self, id: EventId) -> Option<u64> {
        let mut end = u64::MAX;
        for span in self.spans.iter().rev() {
            if let Some(position) = span.after(id) {
                return (position <= end).then_some(position);
            }
            end = span.from.saturating_sub(u64::from(!span.follows));
        }
        let oldest = self.spans.front()?;
        let before = oldest.first.seq.checked_sub(id.seq.saturating_add(1))?;
        (id.epoch == oldest.first.epoch).then(|| oldest.from.saturating_sub(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(epoch: u64, seq: u64) -> EventId {
        EventId { epoch, seq }
    }

    /// A log with the events 5-10 to 5-19 at positions 10 to 19, then 6-1 to 6-5 without missing events, then
    /// 6-9 to 6-12 after missing events, then 7-1 after other missing events.
    fn epoch_history() -> EpochHistory {
        let mut epoch_history = EpochHistory::new(10, id(5, 10));
        epoch_history.begin_span(20, id(6, 1), true);
        epoch_history.begin_span(26, id(6, 9), false);
        epoch_history.begin_span(31, id(7, 1), false);
        epoch_history
    }

    #[test]
    fn positions_map_to_ids_and_back() {
        let epoch_history = epoch_history();

        assert_eq!(epoch_history.epoch(), 7);
        for (position, known) in [
            (10, id(5, 10)),
            (19, id(5, 19)),
            (20, id(6, 1)),
            (24, id(6, 5)),
            (26, id(6, 9)),
            (31, id(7, 1)),
            (1000, id(7, 970)),
        ] {
            assert_eq!(epoch_history.id(position), known, "{position}");
            assert_eq!(epoch_history.after(known), Some(position + 1), "{position}");
        }
    }

    #[test]
    fn each_position_has_an_id_before_it() {
        let epoch_history = epoch_history();

        for (position, before) in [
            (10, id(5, 9)),
            (20, id(5, 19)),
            (21, id(6, 1)),
            (26, id(6, 8)),
            (31, id(7, 0)),
        ] {
            assert_eq!(
                epoch_history.id_before(position),
                Some(before),
                "{position}"
            );
        }
        assert_eq!(epoch_history.after(id(6, 0)), Some(20));
        assert_eq!(epoch_history.after(id(7, 0)), Some(31));
        assert_eq!(EpochHistory::new(0, id(5, 0)).id_before(0), None);
    }

    #[test]
    fn epochs_without_events_are_ignored() {
        let mut epoch_history = EpochHistory::new(10, id(5, 10));
        epoch_history.begin_span(20, id(6, 1), true);
        epoch_history.begin_span(20, id(7, 1), true);

        assert_eq!(epoch_history.spans.len(), 2);
        assert_eq!(epoch_history.id(20), id(7, 1));
        assert_eq!(epoch_history.id_before(20), Some(id(5, 19)));
        epoch_history.begin_span(21, id(8, 1), false);
        epoch_history.begin_span(21, id(9, 1), true);
        assert_eq!(epoch_history.id_before(21), Some(id(9, 0)));
    }

    #[test]
    fn a_position_in_a_forgotten_span_has_no_id_before_it() {
        let mut epoch_history = EpochHistory::new(0, id(5, 0));
        for n in 1..=MIN_KEPT_SPANS as u64 {
            epoch_history.begin_span(n, id(5 + n, 1), true);
        }
        assert_eq!(epoch_history.id_before(1), Some(id(5, 0)));

        epoch_history.forget_before(10);

        assert_eq!(epoch_history.spans.len(), MIN_KEPT_SPANS);
        assert_eq!(
            (epoch_history.id_before(0), epoch_history.after(id(5, 0))),
            (None, None)
        );
        assert_eq!(epoch_history.id_before(3), Some(id(7, 1)));
    }

    #[test]
    fn ids_that_never_existed_have_no_position_and_evicted_ids_have_one() {
        let epoch_history = epoch_history();

        assert_eq!(epoch_history.after(id(5, 3)), Some(4));
        assert_eq!(
            epoch_history.after(id(5, 20)),
            None,
            "epoch 5 ended at 5-19"
        );
        assert_eq!(epoch_history.after(id(4, 10)), None);
        assert_eq!(epoch_history.after(id(8, 1)), None);
        // 6-5 is the last event before missing ones, so the position after 6-5 is the hole, which represents
        // them.
        assert_eq!(epoch_history.after(id(6, 5)), Some(25));
        assert_eq!(epoch_history.after(id(6, 6)), None, "6-6 is missing");
    }
}
