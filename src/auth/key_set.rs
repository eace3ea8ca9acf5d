//! Fetches a JSON Web Key Set from a URL again and again, on a thread of its own. If fetching fails, the last
//! good set stays.

use std::{
    sync::{
        Arc, Weak,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::watch;
use url::Url;

use super::fetch::{Fetched, fetch};
use crate::event_log::once;

/// Limits on the time after which a set is fetched again. In between, the response decides.
const MIN_LIFETIME: Duration = Duration::from_secs(60);
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The time after which a set is fetched again if the response does not say it.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);

/// Pause after a failed attempt. It doubles with each further failure, up to `MAX_RETRY_INTERVAL`.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(300);

/// Minimum time between two fetches that were requested because a token named an unknown key. Anyone can send
/// such a token.
const REQUEST_INTERVAL: Duration = Duration::from_secs(5);

/// Called with a set that differs from the one before. Returns the number of its usable keys, or fails with the
/// reason if there is none. On failure, the last good set stays.
pub(super) type Accept = Box<dyn Fn(&[u8]) -> Result<usize, String> + Send>;

/// A key set behind a URL. Fetching ends when this is dropped.
#[derive(Debug)]
pub(crate) struct KeySet {
    url: Url,
    shared: Arc<Shared>,
    /// Requests a fetch.
    wake: mpsc::SyncSender<()>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// The number of the last attempt that has ended, starting at 1.
    ended: watch::Sender<u64>,
}

#[derive(Debug, Default, Clone)]
struct State {
    /// The last good set.
    set: Option<Arc<[u8]>>,
    /// The number of the last attempt that has begun, starting at 1.
    begun: u64,
    status: KeySetStatus,
}

/// How fetching a key set goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KeySetStatus {
    /// The URL without its query.
    pub(crate) url: String,
    pub(crate) successes: u64,
    pub(crate) failures: u64,
    /// When the set was last fetched successfully. `None`: never.
    pub(crate) fetched: Option<Instant>,
}

impl Shared {
    fn state<T>(&self, read: impl FnOnce(&mut State) -> T) -> T {
        read(&mut self.state.lock())
    }
}

/// The URL as it is shown: without its query, which may contain a secret.
pub(super) fn named(url: &Url) -> String {
    let mut named = url.clone();
    named.set_query(None);
    named.into()
}

impl KeySet {
    /// Starts the thread that fetches the set. Fails with the reason if no thread can be started.
    pub(super) fn start(url: Url, accept: Accept) -> Result<Arc<Self>, String> {
        let (wake, requests) = mpsc::sync_channel(1);
        let shared = Arc::<Shared>::default();
        shared.state(|state| state.status.url = named(&url));
        let fetcher = Fetcher {
            name: named(&url),
            url: url.clone(),
            shared: Arc::downgrade(&shared),
            requests,
            accept,
            failures: 0,
        };
        thread::Builder::new()
            .name("key-set".to_owned())
            .spawn(move || fetcher.run())
            .map_err(|err| format!("no thread can be started: {err}"))?;
        Ok(Arc::new(Self { url, shared, wake }))
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// The last good set. `None`: none was fetched yet.
    pub(super) fn latest(&self) -> Option<Arc<[u8]>> {
        self.shared.state(|state| state.set.clone())
    }

    pub(super) fn status(&self) -> KeySetStatus {
        self.shared.state(|state| state.status.clone())
    }

    /// Requests a fetch, which begins at once unless another one began just before. Resolves when it has ended,
    /// with or without success. If no set was fetched yet, requests none, because the thread tries again anyway,
    /// and waits at most for the first attempt.
    pub(super) async fn refresh(&self) {
        let (begun, has_set) = self
            .shared
            .state(|state| (state.begun, state.set.is_some()));
        let before = if has_set {
            begun
        } else {
            begun.saturating_sub(1)
        };
        if has_set {
            // If the channel is full, a fetch is requested already.
            self.wake.try_send(()).ok();
        }
        let mut ended = self.shared.ended.subscribe();
        ended.wait_for(|ended| *ended > before).await.ok();
    }
}

/// The thread that fetches a set.
struct Fetcher {
    url: Url,
    /// The URL in the log.
    name: String,
    shared: Weak<Shared>,
    requests: mpsc::Receiver<()>,
    accept: Accept,
    /// How many attempts have failed in a row.
    failures: u32,
}

impl Fetcher {
    fn run(mut self) {
        loop {
            let begin = Instant::now();
            let pause = self.attempt();
            match self.requests.recv_timeout(pause) {
                Ok(()) => thread::sleep(REQUEST_INTERVAL.saturating_sub(begin.elapsed())),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // The `KeySet` may have been dropped during the sleep.
            if self.shared.strong_count() == 0 {
                return;
            }
        }
    }

    /// Fetches the set. Returns the time until the next attempt.
    fn attempt(&mut self) -> Duration {
        if let Some(shared) = self.shared.upgrade() {
            shared.state(|state| state.begun += 1);
        }
        let fetched = fetch(&self.url).and_then(|fetched| {
            self.take(&fetched.body)?;
            Ok(fetched)
        });
        let Some(shared) = self.shared.upgrade() else {
            return Duration::ZERO;
        };
        let pause = match fetched {
            Ok(Fetched { lifetime, .. }) => {
                if self.failures > 0 {
                    log::info!("the keys at {} can be fetched again", self.name);
                }
                self.failures = 0;
                shared.state(|State { status, .. }| {
                    status.successes += 1;
                    status.fetched = Some(Instant::now());
                });
                let lifetime = lifetime.unwrap_or(DEFAULT_LIFETIME);
                lifetime.clamp(MIN_LIFETIME, MAX_LIFETIME)
            }
            Err(reason) => {
                let has_set = shared.state(|state| {
                    state.status.failures += 1;
                    state.set.is_some()
                });
                let outcome = if has_set {
                    "the last good keys stay trusted"
                } else {
                    "no token of their issuers can be verified until they can"
                };
                log::log!(
                    once::level(self.failures == 0),
                    "the keys at {} cannot be fetched: {reason}; {outcome}",
                    self.name
                );
                let factor = 1 << self.failures.min(10);
                self.failures += 1;
                (RETRY_INTERVAL * factor).min(MAX_RETRY_INTERVAL)
            }
        };
        shared.ended.send_modify(|ended| *ended += 1);
        pause
    }

    /// Makes a fetched set the last good one.
    fn take(&self, body: &[u8]) -> Result<(), String> {
        let Some(shared) = self.shared.upgrade() else {
            return Ok(());
        };
        let is_new = |state: &mut State| state.set.as_deref() != Some(body);
        if !shared.state(is_new) {
            return Ok(());
        }
        let before = shared.state(|state| state.set.replace(body.into()));
        let accepted = (self.accept)(body);
        match accepted {
            Ok(keys) => {
                log::info!("fetched keys from {}: {keys} are trusted", self.name);
                Ok(())
            }
            Err(reason) => {
                shared.state(|state| state.set = before);
                Err(reason)
            }
        }
    }
}
