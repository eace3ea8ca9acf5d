//! Applies a changed config to the running server: on SIGHUP, and when the file changes. To notice changes,
//! the file is read every [`POLL_INTERVAL`]. This works on every file system and costs almost nothing.

use std::{fmt, time::Duration};

use anyhow::Context as _;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep},
};

use super::server::Reloadable;
use crate::{
    broadcaster::BroadcasterGone,
    config::{Config, Found, RELOADABLE, Sources, changed_keys},
    event_log::once,
};

const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// A changed file is applied when it has stayed the same for this long, because an editor may write it in
/// parts.
const DEBOUNCE: Duration = Duration::from_millis(500);

/// How long a file that is missing, unreadable or empty must stay so before it is loaded. This is longer than
/// `DEBOUNCE`, because some programs remove or empty a file for a moment while they save it.
const EMPTY_DEBOUNCE: Duration = Duration::from_secs(2);

/// Maximum wait for a file that keeps changing. After this time, the file is applied, unless it is missing,
/// unreadable or empty.
const MAX_DEBOUNCE: Duration = Duration::from_secs(5);

/// Applies changes of the config to the running server.
pub struct Reloader {
    sources: Sources,
    /// The config that the server started with. It still applies for keys that need a restart.
    started: Config,
    /// The config that was applied last.
    current: Config,
    target: Reloadable,
    hang_up: Signal,
    /// The content of the config file when it was last applied or refused.
    seen: Found,
    /// Whether the last config was refused because the keys in `auth.issuers` could not be loaded.
    lacks_key: bool,
}

impl Reloader {
    /// `current` is the config with which the server was built. It was loaded from `sources` and the config
    /// file `found`.
    pub fn new(
        sources: Sources,
        found: Found,
        current: Config,
        target: Reloadable,
    ) -> anyhow::Result<Self> {
        let hang_up = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
        Ok(Self {
            sources,
            started: current.clone(),
            current,
            target,
            hang_up,
            seen: found,
            lacks_key: false,
        })
    }

    /// Watches the config, and applies changes until the Broadcaster has stopped.
    pub async fn run(mut self) {
        loop {
            let found = self.look();
            let (cause, found) = if found != self.seen {
                self.lacks_key = false;
                self.settle(found).await
            } else {
                tokio::select! {
                    Some(()) = self.hang_up.recv() => (Cause::HangUp, self.look()),
                    // If the keys could not be loaded, try the same config again, because the key files may
                    // be good now.
                    () = sleep(POLL_INTERVAL) => if self.lacks_key {
                        (Cause::Change, found)
                    } else {
                        continue;
                    }
                }
            };
            if cause == Cause::Change && found == self.seen && !self.lacks_key {
                // The file changed back to the content that was last applied or refused, so there is nothing
                // to do.
                continue;
            }
            self.seen = found;
            if self.apply(cause).await.is_err() {
                return;
            }
        }
    }

    /// Reads the config file. If a file was used before, reads the same path again: if the file is missing
    /// now, this is an error and does not select the defaults.
    fn look(&self) -> Found {
        match self.seen.path() {
            Some(path) => Found::at(path.to_owned()),
            None => self.sources.look(),
        }
    }

    /// Waits until a changed file is likely to be complete, and returns it. SIGHUP ends the wait, because its
    /// sender states that the file is complete.
    async fn settle(&mut self, mut found: Found) -> (Cause, Found) {
        let begin = Instant::now();
        let mut changed = begin;
        loop {
            let state = State {
                has_text: matches!(&found, Found::Text(_, text) if !text.trim().is_empty()),
                unchanged: changed.elapsed(),
                waited: begin.elapsed(),
            };
            if state.is_settled() {
                return (Cause::Change, found);
            }
            tokio::select! {
                Some(()) = self.hang_up.recv() => return (Cause::HangUp, self.look()),
                () = sleep(POLL_INTERVAL) => {}
            }
            let now = self.look();
            if now != found {
                changed = Instant::now();
                found = now;
            }
        }
    }

