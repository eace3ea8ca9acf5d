//! Makes Redis append the messages of the ticker that are due. Every node (server that shares the log)
//! requests this at or soon after each deadline. The script appends a message only for the first request, so
//! each message is appended once.

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

/// If the request of a node appended nothing, the node delays its next request. It makes that request one to
/// two times this duration after the deadline, chosen at random. So usually only one node makes its request
/// on time. If that node dies, another one takes over, and a message may be late by the delay.
const FOLLOWER_DELAY: Duration = Duration::from_millis(75);

/// Pause before a retry after a failed request.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

pub(super) struct Ticking {
    pub(super) link: Rc<Link>,
    pub(super) memory: Arc<MemoryLog>,
    pub(super) listener: Arc<Listener>,
    /// The settings with which this server asks Redis to append the ticker's messages. `None`: it does not
    /// ask, because it has not finished starting or is draining.
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

    /// Makes Redis append the messages that are due. Returns how long to wait before the next request.
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
