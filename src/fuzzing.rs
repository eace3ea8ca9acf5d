//! Fuzz targets: each gives arbitrary bytes to a parser of network input, and panics if an invariant is
//! violated. This module requires the feature `fuzzing`, and is not part of the public interface.

use std::time::{Duration, Instant};

use actix_web::http::{
    Uri,
    header::{AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderValue, ORIGIN, REFERER},
};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::{
    auth::{TokenRules, TokenVerifier},
    config::LimitsConfig,
    event::{
        Event, EventId, Framing, GivenId, LEGACY_PARAMETERS, PARAMETERS, ResumeFrom, Topic, wire,
    },
    event_log::{MemoryLog, Retention, ValueRetention},
    http::{self, Credentials, Line, Lines, Malformed, StreamParameters, update},
    matching::{
        Compiler, HubUrl, Matcher, MatcherText, MatcherType, MemoryBudget, Selection, Subject,
    },
    transport::{MAX_ID, RequestScan, form::decode},
};

/// A fuzz target. It must not panic, whatever bytes it receives.
pub type Target = fn(&[u8]);

/// All targets by name. The corpus of a target (its stored inputs) has the same name.
pub const TARGETS: [(&str, Target); 9] = [
    ("query", query),
    ("form", form),
    ("json", json_update),
    ("ndjson", ndjson),
    ("credentials", credentials),
    ("token", token),
    ("pattern", pattern),
    ("last_event_id", last_event_id),
    ("request", request),
];

/// Parses the input as the parameters of a subscriber: as the query and as the request body, without and with
/// the parameters of older Mercure versions. Parameters that are accepted must respect the limits.
pub fn query(bytes: &[u8]) {
    let limits = LimitsConfig::default();
    let text = String::from_utf8_lossy(bytes);
    for (query, body) in [(&*text, &b""[..]), ("", bytes)] {
        for legacy in [false, true] {
            let Ok(asked) = http::stream_parameters(query, body, &limits, legacy) else {
                continue;
            };
            assert!(asked.matchers.len() <= limits.matchers);
            for matcher in asked.matchers {
                assert!((1..=limits.pattern).contains(&matcher.text.len()));
            }
        }
    }
}

/// Parses the input as a form that publishes an update. If it is valid, subscribers must receive its event
/// with exactly the published fields, whatever they contain.
pub fn form(bytes: &[u8]) {
    if let Ok(update) = update::parse_form(bytes, &LimitsConfig::default()) {
        assert_sent_as_published(&update.event);
    }
}

/// The same with a JSON object. The data of the event must be the text, or JSON with the same value, as a
/// JSON parser that reads the whole object finds it.
pub fn json_update(bytes: &[u8]) {
    let Ok(update) = update::parse_json(bytes, &LimitsConfig::default()) else {
        return;
    };
    assert_sent_as_published(&update.event);
    let is_key = |key: &String| (1..=255).contains(&key.len()) && key.is_ascii();
    assert!(update.key.as_ref().is_none_or(is_key));
    // This parser refuses deep nesting and large numbers, which the data of an event may have.
    let Ok(object) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    let data = update.event.data();
    match &object["data"] {
        Value::String(text) => assert_eq!(data, text),
        Value::Null if object.get("data").is_none() => assert_eq!(data, ""),
        value => assert_eq!(
            serde_json::from_str::<Value>(data).as_ref().ok(),
            Some(value)
        ),
    }
}

