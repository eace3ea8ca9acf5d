//! Publishes many events (`--ndjson`, or `--data -`): each line of a file or of standard input. The lines
//! that are available are sent together, in one request with a JSON object in each line. Lines that the hub
//! did not acknowledge are sent again.

use std::{
    io::BufRead,
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

use anyhow::{Context as _, anyhow};
use serde_json::{Map, Value, json};

use super::{FailedAttempt, Publisher, is_temporary, new_key};
use crate::{Failure, print};

/// Maximum number of lines in one request, and the bytes of its lines at which a request is sent.
const MAX_LINES: usize = 4096;
const MAX_BYTES: usize = 1 << 20;

/// Maximum length of the answer to one line, in bytes.
const MAX_ANSWER_BYTES: u64 = 4096;

/// A line that is sent until the hub has answered it.
struct Line {
    /// The number of the line in the input, from 1.
    number: u64,
    /// A JSON object.
    json: String,
}

/// Publishes the lines of `input`. Prints the id of each event, and an error for each line that is refused.
pub(super) fn publish(
    publisher: &Publisher<'_>,
    input: impl BufRead + Send + 'static,
) -> Result<(), Failure> {
    let (sender, lines) = sync_channel(MAX_LINES);
    // Reads in the background. A line that arrives alone is sent at once. Lines that arrive while a request
    // is in progress are sent together in the next one.
    thread::spawn(move || {
        for line in input.lines() {
            let is_error = line.is_err();
            if sender.send(line).is_err() || is_error {
                return;
            }
        }
    });
    let mut number = 0;
    let mut refused = 0;
    while let Ok(first) = lines.recv() {
        let batch = collect(publisher, first, &lines, &mut number);
        refused += batch.refused + send(publisher, batch.lines)?;
        if let Some(err) = batch.failure {
            let err = anyhow!(err).context(format!("cannot read the input after line {number}"));
            return Err(Failure::Failed(err));
        }
    }
    if refused > 0 {
        let err = anyhow!("{refused} of {number} lines were not published");
        return Err(Failure::Failed(err));
    }
    Ok(())
}

/// Lines that are sent in one request.
#[derive(Default)]
struct Batch {
    lines: Vec<Line>,
    /// How many lines are not objects.
    refused: u64,
    /// Why nothing more can be read.
    failure: Option<std::io::Error>,
}

/// Takes the lines that are available, as objects. Reports lines that are not objects.
fn collect(
    publisher: &Publisher<'_>,
    first: std::io::Result<String>,
    lines: &Receiver<std::io::Result<String>>,
    number: &mut u64,
) -> Batch {
    let mut batch = Batch::default();
    let mut bytes = 0;
    let mut next = Some(first);
    while let Some(line) = next {
        let text = match line {
            Ok(text) => text,
            Err(err) => {
                batch.failure = Some(err);
                break;
            }
        };
        *number += 1;
        match object(publisher, &text) {
            Ok(Some(json)) => {
                bytes += json.len();
                let number = *number;
                batch.lines.push(Line { number, json });
            }
            Ok(None) => {}
            Err(err) => {
                batch.refused += 1;
                report(*number, &format!("{err:#}"));
            }
        }
        let is_full = batch.lines.len() >= MAX_LINES || bytes >= MAX_BYTES;
        next = if is_full { None } else { lines.try_recv().ok() };
    }
    batch
}

/// The object for a line of the input, with an idempotency key. `None` for a blank line of objects.
fn object(publisher: &Publisher<'_>, line: &str) -> anyhow::Result<Option<String>> {
    let ask = publisher.ask;
    let mut object = if ask.ndjson.is_some() {
        if line.trim().is_empty() {
            return Ok(None);
        }
        let object: Map<String, Value> =
            serde_json::from_str(line).context("the line is not a JSON object")?;
        object
    } else {
        let mut object = Map::new();
        object.insert("topic".to_owned(), json!(ask.topic));
        object.insert("data".to_owned(), json!(line));
        let optional = [
            ("private", ask.private.then_some(Value::Bool(true))),
            ("type", ask.r#type.as_ref().map(|kind| json!(kind))),
            ("retry", ask.retry.map(|ms| json!(ms))),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                object.insert(name.to_owned(), value);
            }
        }
        object
    };
    object
        .entry("idempotency_key")
        .or_insert_with(|| json!(new_key()));
    Ok(Some(Value::Object(object).to_string()))
}

/// Sends lines until each is answered. Prints the ids in the order of the answers, and returns how many lines
/// were refused.
fn send(publisher: &Publisher<'_>, mut lines: Vec<Line>) -> Result<u64, Failure> {
    let mut refused = 0;
    let mut failure = None;
    if !lines.is_empty() {
        let sent = publisher.retry(|| {
            let before = lines.len();
            let answers = attempt(publisher, &lines)?;
            let mut again = Vec::new();
            let mut temporary = None;
            let mut lines_left = std::mem::take(&mut lines).into_iter();
            for answer in answers.lines() {
                let Some(line) = lines_left.next() else { break };
                match answer_of(answer) {
                    Answer::Id(id) => {
                        if let Err(err) = print(format_args!("{id}")) {
                            failure = Some(err);
                        }
                    }
                    Answer::Refused(reason) => {
                        refused += 1;
                        report(line.number, &reason);
                    }
                    Answer::Temporary(reason) => {
                        temporary = Some(reason);
                        again.push(line);
                    }
                }
            }
            // The hub did not answer these lines, because the connection was cut or the hub drains.
            again.extend(lines_left);
            lines = again;
            if lines.is_empty() || failure.is_some() {
                return Ok(());
            }
            let reason = temporary.unwrap_or_else(|| "the response was cut off".to_owned());
            let err = anyhow!(
                "{} of {before} lines were not published: {reason}",
                lines.len()
            );
            Err(FailedAttempt::Temporary(err))
        });
        sent.map_err(Failure::Failed)?;
    }
    failure.map_or(Ok(refused), Err)
}

/// Sends the lines once. Returns the answers, which may be incomplete.
fn attempt(publisher: &Publisher<'_>, lines: &[Line]) -> Result<String, FailedAttempt> {
    let body: String = lines
        .iter()
        .map(|line| format!("{}\n", line.json))
        .collect();
    let request = publisher.request();
    let sent = request.content_type("application/x-ndjson").send(body);
    publisher.body_of(sent, MAX_ANSWER_BYTES * lines.len() as u64)
}

/// The answer to a line.
enum Answer {
    Id(String),
    Refused(String),
    Temporary(String),
}

fn answer_of(answer: &str) -> Answer {
    let answer: Value = serde_json::from_str(answer).unwrap_or_default();
    if let Some(id) = answer["id"].as_str() {
        return Answer::Id(id.to_owned());
    }
    let error = &answer["error"];
    let detail = error["detail"]
        .as_str()
        .unwrap_or("the answer of the hub is malformed");
    let status = error["status"]
        .as_u64()
        .and_then(|status| u16::try_from(status).ok());
    if status.is_some_and(|status| is_temporary(status, false)) {
        Answer::Temporary(detail.to_owned())
    } else {
        Answer::Refused(detail.to_owned())
    }
}

#[allow(clippy::print_stderr, reason = "this is the output of the command")]
fn report(number: u64, reason: &str) {
    eprintln!("broadcaster: line {number}: {reason}");
}
