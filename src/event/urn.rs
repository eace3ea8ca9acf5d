//! Random names for things without a natural name: subscribers, tokens and the servers that share a log.

/// A unique name that cannot be guessed: the URN of a random UUID.
pub(crate) fn random() -> String {
    uuid::Uuid::new_v4().urn().to_string()
}
