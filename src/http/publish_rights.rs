//! Decides whether a token allows publishing an event.

use super::problem::{Challenge, Problem};
use crate::{
    auth::Access,
    broadcaster::Hub,
    event::{Event, Topic},
};

/// Fails unless the token allows publishing on each topic of the event.
pub(super) fn authorize(access: &Access, hub: &Hub, event: &Event) -> Result<(), Problem> {
    let topics = event.topics();
    let reserved = |topic: &&Topic| hub.url().reserves(topic.as_str());
    if let Some(topic) = topics.iter().find(reserved) {
        log::debug!("refused an update on the hub's own {topic}");
        return Err(Problem::ReservedTopic);
    }
    let is_refused = |topic: &&Topic| !access.may_publish(topic, hub.url());
    let Some(topic) = topics.iter().find(is_refused) else {
        return Ok(());
    };
    if !access.can_publish() {
        return Err(may_not_publish(hub));
    }
    let reason = format!("it does not allow publishing on the topic {topic}");
    Err(Challenge::InsufficientScope.because(hub, Some(reason)))
}

/// The problem of a token that does not allow publishing on any topic.
pub(super) fn may_not_publish(hub: &Hub) -> Problem {
    let reason = "it has no authorization_details (with hub.legacy: no claim `mercure`) that allow publishing";
    Challenge::InsufficientScope.because(hub, Some(reason.to_owned()))
}