/// Splits the input into the lines of a bulk request. The pieces in which it arrives must not matter. The
/// first byte sets their length, the second one the maximum length of a line.
pub fn ndjson(bytes: &[u8]) {
    let [length, max_bytes, body @ ..] = bytes else {
        return;
    };
    let max_bytes = usize::from(*max_bytes).max(1);
    let lines = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut lines = Lines::new(&MemoryBudget::default(), max_bytes);
        let mut found = Vec::new();
        for piece in pieces {
            lines.push(piece).expect("there is enough memory");
            found.extend(std::iter::from_fn(|| {
                lines.next().map(|line| (lines.number(), line))
            }));
        }
        lines.end();
        found.extend(std::iter::from_fn(|| {
            lines.next().map(|line| (lines.number(), line))
        }));
        found
    };
    let whole = lines(&mut std::iter::once(body));
    let pieces = lines(&mut body.chunks(usize::from(*length).max(1)));
    assert_eq!(whole, pieces);
    for (_, line) in whole {
        if let Line::Text(text) = line {
            assert!(text.len() <= max_bytes && !text.contains(&b'\n'));
            assert!(!text.trim_ascii().is_empty());
        }
    }
}

fn assert_sent_as_published(event: &Event) {
    assert!(!event.topics().is_empty());
    let id = EventId { epoch: 1, seq: 2 };
    let sent = wire::event(id, event).bytes(Framing::Plain);
    let sent = std::str::from_utf8(&sent).expect("an event is UTF-8");
    let block = sent.strip_suffix("\n\n").expect("an event is one block");
    let mut data = Vec::new();
    let mut others = 0;
    for line in block.split(['\n', '\r']) {
        match line.split_once(": ") {
            Some(("data", text)) => data.push(text),
            Some(("id" | "event" | "retry", _)) => others += 1,
            _ => panic!("this line is not a field: {line:?}"),
        }
    }
    let expected = event.data().replace("\r\n", "\n").replace('\r', "\n");
    assert_eq!(data.join("\n"), expected);
    let named = usize::from(event.name().is_some()) + usize::from(event.retry().is_some());
    assert_eq!(others, 1 + named);
}

