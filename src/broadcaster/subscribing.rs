//! Who subscribes, and who leaves.

use std::sync::Arc;

use actix::prelude::*;

use super::{actor::Broadcaster, expiry::Expiry, presence::Presence};
use crate::{
    auth::Access,
    event::{EventId, ResumeFrom},
    event_log::{self, LogUnavailable, Placed},
    matching::Selection,
    metrics::{Mark, Metrics, TurnedAway},
};

/// Asks to become a subscriber.
#[derive(Debug, Message)]
#[rtype(result = "Result<Subscribed, TurnedAway>")]
pub(crate) struct Subscribe {
    pub(crate) from: ResumeFrom,
    pub(crate) selection: Arc<Selection>,
    /// What its token allows, if it has one.
    pub(crate) access: Option<Arc<Access>>,
    pub(crate) expiry: Option<Expiry>,
}

/// A place among the subscribers, given back when it is dropped: also by an answer that nobody
/// waited for.
#[derive(Debug)]
pub(crate) struct Seat {
    broadcaster: Addr<Broadcaster>,
    metrics: Arc<Metrics>,
    /// Boxed, for few have it.
    known_as: Option<Box<KnownAs>>,
}

/// By what the Broadcaster knows a subscriber, beside that it is there.
#[derive(Debug, Clone, Default)]
struct KnownAs {
    token: Option<u64>,
    /// Its name among the active subscriptions.
    subscriber: Option<String>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let _waiting = self.metrics.mark_message();
        self.broadcaster.do_send(Leave {
            known_as: self.known_as.take(),
            _waiting,
        });
    }
}

/// A subscription, and how it starts.
#[derive(Debug)]
pub(crate) struct Subscribed {
    pub(crate) seat: Seat,
    pub(crate) selection: Arc<Selection>,
    pub(crate) expiry: Option<Expiry>,
    pub(crate) placed: Placed,
}

impl Handler<Subscribe> for Broadcaster {
    type Result = Result<Subscribed, TurnedAway>;

    fn handle(&mut self, message: Subscribe, ctx: &mut Self::Context) -> Self::Result {
        let Subscribe {
            from,
            selection,
            access,
            expiry,
        } = message;
        let token = access.as_ref().map(|access| access.token);
        let seat = if self.is_draining() {
            Err(TurnedAway::Draining)
        } else if self.presence.is_some() && self.appender.is_full() {
            // Each that comes and goes is told of, and that is not to wait without bound.
            Err(TurnedAway::Full)
        } else {
            self.seats.take(token)
        };
        if let Err(refusal) = seat {
            self.metrics.count_turned_away(refusal);
            return Err(refusal);
        }
        let placed = event_log::place(&self.log, self.archive.as_ref(), &from, &selection);
        let presence = self.presence.as_mut();
        let joined = presence.map(|it| it.join(&selection.written(), access.as_deref()));
        let Ok(joined) = joined.transpose() else {
            self.seats.give_back(token);
            self.metrics.count_turned_away(TurnedAway::Matchers);
            return Err(TurnedAway::Matchers);
        };
        let (subscriber, changes) = joined.unzip();
        self.announce_all(changes.unwrap_or_default());
        let known_as = (token.is_some() || subscriber.is_some())
            .then(|| Box::new(KnownAs { token, subscriber }));
        Ok(Subscribed {
            seat: Seat {
                broadcaster: ctx.address(),
                metrics: self.metrics.clone(),
                known_as,
            },
            selection,
            expiry,
            placed,
        })
    }
}

/// Sent when a [`Seat`] is dropped.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Leave {
    known_as: Option<Box<KnownAs>>,
    _waiting: Mark,
}

impl Handler<Leave> for Broadcaster {
    type Result = ();

    fn handle(&mut self, Leave { known_as, .. }: Leave, _: &mut Self::Context) {
        let KnownAs { token, subscriber } = known_as.map(|known| *known).unwrap_or_default();
        self.seats.give_back(token);
        if let (Some(presence), Some(subscriber)) = (&mut self.presence, subscriber) {
            let changes = presence.leave(&subscriber);
            self.announce_all(changes);
        }
    }
}

/// Asks for the active subscriptions at a path.
#[derive(Debug, Message)]
#[rtype(result = "Result<Listed, LogUnavailable>")]
pub(crate) struct List {
    pub(crate) path: String,
    /// Whether the paths of the protocol's older versions are served, too.
    pub(crate) legacy: bool,
}

/// The active subscriptions at a path, at a moment.
#[derive(Debug)]
pub(crate) struct Listed {
    /// JSON. `None`: there are none.
    pub(crate) document: Option<String>,
    /// The newest event at that moment.
    pub(crate) last: Option<EventId>,
}

impl Handler<List> for Broadcaster {
    type Result = ResponseFuture<Result<Listed, LogUnavailable>>;

    fn handle(&mut self, List { path, legacy }: List, _: &mut Self::Context) -> Self::Result {
        let last = self.log.id_before(self.log.next());
        let presence = self.presence.as_ref();
        let hub = presence.map(|presence| presence.hub().clone());
        match hub.zip(self.appender.subscriptions()) {
            Some((hub, everybodys)) => Box::pin(async move {
                let documents = everybodys.await.map_err(|_| LogUnavailable)?;
                let document = Presence::of(hub, documents).at(&path, legacy);
                Ok(Listed { document, last })
            }),
            None => {
                let document = presence.and_then(|presence| presence.at(&path, legacy));
                Box::pin(std::future::ready(Ok(Listed { document, last })))
            }
        }
    }
}
