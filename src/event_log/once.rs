//! Chooses the log level of a failure that repeats.

/// The log level for one occurrence of a failure that repeats. `Error` if `is_reported`, which the caller
/// usually sets for the first occurrence. `Debug` for each other one, because they would fill the log output.
pub(crate) fn level(is_reported: bool) -> log::Level {
    if is_reported {
        log::Level::Error
    } else {
        log::Level::Debug
    }
}
