//! Reads and writes `auth.issuers`. Each error names the table and the key that is wrong.

use jsonwebtoken::Algorithm;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error, ser::SerializeSeq};
use toml::{Table, Value};
use url::{Host, Url};

use super::error::found as shown;
use crate::{
    auth::{ALGORITHMS, Action, IssuerConfig, KeySource, algorithm_name},
    matching::{HubUrl, Matcher, MatcherText, MatcherType},
};

/// Maximum number of tables. More are refused.
const MAX_ISSUERS: usize = 100;

/// Maximum number of items in a list of a table.
const MAX_ITEMS: usize = 100;

/// Maximum length of a path, a URL, the name of an issuer or a matcher, in bytes.
const MAX_BYTES: usize = 4096;

/// The keys of a table.
const TABLE_KEYS: [&str; 8] = [
    "issuer",
    "secret_file",
    "pem_file",
    "jwks_file",
    "jwks_url",
    "algorithms",
    "actions",
    "topics",
];

const SOURCES: &str = "secret_file, pem_file, jwks_file or jwks_url";

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<IssuerConfig>, D::Error> {
    let found = Value::deserialize(deserializer)?;
    let tables = found.as_array().filter(|list| list.len() <= MAX_ISSUERS);
    let tables = tables.ok_or_else(|| {
        D::Error::custom(format!(
            "found {}, allowed is at most {MAX_ISSUERS} tables [[auth.issuers]], in an environment \
             variable as a JSON list",
            shown(&found)
        ))
    })?;
    let issuer = |(number, table): (usize, &Value)| {
        let name = table.get("issuer").and_then(Value::as_str);
        let name = name.map_or_else(String::new, |name| {
            format!(" ({})", shown(&Value::String(name.to_owned())))
        });
        issuer(table).map_err(|reason| D::Error::custom(format!("table {number}{name}: {reason}")))
    };
    (1..).zip(tables).map(issuer).collect()
}

/// Reads one table. Fails with the key that is wrong and the reason.
fn issuer(table: &Value) -> Result<IssuerConfig, String> {
    let table = match table {
        Value::Table(table) => table,
        other => return Err(format!("found {}, {}", shown(other), remedy(other))),
    };
    if let Some(unknown) = table.keys().find(|key| !TABLE_KEYS.contains(&&***key)) {
        let unknown = shown(&Value::String(unknown.clone()));
        return Err(format!(
            "there is no key {unknown}; allowed is one of: {}",
            TABLE_KEYS.join(", ")
        ));
    }
    let issuer = text(table, "issuer")?.ok_or("the key issuer is missing")?;
    let mut config = IssuerConfig::new(issuer.to_owned(), source(table)?);
    if let Some(algorithms) = list(table, "algorithms", algorithm)? {
        config.algorithms = Some(algorithms);
    }
    if let Some(actions) = list(table, "actions", action)? {
        config.actions = actions;
    }
    config.topics = list(table, "topics", topic)?;
    Ok(config)
}

/// How to write an issuer of the form `"<issuer> <kind>:<path>"`, which older versions had.
fn remedy(found: &Value) -> String {
    let old = || {
        let (issuer, key) = found.as_str()?.split_once(' ')?;
        let (kind, path) = key.trim_start().split_once(':')?;
        let is_kind = ["secret", "pem", "jwks"].contains(&kind);
        is_kind.then(|| (issuer.to_owned(), kind.to_owned(), path.to_owned()))
    };
    match old() {
        Some((issuer, kind, path)) => format!(
            "the form of older versions; write a table [[auth.issuers]] with issuer = {} and {kind}_file = {}",
            shown(&Value::String(issuer)),
            shown(&Value::String(path)),
        ),
        None => format!(
            "allowed is a table [[auth.issuers]] with the keys issuer and one of {SOURCES}, in an \
             environment variable as a JSON object"
        ),
    }
}

fn refused(key: &str, found: &Value, allowed: &str) -> String {
    format!("{key}: found {}, allowed is {allowed}", shown(found))
}

/// Reads a key whose value is a text. `None`: the table has no such key.
fn text<'a>(table: &'a Table, key: &str) -> Result<Option<&'a str>, String> {
    let Some(value) = table.get(key) else {
        return Ok(None);
    };
    let is_good = |text: &&str| (1..=MAX_BYTES).contains(&text.len()) && !text.contains('\0');
    let text = value.as_str().filter(is_good);
    let allowed = format!("a text of 1 to {MAX_BYTES} bytes");
    text.map(Some).ok_or_else(|| refused(key, value, &allowed))
}

