//! Parses what a subscriber requests: matchers, a last event id and options, from the query and from the body
//! of a QUERY request (Mercure, chapter Subscription).

use actix_web::http::Method;

use super::problem::Problem;
use crate::{
    config::LimitsConfig,
    event::{LEGACY_PARAMETERS, PARAMETERS, Since},
    matching::{InvalidMatcher, MatcherText, MatcherType},
    transport::form,
};

/// Parameter names with this prefix, in any letter case, are reserved for matchers. An unknown one is
/// refused.
const RESERVED: &[u8] = b"match";

/// The method QUERY: like GET, but with a body.
pub(super) fn query() -> Method {
    Method::from_bytes(b"QUERY").expect("a word is a method")
}

/// What a subscriber requests: matchers, where the stream begins, and options.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamParameters {
    pub(crate) matchers: Vec<MatcherText>,
    /// The id to resume after, from the query or the body, decoded but not validated. `None` if absent or
    /// empty.
    pub(crate) last_event_id: Option<Vec<u8>>,
    /// Whether the stream begins with the current values of topics.
    pub(crate) snapshot: bool,
    /// Whether each event names the topics for which the subscriber receives it.
    pub(crate) topics: bool,
    /// Whether the stream ends when the subscriber has received every event.
    pub(crate) poll: bool,
    /// The time at which the events begin. `None`: the client names no time.
    pub(crate) since: Option<Since>,
}

/// Parses the parameters in the query and in the body of a request. The matchers of both are combined. A last
/// event id in the query wins over one in the body. Within each of the two, the last id that is not empty
/// wins: clients that cannot set headers append a newer id to a URL that may already contain one.
pub(crate) fn stream_parameters(
    query: &str,
    body: &[u8],
    limits: &LimitsConfig,
    legacy: bool,
) -> Result<StreamParameters, Problem> {
    let mut stream_parameters = StreamParameters::default();
    let mut ids = [None, None];
    let in_query = form::pairs(query.as_bytes()).map(|pair| (0, pair));
    let in_body = form::pairs(body).map(|pair| (1, pair));
    for (source, (name, value)) in in_query.chain(in_body) {
        let is_id = PARAMETERS.contains(&&*name);
        if is_id || legacy && LEGACY_PARAMETERS.contains(&&*name) {
            if !value.is_empty() {
                ids[source] = Some(value);
            }
            continue;
        }
        if stream_parameters.set_option(&name, &value)? {
            continue;
        }
        let is_reserved = name
            .get(..RESERVED.len())
            .is_some_and(|prefix| prefix.eq_ignore_ascii_case(RESERVED));
        let (name, kind) = match &*name {
            b"match" => ("match", MatcherType::Exact),
            b"match_exact" => ("match_exact", MatcherType::Exact),
            b"match_urlpattern" => ("match_urlpattern", MatcherType::UrlPattern),
            b"topic" if legacy => ("topic", MatcherType::Selector),
            _ if is_reserved => return Err(Problem::UnknownMatcher),
            _ => continue,
        };
        let value = form::text(value)?;
        if stream_parameters.matchers.len() == limits.matchers {
            return Err(Problem::TooManyMatchers(limits.matchers));
        }
        let matcher = MatcherText::parse(kind, &value, limits.pattern);
        let matcher =
            matcher.map_err(|reason: InvalidMatcher| Problem::Matcher { name, reason })?;
        stream_parameters.matchers.push(matcher);
    }
    stream_parameters.last_event_id = ids.into_iter().flatten().next();
    Ok(stream_parameters)
}

impl StreamParameters {
    /// Sets the option with this name. Returns whether there is one. If an option occurs several times, the
    /// last one wins.
    fn set_option(&mut self, name: &[u8], value: &[u8]) -> Result<bool, Problem> {
        match name {
            b"snapshot" => self.snapshot = flag("snapshot", value)?,
            b"topics" => self.topics = flag("topics", value)?,
            b"poll" => self.poll = flag("poll", value)?,
            b"since" => {
                let text = std::str::from_utf8(value).ok();
                self.since = Some(text.and_then(Since::parse).ok_or(Problem::Since)?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn flag(name: &'static str, value: &[u8]) -> Result<bool, Problem> {
    match value {
        b"1" => Ok(true),
        b"0" => Ok(false),
        _ => Err(Problem::Flag(name)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [(&str, MatcherType); 3] = [
        ("match", MatcherType::Exact),
        ("match_exact", MatcherType::Exact),
        ("match_urlpattern", MatcherType::UrlPattern),
    ];

    fn written(pairs: &[(&str, String)]) -> String {
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish()
    }

    proptest! {
        #[test]
        fn matchers_are_read_from_the_query_and_from_the_body(
            asked_for in prop::collection::vec(
                (prop::sample::select(&NAMES[..]), "[^\\p{Cc}\\p{Cf}\\p{Cn}]{1,20}"), 0..9,
            ),
            others in prop::collection::vec("[a-ln-z]{1,6}", 0..3),
            in_query: prop::sample::Index,
        ) {
            let mut pairs: Vec<_> = asked_for
                .iter()
                .map(|((name, _), text)| (*name, text.clone()))
                .collect();
            pairs.extend(others.iter().map(|name| (name.as_str(), "x".to_owned())));
            let (query, body) = pairs.split_at(in_query.index(pairs.len() + 1));

            let read = stream_parameters(
                &written(query),
                written(body).as_bytes(),
                &LimitsConfig::default(),
                false,
            );

            let expected = asked_for.iter().map(|((_, kind), text)| MatcherText {
                kind: *kind,
                text: text.as_str().into(),
            });
            prop_assert_eq!(read.unwrap().matchers, expected.collect::<Vec<_>>());
        }

        #[test]
        fn any_other_name_with_the_reserved_prefix_is_refused(rest in "[A-Za-z_]{0,9}") {
            let name = format!("match{rest}");
            let is_known = NAMES.iter().any(|(known, _)| *known == name);

            let read = stream_parameters(&format!("{name}=a"), b"", &LimitsConfig::default(), false);

            prop_assert_eq!(read.is_ok(), is_known);
        }
    }
}
