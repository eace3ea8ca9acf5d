//! Reads the current values of topics from Redis, when a node (one of the servers that share the log) starts,
//! and when it has missed events.

use std::collections::BTreeMap;

use redis::{RedisError, aio::MultiplexedConnection};

use super::{
    super::{
        record::Record,
        stored_value::{LoadedValues, StoredValue, ValueState},
    },
    link::Link,
    scripts::value_state,
};
use crate::event::{EventId, Topic};

/// Number of values that one call of `HSCAN` reads, approximately.
const PAGE: usize = 256;

/// A response to `HSCAN`: the next cursor, and fields with their values.
type Page = (u64, Vec<(Vec<u8>, Vec<u8>)>);

/// Reads all values, in the order of their ids. A value that another program wrote is left out.
///
/// Other nodes may append meanwhile. If a value is replaced during the scan, the result has the old value, the
/// new one, or, if it is cleared, neither. The node reads the newer event from the stream.
pub(super) async fn load_values(
    link: &Link,
    connection: &mut MultiplexedConnection,
) -> Result<LoadedValues, RedisError> {
    let mut values: BTreeMap<EventId, StoredValue> = BTreeMap::new();
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("HSCAN");
        scan.arg(link.scripts.names().values()).arg(cursor);
        scan.arg("COUNT").arg(PAGE);
        let scanned: Result<Page, _> = scan.query_async(connection).await;
        let (next, page) = match scanned {
            // Another program wrote to this name. The heartbeat reports the values as lost, and append.lua
            // begins again without them.
            Err(err) if err.code() == Some("WRONGTYPE") => {
                let mut lost = LoadedValues::default();
                lost.state.set_lost();
                return Ok(lost);
            }
            scanned => scanned?,
        };
        for (field, value) in page {
            let topic = std::str::from_utf8(&field).ok();
            let topic = topic.and_then(|field| field.strip_prefix(['+', '-']));
            let Some(((id, record), topic)) = parse(&value).zip(topic) else {
                log::warn!("the log has a value that no broadcaster wrote");
                continue;
            };
            let topic = Topic::of_hub(topic);
            let value = values.entry(id).or_insert_with(|| StoredValue {
                id,
                event: record.event(),
                topics: Vec::new(),
            });
            // `HSCAN` may return a field twice.
            if !value.topics.contains(&topic) {
                value.topics.push(topic);
            }
        }
        if next == 0 {
            break;
        }
        cursor = next;
    }
    Ok(LoadedValues {
        values: values.into_values().collect(),
        state: read_state(link, connection).await?,
    })
}

/// Reads whether Redis has all values. Call this after the values were read, so
/// that a loss in between is noticed.
async fn read_state(
    link: &Link,
    connection: &mut MultiplexedConnection,
) -> Result<ValueState, RedisError> {
    let names = link.scripts.names();
    let mut get = redis::cmd("HMGET");
    get.arg(names.about());
    get.arg(&["values", "values_dropped", "values_lost_until"]);
    type Fields = (Option<String>, Option<String>, Option<String>);
    let (counters, dropped, lost_until): Fields = get.query_async(connection).await?;
    let mut length = redis::cmd("HLEN");
    let number: u64 = length.arg(names.values()).query_async(connection).await?;
    let counted = counters.and_then(|counters| counters.split(' ').next()?.parse().ok());
    let mut state = value_state(
        &dropped.unwrap_or_default(),
        &lost_until.unwrap_or_default(),
    );
    // Other nodes may have added or removed some in between.
    if counted.is_none_or(|counted: u64| counted > 0 && number == 0) {
        state.set_lost();
    }
    Ok(state)
}

/// Parses a value: the id of the event, and the event.
fn parse(value: &[u8]) -> Option<(EventId, Record)> {
    let text = std::str::from_utf8(value).ok()?;
    let mut parts = text.splitn(4, ' ');
    let id = EventId::parse(parts.next()?).ok()?;
    let _at: u64 = parts.next()?.parse().ok()?;
    let length: usize = parts.next()?.parse().ok()?;
    let (record, data) = parts.next()?.split_at_checked(length)?;
    let record: Record = serde_json::from_str(record).ok()?;
    Some((id, record.with_data(data.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;

    #[test]
    fn a_value_is_parsed_and_one_of_another_program_is_not() {
        let (id, record) = parse(b"5-7 1000 13 {\"topics\":[]}two words").unwrap();
        assert_eq!(id, EventId { epoch: 5, seq: 7 });
        assert_eq!(record.event(), Event::message("two words"));

        for text in [
            "",
            "5-7",
            "5-7 1 2",
            "5-7 1 99 {}",
            "x 1 2 {}",
            "5-7 1 2 {]",
            "5-7 1 1 {}",
            "5-7 1 2 \u{e9}",
        ] {
            assert!(parse(text.as_bytes()).is_none(), "{text}");
        }
    }
}
