//! Sends the current values of topics at the beginning of a stream, and after a gap.

use super::{BATCH_BYTES, Next, Subscriber};
use crate::{
    delivery::{round::push_event, snapshot::Snapshot},
    event::{Batch, wire},
    event_log::{Portion, ValuesCursor, ValuesRead},
};

impl Subscriber {
    /// Returns the next values of the snapshot, in log order. After the last one, returns the checkpoint
    /// after which the subscriber reads the events from its cursor on.
    pub(super) fn read_values(&mut self, cursor: ValuesCursor) -> Next {
        let mut batch = Batch::new(self.framing);
        let mut taken = 0;
        let portion = Portion {
            bytes: BATCH_BYTES,
            topics: self.topics_at_a_time(),
        };
        let (log, selection) = (self.hub.log(), &self.selection);
        let until = self.position.cursor;
        let read = log.read_values(cursor, until, selection, portion, |value, topics| {
            let topics = (topics.iter().copied(), value.audience.private);
            match value.own_id {
                None => push_event(&mut batch, &value.frame, topics, selection),
                // A client that is cut off after the value must not resume after another event with the id that
                // its publisher chose.
                Some(id) => push_event(&mut batch, &value.frame.with_id(id), topics, selection),
            }
            taken += 1;
        });
        self.snapshot = match read {
            ValuesRead::More { from } => Snapshot::Reading(ValuesCursor { from, ..cursor }),
            ValuesRead::End { is_complete } => {
                let last_id = log.id_before(until);
                batch.push(&wire::end_of_snapshot(last_id, is_complete));
                Snapshot::OnGap
            }
        };
        self.hub.metrics().deliveries.inc_by(taken);
        match batch.len() {
            0 => Next::Nothing,
            _ => Next::Bytes(batch.finish()),
        }
    }
}
