//! Takes a changed config over into the running server: on SIGHUP, and when the file changes.

mod watch;

use std::{fmt, path::Path, time::Duration};

use anyhow::Context as _;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep},
};

use super::{reload::watch::Watch, server::Reloadable};
use crate::{
    broadcaster::BroadcasterGone,
    config::{Config, DEFAULT_PATH, Found, RELOADABLE, Sources, changed_keys},
    event_log::once,
};

/// A changed file is taken over once it stayed the same for this long: whoever saves it may write
/// more than once.
const QUIET: Duration = Duration::from_millis(100);

/// The same for a file that is gone, empty, or that somebody has not ended to write: it will be
/// there again in a moment, and half a file is often a good one, an empty one always.
const SUSPICIOUS: Duration = Duration::from_secs(2);

/// A file that keeps changing is taken over as it is by then, unless it is gone or empty.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a file that is changing is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// How often the file is looked at without any news of it: not every change can be watched, such as
/// that of a file on a network, or of a folder that is made anew.
const POLL: Duration = Duration::from_secs(2);

/// Watches for changes of the config.
pub struct Reloader {
    sources: Sources,
    /// What the server started with: the keys that need a restart are in effect as they are here.
    started: Config,
    /// What was loaded last.
    current: Config,
    target: Reloadable,
    hang_up: Signal,
    watch: Watch,
    /// What the file held when it was last taken over or refused.
    seen: Found,
    /// Whether it was refused for want of a key.
    lacks_key: bool,
}

impl Reloader {
    /// Starts to watch. `current` is what the server was built from, loaded from `sources` and what
    /// they `found`.
    pub fn new(
        sources: Sources,
        found: Found,
        current: Config,
        target: Reloadable,
    ) -> anyhow::Result<Self> {
        let hang_up = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
        let (watch, err) = Watch::begin(path(&found));
        if let (Some(err), Found::Text(path, _)) = (err, &found) {
            log::warn!(
                "cannot watch {}, but look at it every {}: {err}",
                path.display(),
                humantime::format_duration(POLL)
            );
        }
        Ok(Self {
            sources,
            started: current.clone(),
            current,
            target,
            hang_up,
            watch,
            seen: found,
            lacks_key: false,
        })
    }

    /// Takes changes over until the Broadcaster is gone.
    pub async fn run(mut self) {
        loop {
            // First of all: it may have changed between the start and the beginning of the watch.
            let found = self.look();
            let (cause, found) = if found != self.seen {
                self.lacks_key = false;
                self.settle(found).await
            } else {
                tokio::select! {
                    Some(()) = self.hang_up.recv() => (Cause::HangUp, self.look()),
                    () = self.watch.news() => continue,
                    () = sleep(POLL) => (Cause::PresenceChange, self.look()),
                }
            };
            if cause == Cause::PresenceChange && found == self.seen && !self.lacks_key {
                continue;
            }
            self.seen = found;
            // The way to it may be another one now.
            (self.watch, _) = Watch::begin(path(&self.seen));
            if self.take_over(cause).await.is_err() {
                return;
            }
        }
    }

    /// What is found in the file now. A file that was once there remains the one that is meant, and
    /// is not made up for by defaults when it is gone.
    fn look(&self) -> Found {
        match self.seen.path() {
            Some(path) => Found::at(path.to_owned()),
            None => self.sources.look(),
        }
    }

    /// Waits until a file that has changed is likely to be written to its end. A SIGHUP says that
    /// it is.
    async fn settle(&mut self, mut found: Found) -> (Cause, Found) {
        let begin = Instant::now();
        let mut changed = begin;
        loop {
            let state = State {
                has_text: matches!(&found, Found::Text(_, text) if !text.trim().is_empty()),
                is_being_written: self.watch.is_being_written(),
                unchanged: changed.elapsed(),
                waited: begin.elapsed(),
            };
            if state.is_settled() {
                return (Cause::PresenceChange, found);
            }
            tokio::select! {
                Some(()) = self.hang_up.recv() => return (Cause::HangUp, self.look()),
                () = sleep(GLANCE) => {}
            }
            let now = self.look();
            if now != found {
                changed = Instant::now();
                found = now;
            }
        }
    }