    async fn apply(&mut self, cause: Cause) -> Result<(), BroadcasterGone> {
        let new = match self.sources.load(&self.seen) {
            Ok(new) => new,
            Err(err) => {
                log::error!("{cause}: the config is not reloaded, the old one stays: {err}");
                return Ok(());
            }
        };
        let issuers = &new.auth.issuers;
        // Trust the keys of the new issuers. Skip this if neither config has issuers, because `trust` with no
        // issuers would revoke the key that was generated at the start.
        if !(issuers.is_empty() && self.current.auth.issuers.is_empty())
            && let Err(err) = self.target.policy.token_verifier.trust(issuers)
        {
            // Only the first failure is logged as an error, repetitions as debug: loading is retried every
            // `POLL_INTERVAL` until the keys can be loaded or the config changes.
            let is_first = !std::mem::replace(&mut self.lacks_key, true);
            log::log!(
                once::level(is_first),
                "{cause}: the config is not reloaded, the old one stays: {err}"
            );
            return Ok(());
        }
        if let Err(err) = self.target.policy.admin_token.load() {
            log::error!("{cause}: the old token of operators stays: {err}");
        }
        self.lacks_key = false;
        let changed = changed_keys(&self.current, &new);
        let unlike_started = changed_keys(&self.started, &new);
        self.current = new;
        self.apply_changes(cause, changed, &unlike_started).await
    }

    /// Applies the changed keys that are reloadable. Logs which of the other changed keys need a restart, and
    /// which no longer do.
    async fn apply_changes(
        &self,
        cause: Cause,
        changed: Vec<String>,
        unlike_started: &[String],
    ) -> Result<(), BroadcasterGone> {
        let (now, later): (Vec<_>, Vec<_>) = changed
            .into_iter()
            .partition(|key| RELOADABLE.contains(&key.as_str()));
        let (later, undone): (Vec<_>, Vec<_>) = later
            .into_iter()
            .partition(|key| unlike_started.contains(key));
        match now.join(", ") {
            none if none.is_empty() && self.current.auth.issuers.is_empty() => {
                log::info!("{cause}: config reloaded, nothing takes effect now");
            }
            none if none.is_empty() => {
                log::info!(
                    "{cause}: config reloaded; the issuers' keys were read again, nothing else changes now"
                );
            }
            keys => {
                self.target
                    .hub
                    .reconfigure(self.current.live_settings())
                    .await?;
                log::info!("{cause}: config reloaded, in effect now: {keys}");
            }
        }
        if !later.is_empty() {
            let keys = later.join(", ");
            log::warn!("a restart is needed for the change of {keys}");
        }
        if !undone.is_empty() {
            let keys = undone.join(", ");
            log::info!(
                "no restart is needed any more for {keys}: changed back to the value at the start"
            );
        }
        Ok(())
    }
}

/// The state of a file that has changed.
#[derive(Debug, Clone, Copy)]
struct State {
    has_text: bool,
    /// Time since the last change of the file was noticed.
    unchanged: Duration,
    /// Time since the first change of the file was noticed.
    waited: Duration,
}

impl State {
    /// Whether the file must be applied now: it has stayed the same for long enough, or has text and has kept
    /// changing for too long.
    fn is_settled(self) -> bool {
        let debounce = if self.has_text {
            DEBOUNCE
        } else {
            EMPTY_DEBOUNCE
        };
        self.unchanged >= debounce || (self.has_text && self.waited >= MAX_DEBOUNCE)
    }
}

/// Why the config is loaded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    HangUp,
    Change,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HangUp => "SIGHUP",
            Self::Change => "the config file has changed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A file that has just changed.
    fn changed(has_text: bool) -> State {
        State {
            has_text,
            unchanged: Duration::ZERO,
            waited: Duration::ZERO,
        }
    }

    #[test]
    fn a_file_is_settled_once_it_stays_the_same_and_an_empty_one_later() {
        for (has_text, debounce) in [(true, DEBOUNCE), (false, EMPTY_DEBOUNCE)] {
            let same_for = |unchanged| State {
                unchanged,
                waited: unchanged,
                ..changed(has_text)
            };

            assert!(!same_for(debounce - MS).is_settled());
            assert!(same_for(debounce).is_settled());
        }
    }

    #[test]
    fn a_file_that_keeps_changing_is_settled_in_the_end_unless_it_is_empty() {
        let changing_for = |waited, has_text| State {
            waited,
            ..changed(has_text)
        };

        assert!(!changing_for(MAX_DEBOUNCE - MS, true).is_settled());
        assert!(changing_for(MAX_DEBOUNCE, true).is_settled());
        assert!(!changing_for(MAX_DEBOUNCE, false).is_settled());
    }
}
