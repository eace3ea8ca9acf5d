//! What a subscriber asks for: matchers and a last event id, in the query and in the body of a QUERY
//! request (Mercure, chapter Subscription).

use actix_web::http::Method;

use super::problem::Problem;
use crate::{
    config::LimitsConfig,
    form,
    matcher::{InvalidMatcher, MatcherText, MatcherType},
    resume,
};

/// The prefix of all names that are about matchers.
const RESERVED: &str = "match";

/// The method that is GET with a body.
pub(super) fn query() -> Method {
    Method::from_bytes(b"QUERY").expect("a word is a method")
}

/// What a subscriber asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) matchers: Vec<MatcherText>,
    /// Whatever it is.
    pub(super) last_event_id: Option<Vec<u8>>,
}

/// Reads what is asked for in the query and in the body, which are one; of two last event ids the
/// query's counts.
pub(super) fn asked(query: &str, body: &[u8], limits: &LimitsConfig) -> Result<Asked, Problem> {
    let mut asked = Asked::default();
    for (name, value) in form::pairs(query.as_bytes()).chain(form::pairs(body)) {
        let name = form::text(name)?;
        if resume::is_parameter(&name) {
            asked.last_event_id.get_or_insert(value);
            continue;
        }
        let value = form::text(value)?;
        let prefix = name.get(..RESERVED.len());
        if !prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(RESERVED)) {
            continue;
        }
        let (name, kind) = match name.as_str() {
            "match" => ("match", MatcherType::Exact),
            "match_exact" => ("match_exact", MatcherType::Exact),
            "match_urlpattern" => ("match_urlpattern", MatcherType::UrlPattern),
            _ => return Err(Problem::UnknownMatcher),
        };
        if asked.matchers.len() == limits.matchers {
            return Err(Problem::TooManyMatchers(limits.matchers));
        }
        let matcher = MatcherText::parse(kind, &value, limits.pattern);
        let matcher =
            matcher.map_err(|reason: InvalidMatcher| Problem::Matcher { name, reason })?;
        asked.matchers.push(matcher);
    }
    Ok(asked)
}