    async fn take_over(&mut self, cause: Cause) -> Result<(), BroadcasterGone> {
        let new = match self.sources.load(&self.seen) {
            Ok(new) => new,
            Err(err) => {
                log::error!("{cause}: the config is not reloaded, the old one stays: {err}");
                return Ok(());
            }
        };
        let issuers = &new.auth.issuers;
        // Without an issuer before and after, the key that was made up is good as long as the
        // process lives.
        if !(issuers.is_empty() && self.current.auth.issuers.is_empty())
            && let Err(err) = self.target.policy.authority.trust(issuers)
        {
            // Once: it is tried until the key is there, or another config.
            let is_first = !std::mem::replace(&mut self.lacks_key, true);
            log::log!(
                once::level(is_first),
                "{cause}: the config is not reloaded, the old one stays: {err}"
            );
            return Ok(());
        }
        self.lacks_key = false;
        let changed = changed_keys(&self.current, &new);
        let unlike_started = changed_keys(&self.started, &new);
        self.current = new;
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
                    "{cause}: config reloaded; the issuers' keys were read anew, nothing else changes now"
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
            log::info!("no restart is needed any more for {keys}: as it was at the start");
        }
        Ok(())
    }
}

/// A file that has changed, as it is now.
#[derive(Debug, Clone, Copy)]
struct State {
    has_text: bool,
    is_being_written: bool,
    /// For how long it stayed the same.
    unchanged: Duration,
    /// Since its first change.
    waited: Duration,
}

impl State {
    /// Whether to take it over.
    fn is_settled(self) -> bool {
        let quiet = if self.has_text && !self.is_being_written {
            QUIET
        } else {
            SUSPICIOUS
        };
        self.unchanged >= quiet || (self.has_text && self.waited >= PATIENCE)
    }
}

/// Why the config is loaded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    HangUp,
    PresenceChange,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HangUp => "SIGHUP",
            Self::PresenceChange => "the config file has changed",
        })
    }
}

/// The file to watch for, there or not.
fn path(found: &Found) -> &Path {
    found.path().unwrap_or(Path::new(DEFAULT_PATH))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A file with text that was written to its end just now.
    const WRITTEN: State = State {
        has_text: true,
        is_being_written: false,
        unchanged: Duration::ZERO,
        waited: Duration::ZERO,
    };

    #[test]
    fn a_file_is_settled_once_it_is_quiet() {
        let quiet_for = |unchanged| State {
            unchanged,
            waited: unchanged,
            ..WRITTEN
        };

        assert!(!quiet_for(QUIET - MS).is_settled());
        assert!(quiet_for(QUIET).is_settled());
    }

    #[test]
    fn what_is_empty_or_unfinished_has_to_be_quiet_for_longer() {
        for suspicious in [
            State {
                has_text: false,
                ..WRITTEN
            },
            State {
                is_being_written: true,
                ..WRITTEN
            },
        ] {
            let quiet_for = |unchanged| State {
                unchanged,
                ..suspicious
            };

            assert!(!quiet_for(SUSPICIOUS - MS).is_settled());
            assert!(quiet_for(SUSPICIOUS).is_settled());
        }
    }

    #[test]
    fn what_keeps_changing_is_settled_in_the_end_unless_it_is_empty() {
        let changing_for = |waited| State { waited, ..WRITTEN };
        let unfinished = State {
            is_being_written: true,
            ..changing_for(PATIENCE)
        };
        let empty = State {
            has_text: false,
            ..changing_for(PATIENCE)
        };

        assert!(!changing_for(PATIENCE - MS).is_settled());
        assert!(changing_for(PATIENCE).is_settled());
        assert!(unfinished.is_settled());
        assert!(!empty.is_settled());
    }
}
