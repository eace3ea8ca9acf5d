//! The entries of the Redis stream: how an event is encoded, and how entries are decoded. Any program can
//! write to the stream. So an entry in another format becomes [`Item::Unreadable`] instead of an error.

use redis::Value;

use super::super::{
    archive::{Item, Reached},
    record::Record,
};
use crate::event::{Event, EventId};

/// The largest number of a ticker message: 2^53. The Lua scripts store numbers as floating-point, which is
/// exact up to this limit. An entry with a larger number is treated as unreadable.
const MAX_EXACT: u64 = 1 << 53;

/// One decoded entry of the Redis stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) item: Item,
    /// When the entry was appended, by the clock of Redis, in milliseconds since 1970. 0 if the entry does
    /// not say when, for example the start of an epoch.
    pub(super) at: u64,
    /// The number of the message, counted from 0, if the ticker sent it. `None` for any other entry.
    pub(super) tick: Option<u64>,
    /// Time between the previous event and this one, in milliseconds. `None`: unknown, or not an event.
    pub(super) pause: Option<u64>,
}

/// Error: a response of Redis is not a list of entries with valid ids. Contains a description of what Redis
/// returned instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Foreign(pub(super) String);

/// Returns the two texts in which the stream stores an event: the record, which is JSON with everything
/// except the data, and the data.
pub(super) fn written(event: &Event) -> (Vec<u8>, &str) {
    let record = serde_json::to_vec(&Record::without_data(event));
    (
        record.expect("a record has only texts, numbers and booleans"),
        event.data(),
    )
}

/// Decodes a list of entries: the response to `XRANGE`, `XREVRANGE` or read.lua, or the entries of one stream
/// in a response to `XREAD`.
pub(super) fn entries(value: Value) -> Result<Vec<Entry>, Foreign> {
    match value {
        Value::Array(entries) => entries.into_iter().map(entry).collect(),
        Value::Nil => Ok(Vec::new()),
        _ => Err(Foreign("a value that is not a list of entries".to_owned())),
    }
}

/// Decodes the response to an `XREAD` of one stream. Nil, the response after a timeout, becomes an empty
/// list.
pub(super) fn entries_of_only_stream(value: Value) -> Result<Vec<Entry>, Foreign> {
    let foreign = || Foreign("a value that is not a stream".to_owned());
    let stream = match value {
        Value::Nil => return Ok(Vec::new()),
        Value::Array(streams) => streams.into_iter().next().ok_or_else(foreign)?,
        _ => return Err(foreign()),
    };
    match stream {
        Value::Array(mut parts) if parts.len() == 2 => entries(parts.remove(1)),
        _ => Err(foreign()),
    }
}

fn entry(value: Value) -> Result<Entry, Foreign> {
    let (id, fields) = match value {
        Value::Array(parts) => match <[Value; 2]>::try_from(parts) {
            Ok([Value::BulkString(id), Value::Array(fields)]) => (id, fields),
            _ => return Err(Foreign("an entry without an id or fields".to_owned())),
        },
        _ => return Err(Foreign("a value that is not an entry".to_owned())),
    };
    let text = String::from_utf8_lossy(&id);
    let id = EventId::parse(&text).map_err(|_| Foreign(format!("the id {text}")))?;
    Ok(content(id, fields).unwrap_or_else(|what| {
        log::warn!("the log has an entry that no broadcaster wrote, {id}: {what}");
        Entry {
            item: Item::Unreadable(id),
            at: 0,
            tick: None,
            pause: None,
        }
    }))
}

