//! Takes a changed config over into the running server: on SIGHUP, and when the file changes.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::timeout,
};

use crate::{
    config::{Config, RELOADABLE, Sources, changed_keys},
    hub::Hub,
};

/// A file is read once nothing happened to it for this long: an editor may truncate it first and
/// write it then, and an empty file is a good one.
const QUIET: Duration = Duration::from_millis(100);

/// Watches for changes of the config.
pub struct Reloader {
    sources: Sources,
    current: Config,
    hub: Hub,
    hang_up: Signal,
    changes: mpsc::Receiver<()>,
    /// What the file held when it was last looked at; a change is a change of this.
    seen: Option<Vec<u8>>,
    /// Stops watching when dropped. `None`: there is no file, or it cannot be watched.
    _watcher: Option<RecommendedWatcher>,
}

impl Reloader {
    /// Starts to watch. `current` is what was loaded from `sources` before.
    pub fn new(sources: Sources, current: Config, hub: Hub) -> anyhow::Result<Self> {
        let hang_up = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
        let (changed, changes) = mpsc::channel(1);
        let watcher = sources.file().and_then(|file| {
            watch(&file, changed)
                .inspect_err(|err| {
                    log::warn!(
                        "changes of {} are taken over on SIGHUP only: {err}",
                        file.display()
                    );
                })
                .ok()
        });
        let seen = read(&sources);
        Ok(Self {
            sources,
            current,
            hub,
            hang_up,
            changes,
            seen,
            _watcher: watcher,
        })
    }

    /// Takes changes over until the Broadcaster is gone.
    pub async fn run(mut self) {
        loop {
            tokio::select! {
                Some(()) = self.hang_up.recv() => log::info!("SIGHUP: reading the config again"),
                Some(()) = self.changes.recv() => {
                    while let Ok(Some(())) = timeout(QUIET, self.changes.recv()).await {}
                    let found = read(&self.sources);
                    if found == self.seen {
                        continue;
                    }
                    self.seen = found;
                }
                else => return,
            }
            if self.reload().await.is_err() {
                return;
            }
        }
    }

    async fn reload(&mut self) -> Result<(), crate::BroadcasterGone> {
        let new = match self.sources.load() {
            Ok(new) => new,
            Err(err) => {
                let reason = err
                    .to_string()
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" ");
                log::error!("the config was not reloaded, the old one stays: {reason}");
                return Ok(());
            }
        };
        let changed = changed_keys(&self.current, &new);
        if changed.is_empty() {
            log::info!("config reloaded: nothing changed");
            return Ok(());
        }
        let (now, later): (Vec<_>, Vec<_>) = changed
            .into_iter()
            .partition(|key| RELOADABLE.contains(&key.as_str()));
        if !now.is_empty() {
            self.hub.reconfigure(new.live_settings()).await?;
            log::info!("config reloaded: {} changed", now.join(", "));
        }
        if !later.is_empty() {
            log::warn!("a restart is needed for the change of {}", later.join(", "));
        }
        self.current = new;
        Ok(())
    }
}

fn read(sources: &Sources) -> Option<Vec<u8>> {
    std::fs::read(sources.file()?).ok()
}

/// Watches the folder of a file, and that of what it links to: a file that is replaced by renaming,
/// as editors and Kubernetes do it, is another file.
fn watch(file: &Path, changed: mpsc::Sender<()>) -> anyhow::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let only_read = matches!(&event, Ok(event) if event.kind.is_access());
        // A full channel holds the news already.
        if !only_read && changed.try_send(()).is_err() {
            log::trace!("a change of the config is already known");
        }
    })?;
    for folder in folders(file) {
        watcher.watch(&folder, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

fn folders(file: &Path) -> BTreeSet<PathBuf> {
    let linked = file.canonicalize().ok();
    [Some(file.to_owned()), linked]
        .into_iter()
        .flatten()
        .filter_map(|path| {
            let folder = path.parent()?;
            let here = folder.as_os_str().is_empty();
            if here { Path::new(".") } else { folder }
                .canonicalize()
                .ok()
        })
        .collect()
}
