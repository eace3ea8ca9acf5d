//! Asks Redis at each deadline for the numbered messages that are due. Every node does, and whoever
//! comes first has them appended.

use std::{rc::Rc, sync::Arc, time::Duration};

use tokio::{sync::watch, time::sleep};

use super::{
    super::{
        appender::{Listener, TICK_PAUSE},
        memory::MemoryLog,
        ticker::TickerSettings,
    },
    link::Link,
    scripts::Ticked,
};
use crate::event::EventId;

/// A node that came too late gives the others so much of a lead, so that not all ask every time: from
/// this to twice this. So late a message may be whose node has just died.
const FOLLOWER_DELAY: Duration = Duration::from_millis(75);

/// How often it is tried again when Redis is not there.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

pub(super) struct Ticking {
    pub(super) link: Rc<Link>,
    pub(super) memory: Arc<MemoryLog>,
    pub(super) listener: Arc<Listener>,
    /// `None`: there are no numbered messages to be had from this node.
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

    /// Has what is due appended, and says how long to wait.
    async fn tick(&self, settings: &TickerSettings) -> Duration {
        let tick = |head| self.link.scripts.tick(head, settings);
        let answer = self.link.call(&self.memory, tick).await;
        let ticked = answer.ok().and_then(Ticked::read);
        let Some(Ticked {
            appended,
            wait,
            late,
            seq,
        }) = ticked
        else {
            return RETRY_INTERVAL;
        };
        let epoch = self.link.epoch();
        self.link.note_acknowledged(EventId { epoch, seq });
        let late = Duration::from_micros(late);
        for n in 0..appended as u32 {
            // The first is the one that is late by that.
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