/// Decodes the fields of an entry. Fails with the reason if the fields are not in the format of the scripts.
/// Another program must then have written them.
fn content(id: EventId, fields: Vec<Value>) -> Result<Entry, &'static str> {
    let (mut record, mut data, mut at, mut tick, mut begins) = (None, None, 0, None, None);
    let (mut others, mut pause) = (None, None);
    let mut fields = fields.into_iter();
    while let (Some(Value::BulkString(name)), Some(Value::BulkString(value))) =
        (fields.next(), fields.next())
    {
        let text = String::from_utf8(value).map_err(|_| "a field is not UTF-8")?;
        match &*name {
            b"r" => record = Some(text),
            b"d" => data = Some(text),
            b"t" => at = text.parse().map_err(|_| "the time is not a number")?,
            b"n" => tick = Some(tick_number(&text).ok_or("the message number is invalid")?),
            b"p" => pause = Some(text.parse().map_err(|_| "the pause is not a number")?),
            b"b" => begins = Some(text),
            b"o" => others = Some(text.parse().map_err(|_| "a counter is not a number")?),
            // The id that the publisher chose. The record also contains it; only the scripts need this field.
            b"g" => {}
            _ => return Err("a field is unknown"),
        }
    }
    let item = match (record, data, begins) {
        (Some(record), Some(data), None) => {
            let record: Record = serde_json::from_str(&record).map_err(|_| "an invalid record")?;
            let event = record.with_data(data).event();
            Item::Event { id, event, others }
        }
        (None, None, Some(after)) if after.is_empty() => Item::Begins(id, None),
        (None, None, Some(after)) => {
            let after = EventId::parse(&after).map_err(|_| "an epoch has an invalid id")?;
            Item::Begins(id, Some(Reached { id: after, others }))
        }
        _ => return Err("it is neither an event nor the start of an epoch"),
    };
    Ok(Entry {
        item,
        at,
        tick,
        pause,
    })
}

/// Parses the number of a ticker message. `None` if it is not a number or exceeds [`MAX_EXACT`].
fn tick_number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number| *number <= MAX_EXACT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn raw(id: &str, fields: &[&str]) -> Value {
        let fields = fields.iter().map(|field| text(field)).collect();
        Value::Array(vec![text(id), Value::Array(fields)])
    }

    const ID: EventId = EventId { epoch: 5, seq: 1 };

    #[test]
    fn a_decoded_event_equals_the_encoded_one() {
        let event = Event::message("two\nlines {n}").with_retry(7);
        let (record, data) = written(&event);
        let record = String::from_utf8(record).unwrap();
        assert!(!record.contains("lines"));

        let fields = [
            "o", "7", "r", &record, "d", data, "t", "12", "p", "5", "n", "3",
        ];
        let value = raw("5-1", &fields);

        let read = entries(Value::Array(vec![value])).unwrap();
        let item = Item::Event {
            id: ID,
            event,
            others: Some(7),
        };
        let tick = Some(3);
        let pause = Some(5);
        assert_eq!(
            read,
            [Entry {
                item,
                at: 12,
                tick,
                pause
            }]
        );
    }

    #[test]
    fn the_start_of_an_epoch_has_the_id_after_which_it_continues() {
        let read = |after| entries(Value::Array(vec![raw("5-1", &["b", after])]));
        let begins = |after| {
            let item = Item::Begins(ID, after);
            Ok(vec![Entry {
                item,
                at: 0,
                tick: None,
                pause: None,
            }])
        };

        assert_eq!(read(""), begins(None));
        let after = Reached::from(EventId { epoch: 4, seq: 9 });
        assert_eq!(read("4-9"), begins(Some(after)));
    }

    #[test]
    fn entries_of_other_programs_are_recognized_without_a_panic() {
        for fields in [
            &[][..],
            &["r", "{}"],
            &["r", "{", "d", ""],
            &["b", "x"],
            &["field", "x"],
            &["t", "x"],
            &["n", "-1"],
            &["r", "{}", "d", "", "n", "9007199254740993"],
        ] {
            let read = entries(Value::Array(vec![raw("5-1", fields)])).unwrap();
            assert_eq!(read[0].item, Item::Unreadable(ID), "{fields:?}");
        }
        for value in [
            Value::Int(1),
            Value::Array(vec![Value::Nil]),
            Value::Array(vec![raw("x", &["b", ""])]),
            Value::Array(vec![text("1-1")]),
            Value::Array(vec![Value::Array(vec![text("1-1")])]),
        ] {
            assert!(entries(value.clone()).is_err(), "{value:?}");
        }
        assert_eq!(entries_of_only_stream(Value::Nil), Ok(Vec::new()));
        assert!(entries_of_only_stream(Value::Array(Vec::new())).is_err());
    }
}
