//! What tokens allow as the protocol's older versions have them: a claim `mercure` with lists of topic
//! selectors, in a JWT of any type.

use serde::Deserialize;
use serde_json::Value;

use super::{Access, InvalidDetails, TokenRules};
use crate::{
    hub_url::HubUrl,
    matcher::{Matcher, MatcherText, MatcherType},
};

/// The claim. What is not there is not allowed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MercureClaim {
    publish: Vec<String>,
    subscribe: Vec<String>,
    /// What is told of its subscriptions.
    payload: Option<Value>,
}

impl MercureClaim {
    pub(super) fn access(self, hub: &HubUrl, rules: &TokenRules) -> Result<Access, InvalidDetails> {
        let compile = |selectors: &[String]| {
            if selectors.len() > rules.topics {
                return Err(InvalidDetails::TooManyTopics);
            }
            let selector = |text: &String| {
                let written = MatcherText::parse(MatcherType::Selector, text, rules.pattern)?;
                Ok(Matcher::compile(written, hub)?)
            };
            selectors.iter().map(selector).collect()
        };
        let mut access = Access::default();
        access.allow_publish(compile(&self.publish)?);
        access.allow_subscribe(compile(&self.subscribe)?);
        access.tell(
            vec![Matcher::compile(MatcherText::wildcard(), hub)?],
            self.payload,
        );
        Ok(access)
    }
}
