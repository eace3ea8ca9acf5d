//! Requests the numbered messages that are due from Redis. Every node does so at each deadline; the script
//! appends them for the first request, so each message is appended once.

use std::{rc::Rc, sync::Arc, time::Duration};

use tokio::{sync::watch, time::sleep};

use super::{
    super::{
        appender::{Listener, TICK_PAUSE},
        memory::MemoryLog,
        ticker::TickerSettings,
    },
    link::Link,
    scripts::TickResponse,
};

/// A node whose request appended nothing makes its next request later than the deadline, by a random delay of
/// one to two times this. So usually only one node asks. If that node dies, another takes over, and a message
/// may be late by that delay.
const FOLLOWER_DELAY: Duration = Duration::from_millis(75);

/// Pause before a retry when a request failed.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

pub(super) struct Ticking {
    pub(super) link: Rc<Link>,
    pub(super) memory: Arc<MemoryLog>,
    pub(super) listener: Arc<Listener>,
    /// `None` while this node requests no numbered messages.
    pub(super) settings: watch::Receiver<Option<TickerSettings>>,
}

impl Ticking {
    pub(super) async fn run(mut self) {
        loop {
            let settings = self.settings.borrow_and_update().clone();
            let wait = match settings.filter(|settings| settings.enabled) {
                Some(settings) => Some(self.tick(&settings).await),
                None => None,
            };
            let changed = match wait {
                Some(wait) => tokio::select! {
                    changed = self.settings.changed() => changed,
                    () = sleep(wait) => Ok(()),
                },
                None => self.settings.changed().await,
            };
            if changed.is_err() {
                return;
            }
        }
    }

    /// Requests the messages that are due. Returns how long to wait before the next request.
    async fn tick(&self, settings: &TickerSettings) -> Duration {
        let tick = |head| self.link.scripts.tick(head, settings);
        let answer = self.link.call(&self.memory, tick).await;
        let ticked = answer.ok().and_then(TickResponse::read);
        let Some(TickResponse {
            appended,
            wait,
            late,
            last,
        }) = ticked
        else {
            return RETRY_INTERVAL;
        };
        self.link.note_acknowledged(last);
        let late = Duration::from_micros(late);
        for n in 0..appended as u32 {
            // `late` is the lateness of the first message. Each later one was due one interval later.
            let since = settings.interval.saturating_mul(n);
            self.listener
                .metrics
                .observe_tick(late.saturating_sub(since));
        }
        let wait = Duration::from_micros(wait);
        if appended > 0 {
            wait.max(TICK_PAUSE / 2)
        } else {
            wait + FOLLOWER_DELAY.mul_f64(1.0 + fastrand::f64())
        }
    }
}
