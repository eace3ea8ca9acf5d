//! Names for what needs one and has none.

/// A name that nobody else has and nobody can guess.
pub(crate) fn random() -> String {
    uuid::Uuid::new_v4().urn().to_string()
}
