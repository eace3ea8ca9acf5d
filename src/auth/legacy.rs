//! What tokens allow as the protocol's older versions have them: a claim `mercure` with lists of topic
//! selectors, in a JWT of any type.

use serde::Deserialize;
use serde_json::Value;

use super::{Access, InvalidDetails, TokenRules};
use crate::{
    compiler::Compiling,
    matcher::{MatcherText, MatcherType},
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
    pub(super) fn access(
        self,
        compiling: &mut Compiling<'_>,
        rules: &TokenRules,
    ) -> Result<Access, InvalidDetails> {
        let mut compile = |selectors: &[String]| {
            if selectors.len() > rules.topics {
                return Err(InvalidDetails::TooManyTopics);
            }
            let selector = |text: &String| {
                let written = MatcherText::parse(MatcherType::Selector, text, rules.pattern)?;
                Ok(compiling.compile(written)?)
            };
            selectors.iter().map(selector).collect()
        };
        let mut access = Access::default();
        access.allow_publish(compile(&self.publish)?);
        access.allow_subscribe(compile(&self.subscribe)?);
        let all = compiling.compile(MatcherText::wildcard())?;
        access.tell(vec![all], self.payload);
        Ok(access)
    }
}
