//! Decides which subscribers receive an event. Subscribers and tokens name topics with matchers (exact
//! topics, URL Patterns, URI Templates), which are compiled within a memory budget. Subscribers with the same
//! matchers and the same rights share one selection. The router finds the selections that receive an event.

mod bounded_regex;
mod compiler;
mod hub_url;
mod matcher;
mod memory_budget;
mod router;
mod selection;
mod topic_index;
mod uri_template;
mod url_pattern;

pub use self::hub_url::{HubUrl, InvalidHubUrl};
#[cfg(feature = "fuzzing")]
pub(crate) use self::matcher::Subject;
pub(crate) use self::{
    compiler::{Compiler, Compiling},
    hub_url::SUBSCRIPTIONS_PATH,
    matcher::{InvalidMatcher, Matcher, MatcherText, MatcherType, any_matches},
    memory_budget::{MemoryBudget, Reservation},
    router::Router,
    selection::{Selection, Selections},
};
