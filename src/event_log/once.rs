//! Chooses the log level of a failure that repeats.

/// `Error` for the first failure, and `Debug` for each repetition, which would otherwise fill the log output.
pub(crate) fn level(is_first: bool) -> log::Level {
    if is_first {
        log::Level::Error
    } else {
        log::Level::Debug
    }
}
