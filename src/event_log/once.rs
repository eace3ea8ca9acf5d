//! How loudly to say what may come again and again.

/// As an error the first time, and then for those who look into it.
pub(crate) fn level(is_first: bool) -> log::Level {
    if is_first {
        log::Level::Error
    } else {
        log::Level::Debug
    }
}