/// Reads the one source of the issuer's signing keys. Fails if the table names none or several.
fn source(table: &Table) -> Result<KeySource, String> {
    let mut sources = Vec::new();
    for (key, file) in [
        ("secret_file", KeySource::SecretFile as fn(_) -> _),
        ("pem_file", KeySource::PemFile),
        ("jwks_file", KeySource::JwksFile),
    ] {
        sources.extend(text(table, key)?.map(|path| file(path.into())));
    }
    if let Some(url) = text(table, "jwks_url")? {
        let parsed = Url::parse(url).ok().filter(is_url_of_keys);
        let url = parsed.ok_or_else(|| {
            refused(
                "jwks_url",
                &Value::String(url.to_owned()),
                "an https URL, or an http URL of localhost or a loopback address, without a user, a \
                 password and a fragment",
            )
        })?;
        sources.push(KeySource::JwksUrl(url));
    }
    match sources.pop() {
        None => Err(format!("the source of the keys is missing: {SOURCES}")),
        Some(source) if sources.is_empty() => Ok(source),
        Some(_) => Err(format!("there is more than one of {SOURCES}")),
    }
}

fn is_url_of_keys(url: &Url) -> bool {
    let is_loopback = || match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback());
    let is_plain = url.username().is_empty() && url.password().is_none();
    is_safe && is_plain && url.fragment().is_none()
}

/// Reads a key whose value is a list of at least one item. `None`: the table has no such key.
fn list<T>(
    table: &Table,
    key: &str,
    item: impl Fn(&Value) -> Result<T, String>,
) -> Result<Option<Vec<T>>, String> {
    let Some(value) = table.get(key) else {
        return Ok(None);
    };
    let items = value.as_array();
    let items = items.filter(|items| (1..=MAX_ITEMS).contains(&items.len()));
    let items =
        items.ok_or_else(|| refused(key, value, &format!("a list of 1 to {MAX_ITEMS} items")))?;
    let items = items
        .iter()
        .map(|found| item(found).map_err(|allowed| refused(key, found, &allowed)));
    items.collect::<Result<_, _>>().map(Some)
}

/// Reads the name of an algorithm. Fails with what is allowed.
fn algorithm(found: &Value) -> Result<Algorithm, String> {
    let mut all = ALGORITHMS.into_iter();
    let named = all.find(|algorithm| found.as_str() == Some(&algorithm_name(*algorithm)));
    named.ok_or_else(|| ALGORITHMS.map(algorithm_name).join(", "))
}

fn action(found: &Value) -> Result<Action, String> {
    let action = found.as_str().and_then(Action::named);
    action.ok_or_else(|| "\"publish\" or \"subscribe\"".to_owned())
}

/// Reads a matcher in the form that tokens have. Fails with what is allowed.
fn topic(found: &Value) -> Result<MatcherText, String> {
    const ALLOWED: &str = "a table with the key match and, unless it is \"exact\", the key match_type, such \
                           as { match = \"/books/:id\", match_type = \"urlpattern\" }";
    let table = found.as_table().ok_or(ALLOWED)?;
    let is_known = |key: &String| key == "match" || key == "match_type";
    let text = table.get("match").and_then(Value::as_str).ok_or(ALLOWED)?;
    let kind = match table.get("match_type") {
        None => Some(MatcherType::Exact),
        Some(kind) => kind.as_str().and_then(MatcherType::named),
    };
    let kind = kind.filter(|_| table.keys().all(is_known)).ok_or(ALLOWED)?;
    let parsed = MatcherText::parse(kind, text, MAX_BYTES).and_then(|written| {
        // The URL of the hub does not matter here: it is only the base of relative patterns.
        Matcher::compile(written.clone(), &HubUrl::at("localhost:80", 80)).map(|_| written)
    });
    parsed.map_err(|reason| format!("{ALLOWED}; {reason}"))
}

/// A table as it is written.
#[derive(Serialize)]
struct Written {
    issuer: String,
    #[serde(flatten)]
    source: Table,
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithms: Option<Vec<String>>,
    actions: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topics: Option<Vec<Table>>,
}

pub(super) fn serialize<S: Serializer>(
    issuers: &[IssuerConfig],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(issuers.len()))?;
    for issuer in issuers {
        let source = (issuer.keys.key(), issuer.keys.to_string());
        let names =
            |algorithms: &Vec<Algorithm>| algorithms.iter().copied().map(algorithm_name).collect();
        let matchers = |topics: &Vec<MatcherText>| topics.iter().map(matcher).collect();
        list.serialize_element(&Written {
            issuer: issuer.issuer.clone(),
            source: Table::from_iter([(source.0.to_owned(), Value::String(source.1))]),
            algorithms: issuer.algorithms.as_ref().map(names),
            actions: issuer.actions.iter().map(|action| action.name()).collect(),
            topics: issuer.topics.as_ref().map(matchers),
        })?;
    }
    list.end()
}

fn matcher(topic: &MatcherText) -> Table {
    let text = |text: &str| Value::String(text.to_owned());
    Table::from_iter([
        ("match".to_owned(), text(&topic.text)),
        ("match_type".to_owned(), text(topic.kind.name())),
    ])
}