/// Extracts the access token from request headers. A token must not be empty or contain a separator. Also
/// decides whether a trusted page sent the request, which requires an `Origin` or a `Referer`. Each line of
/// the input is one header. Its first byte selects the name of the header.
pub fn credentials(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let (name, value) = match line {
            [b'a', value @ ..] => (AUTHORIZATION, value),
            [b'c', value @ ..] => (COOKIE, value),
            [b'o', value @ ..] => (ORIGIN, value),
            [b'r', value @ ..] => (REFERER, value),
            [b'h', value @ ..] => (HOST, value),
            _ => continue,
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    match http::presented(&headers, None, ["mercure", "other"].into_iter()) {
        Ok(Credentials::Header(token)) => {
            let is_one = |byte: u8| byte.is_ascii_graphic() && byte != b';' && byte != b',';
            assert!(!token.is_empty() && token.bytes().all(is_one));
        }
        Ok(Credentials::Cookie(value)) => assert!(!value.is_empty() && !value.contains(';')),
        Ok(Credentials::Nothing | Credentials::Query(_)) | Err(Malformed) => {}
    }
    let hub = hub();
    if http::comes_from_a_trusted_page(&headers, &hub, &http::Origins::default()) {
        assert!(headers.contains_key(ORIGIN) || headers.contains_key(REFERER));
    }
}

/// Verifies the input as a token, which must fail, because the input has no valid signature. If the input is
/// JSON, it is also parsed as authorization details and, if it is an object, as the claims of correctly
/// signed tokens.
pub fn token(bytes: &[u8]) {
    let rules = TokenRules {
        legacy: true,
        bytes: 8192,
        details: 20,
        topics: 100,
        pattern: 1024,
        revocation_ttl: std::time::Duration::from_secs(3600),
    };
    let token_verifier = TokenVerifier::new(hub(), rules);
    token_verifier
        .trust_secret("https://example.com".to_owned(), &[7; 32])
        .expect("a good secret");
    let text = String::from_utf8_lossy(bytes);
    assert!(
        token_verifier.verify(&text).is_err(),
        "a token without a valid signature was accepted"
    );
    // A correctly signed token may have any claims, and must not cause a panic.
    let Ok(claims) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    let compiler = Compiler::new(hub());
    let _ = crate::auth::Access::parse(Some(&claims), &mut compiler.begin(), &rules);
    let Value::Object(mut all) = claims else {
        return;
    };
    for (name, value) in [
        ("iss", json!("https://example.com")),
        ("aud", json!(hub().as_str())),
        ("exp", json!(u32::MAX)),
    ] {
        all.entry(name).or_insert(value);
    }
    for typ in ["at+jwt", "JWT"] {
        let header = Header {
            typ: Some(typ.to_owned()),
            ..Header::default()
        };
        let key = EncodingKey::from_secret(&[7; 32]);
        let token = encode(&header, &all, &key).expect("JSON can be signed");
        let _ = token_verifier.verify(&token);
    }
}

/// Compiles the first line of the input as a matcher of each type, and matches it against a topic. The topic
/// is the input after the first line, or `/books/1` if there is only one line. Matching must take less than a
/// second.
pub fn pattern(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (text, topic) = text.split_once('\n').unwrap_or((text, "/books/1"));
    let hub = hub();
    for kind in [
        MatcherType::Exact,
        MatcherType::UrlPattern,
        MatcherType::Selector,
    ] {
        let written = MatcherText::parse(kind, text, 1024);
        let Ok(matcher) = written.and_then(|written| Matcher::compile(written, &hub)) else {
            continue;
        };
        let start = Instant::now();
        let is_match = matcher.matches(&Subject::new(topic, &hub));
        assert!(start.elapsed() < Duration::from_secs(1), "matching is slow");
        if kind == MatcherType::Exact {
            assert_eq!(is_match, text == topic || text == "*");
        }
    }
}

/// Resumes a stream with the input as the last event id. The stream must start between the oldest retained
/// event and the position after the newest. If the log reports a gap (events that the client may have
/// missed), the gap must be sent as a single event.
pub fn last_event_id(bytes: &[u8]) {
    let own = Topic::parse("/ticker").expect("this is a topic");
    let retention = Retention {
        events: 4,
        presence: 1000,
        bytes: usize::MAX,
        age: None,
        queue: 1,
        values: ValueRetention::default(),
    };
    let log = MemoryLog::new(1_763_856_000_000, retention, own.clone());
    for n in 0..6 {
        let event = Event::message("x");
        let event = match GivenId::parse(&format!("given-{n}")) {
            Ok(id) if n % 2 == 0 => event.with_id(id),
            _ => event,
        };
        log.append(&event, Instant::now());
    }
    let selection = Selection::new(hub(), vec![Matcher::exact(&own)], Vec::new());
    let from = ResumeFrom::parse(bytes);
    // The server repeats a valid id in a response header. Only an `Unknown` id may be invalid there.
    let is_header = HeaderValue::from_str(&from.to_string()).is_ok();
    assert!(is_header || matches!(from, ResumeFrom::Unknown(_)));
    let placement = log.resume(&from, &selection);
    assert!((3..=7).contains(&placement.cursor));
    if let Some(gap) = placement.gap {
        let sent = wire::gap(&gap).bytes(Framing::Plain);
        let sent = std::str::from_utf8(&sent).expect("a gap is UTF-8");
        assert_eq!(sent.matches("\n\n").count(), 1, "{sent}");
        assert!(!sent.contains('\r'));
    }
}

/// Scans the input as the bytes of requests, before they are parsed. Splitting the input must not change the
/// result. The scan shortens long last event ids, and must not change anything else in the request.
pub fn request(bytes: &[u8]) {
    let mut scan = RequestScan::default();
    let scanned = scan.read_all(bytes);
    let mut by_byte = Vec::new();
    let mut other = RequestScan::default();
    for byte in bytes {
        by_byte.extend(other.read_all(&[*byte]));
    }
    assert_eq!(scanned, by_byte);
    assert_eq!(scan.take_heads(), other.take_heads());
    assert_eq!(scan.unfinished(), other.unfinished());
    let breaks = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(breaks(bytes), breaks(&scanned), "a line break was dropped");
    if let Some(whole) = ParsedRequest::of(bytes) {
        let left = ParsedRequest::of(&scanned).expect("a shortened request is valid, too");
        left.assert_agrees(&whole, scanned == bytes);
    }
}

/// What the HTTP and query parsers read from the first request of the input.
#[derive(Debug)]
struct ParsedRequest {
    method: String,
    path: String,
    /// All headers except `Last-Event-ID`, with their names in lower case.
    headers: Vec<(String, Vec<u8>)>,
    /// The last event ids in headers and query, as received.
    ids: Vec<Vec<u8>>,
    /// The result of parsing the query twice: without and with the parameters of older Mercure versions.
    asked: [Result<StreamParameters, String>; 2],
}

impl ParsedRequest {
    /// Parses the first request in these bytes. Returns `None` if it is incomplete or invalid.
    fn of(bytes: &[u8]) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; 96];
        let mut request = httparse::Request::new(&mut headers);
        request.parse(bytes).ok()?.is_complete().then_some(())?;
        let uri = Uri::try_from(request.path?).ok()?;
        let query = uri.query().unwrap_or_default();
        let (mut ids, mut others) = (Vec::new(), Vec::new());
        for header in request.headers {
            let name = header.name.to_ascii_lowercase();
            let value = header.value.to_vec();
            if name == "last-event-id" {
                ids.push(value);
            } else {
                others.push((name, value));
            }
        }
        let names = PARAMETERS.into_iter().chain(LEGACY_PARAMETERS);
        let names: Vec<_> = names.collect();
        for parameter in query.as_bytes().split(|byte| *byte == b'&') {
            let mut parts = parameter.splitn(2, |byte| *byte == b'=');
            let name = parts.next().map(decode).unwrap_or_default();
            if names.contains(&&*name) {
                ids.push(parts.next().unwrap_or_default().to_vec());
            }
        }
        let limits = LimitsConfig::default();
        let asked = |legacy| {
            let asked = http::stream_parameters(query, b"", &limits, legacy);
            asked.map_err(|problem| problem.to_string())
        };
        Some(Self {
            method: request.method?.to_owned(),
            path: uri.path().to_owned(),
            headers: others,
            ids,
            asked: [false, true].map(asked),
        })
    }

    fn assert_agrees(&self, whole: &Self, is_whole: bool) {
        assert_eq!(self.method, whole.method);
        assert_eq!(self.path, whole.path);
        assert_eq!(self.headers, whole.headers);
        assert_eq!(self.ids.len(), whole.ids.len());
        for (left, id) in self.ids.iter().zip(&whole.ids) {
            assert!(left.len() <= MAX_ID && id.starts_with(left));
            assert!(
                left == id || id.len() > MAX_ID,
                "an id was shortened although it is not too long"
            );
        }
        for (left, whole) in self.asked.iter().zip(&whole.asked) {
            let (left, whole) = match (left, whole) {
                (Ok(left), Ok(whole)) => (left, whole),
                (left, whole) => {
                    assert_eq!(left.as_ref().err(), whole.as_ref().err());
                    continue;
                }
            };
            assert_eq!(left.matchers, whole.matchers);
            let from =
                |asked: &StreamParameters| asked.last_event_id.as_deref().map(ResumeFrom::parse);
            match (from(left), from(whole)) {
                // Both ids are invalid. They may differ, because the scan shortens an id that is too long to
                // be valid.
                (Some(ResumeFrom::Unknown(_)), Some(ResumeFrom::Unknown(_))) if !is_whole => {}
                (left, whole) => assert_eq!(left, whole),
            }
        }
    }
}

fn hub() -> HubUrl {
    HubUrl::parse("http://localhost/.well-known/mercure").expect("this is a URL")
}
