//! Turns a subscription request that was parsed and authorized into a response: a stream, a stream that only
//! tells the client when to reconnect, or only a response head.

use std::{convert::Infallible, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    body::BodyStream,
    http::{
        Version,
        header::{CACHE_CONTROL, HeaderName, HeaderValue, TRANSFER_ENCODING},
    },
    web,
};
use futures_util::stream;

use super::{problem::Problem, topics};
use crate::{
    auth::{Access, Revocation},
    broadcaster::{Expiry, Hub, Permit, Subscribe},
    delivery::{Poll, Snapshot, Subscriber, Subscription, with_snapshot},
    event::{EARLIEST, Framing, ResumeFrom, wire},
    event_log::{Cursor, ResumeLookup, ResumePoint},
    matching::Selection,
    metrics::Rejection,
    transport::{Connection, EarlyEnd, Shared, body},
};

pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const MERCURE_LAST_EVENT_ID: HeaderName = HeaderName::from_static("mercure-last-event-id");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A request for an event stream, after it was parsed and authorized.
pub(super) struct SubscriptionRequest {
    pub(super) from: ResumeFrom,
    /// Whether the stream continues with a snapshot after a gap.
    pub(super) wants_snapshots: bool,
    /// Whether the stream ends at the head.
    pub(super) is_poll: bool,
    /// Whether the response also has the header `Last-Event-ID` (`hub.legacy`).
    pub(super) legacy: bool,
    pub(super) selection: Arc<Selection>,
    pub(super) access: Option<Arc<Access>>,
    pub(super) expiry: Option<Expiry>,
    pub(super) revocation: Option<Revocation>,
}

impl SubscriptionRequest {
    /// Looks up in memory at which event the stream would begin now. If memory cannot tell,
    /// [`ResumeLookup::finish`] asks the archive (the whole log in Redis).
    fn look_up(&self, hub: &Hub) -> ResumeLookup {
        hub.look_up(&self.from, &self.selection)
    }

    /// Returns whether the stream would begin with a `gap` event, because the log does not know the requested
    /// id or lacks events after it. Returns `false` if the log in Redis is needed to decide this but cannot
    /// be read now.
    async fn would_have_gap(&self, hub: &Hub) -> bool {
        let start = self.look_up(hub).finish(&self.from).await;
        start.is_ok_and(|start| start.gap.is_some())
    }

    /// Adds the header `Mercure-Last-Event-ID` if the client asked to resume, and with `legacy` also
    /// `Last-Event-ID`. The value is the requested id, or `earliest` if the stream does not continue exactly
    /// after this id (Mercure, chapter Reconnection).
    fn put_last_event_id(&self, head: &mut HttpResponseBuilder, has_gap: bool) {
        let has_preceding = match &self.from {
            ResumeFrom::Now | ResumeFrom::Since(_) => return,
            ResumeFrom::Snapshot | ResumeFrom::Earliest | ResumeFrom::Unknown(_) => false,
            ResumeFrom::After { id, .. } => id.seq > 0,
            ResumeFrom::AfterGiven(_) => true,
        };
        let preceding = (has_preceding && !has_gap).then(|| self.from.to_string());
        let preceding = preceding.as_deref().unwrap_or(EARLIEST);
        let value = HeaderValue::from_str(preceding).expect("an id is visible ASCII");
        if self.legacy {
            head.insert_header((LAST_EVENT_ID, value.clone()));
        }
        head.insert_header((MERCURE_LAST_EVENT_ID, value));
    }

    /// Responds to HEAD with the response head of the stream.
    pub(super) async fn head_only(&self, hub: &Hub) -> HttpResponse {
        let mut head = event_stream();
        self.put_last_event_id(&mut head, self.would_have_gap(hub).await);
        head.body(actix_web::body::None::new())
    }

    /// Responds with a stream that only contains a random `retry:`. To set `Mercure-Last-Event-ID`, looks up
    /// the requested id in memory only: many clients may be rejected at once, and reading the archive (the
    /// whole log in Redis) for each would overload it.
    pub(super) fn reject(&self, hub: &Hub) -> HttpResponse {
        let mut head = event_stream();
        let has_gap = !self.look_up(hub).is_found_without_gap();
        self.put_last_event_id(&mut head, has_gap);
        let goodbye = wire::goodbye(hub.jittered_retry(), None);
        head.body(goodbye.bytes(Framing::Plain))
    }

    /// Registers the subscriber with the Broadcaster, and responds with its stream. If the subscriber is
    /// rejected, or the log in Redis is needed and cannot be read, responds like [`Self::reject`]. Fails if
    /// the client has already sent another request, or with the outer error of [`Self::register`].
    pub(super) async fn open(
        mut self,
        request: &HttpRequest,
        hub: &Hub,
    ) -> Result<HttpResponse, Problem> {
        // A stream is the last response on its connection: a further request would never be answered.
        let connection = request.conn_data::<Connection>();
        let is_alone = || connection.is_none_or(Connection::is_at_its_last_request);
        if !is_alone() {
            return Err(Problem::NotAlone);
        }
        let shared = request.app_data::<web::Data<Shared>>();
        // From here on, a graceful shutdown waits until this stream has ended.
        let token = shared.map(|shared| shared.streams.token());
        // Look up the position before the subscriber is registered. Registering publishes events about its
        // new subscriptions, and the stream must include them.
        let lookup = self.look_up(hub);
        let next = hub.log().next();
        let mut permit = match self.register(request, hub).await? {
            Ok(permit) => permit,
            Err(rejection) => {
                log::debug!("rejected a subscriber: {rejection:?}");
                return Ok(self.reject(hub));
            }
        };
        let start = match lookup.finish(&self.from).await {
            Ok(start) => start,
            Err(reason) => {
                log::debug!("rejected a subscriber that requested older events: {reason}");
                hub.metrics().count_rejection(Rejection::Log);
                return Ok(self.reject(hub));
            }
        };
        // Check again: another request may have arrived during the registration and the lookup. Once the
        // stream begins, no further request is read.
        if !is_alone() {
            return Err(Problem::NotAlone);
        }
        let mut head = event_stream();
        self.put_last_event_id(&mut head, start.gap.is_some());
        let early_end = EarlyEnd {
            revocation: self.revocation.take(),
            replaced: permit.take_replaced(),
        };
        let subscription = self.subscription(permit, (start, next), hub);
        let version = request.version();
        let Some((connection, token)) = connection.zip(token) else {
            let subscriber = Subscriber::new(hub.clone(), subscription, Framing::Plain);
            return Ok(embedded(subscriber, version, head));
        };
        let framing = framing(version, &mut head);
        let subscriber = Subscriber::new(hub.clone(), subscription, framing);
        connection.begin_stream(subscriber, early_end, token);
        // actix-http sends only the response head. The module `transport` then sends the stream, with its own
        // HTTP chunks if the framing is chunked.
        let nothing = stream::empty::<Result<web::Bytes, Infallible>>();
        let mut response = head.body(BodyStream::new(nothing));
        response.head_mut().no_chunking(true);
        Ok(response)
    }

    /// What the subscriber needs. `next`: the position of the next event when `start` was looked up.
    fn subscription(
        self,
        permit: Permit,
        (start, next): (ResumePoint<Cursor>, u64),
        hub: &Hub,
    ) -> Subscription {
        let (start, snapshot) = if self.wants_snapshots {
            let is_first = self.from == ResumeFrom::Snapshot;
            with_snapshot(start, is_first, next, hub.log())
        } else {
            (start, Snapshot::Off)
        };
        Subscription {
            permit,
            selection: self.selection,
            expiry: self.expiry,
            start,
            snapshot,
            poll: if self.is_poll {
                Poll::Until(next)
            } else {
                Poll::Off
            },
        }
    }

    /// Registers the subscriber. The inner error is a rejection that the client must learn from a `retry:` in
    /// a stream. The outer error gives the response an error status. It is used if the Broadcaster does not
    /// answer, or if the method is QUERY and the memory for matchers is exhausted.
    async fn register(
        &self,
        request: &HttpRequest,
        hub: &Hub,
    ) -> Result<Result<Permit, Rejection>, Problem> {
        let subscribe = Subscribe {
            selection: self.selection.clone(),
            access: self.access.clone(),
        };
        let answer = hub.ask(subscribe).await;
        match answer.map_err(|_| Problem::BroadcasterSilent)? {
            Err(Rejection::Matchers) if *request.method() == topics::query() => {
                Err(Problem::MatchersExhausted)
            }
            answer => Ok(answer),
        }
    }
}

/// Responds in an embedding application, which owns the connection: the stream is an ordinary response body.
fn embedded(
    subscriber: Subscriber,
    version: Version,
    mut head: HttpResponseBuilder,
) -> HttpResponse {
    let mut response = head.body(body(subscriber));
    response.head_mut().no_chunking(version < Version::HTTP_11);
    response
}

/// Returns how the end of the stream is marked, and adds the header for it. HTTP/1.1: with a last chunk.
/// HTTP/1.0 has no chunked encoding, so there the stream ends with the connection.
fn framing(version: Version, head: &mut HttpResponseBuilder) -> Framing {
    if version < Version::HTTP_11 {
        return Framing::Plain;
    }
    head.insert_header((TRANSFER_ENCODING, "chunked"));
    Framing::Chunked
}

/// Builds the response head of a stream. The connection closes at the end of the stream, because no other
/// request is answered on it.
fn event_stream() -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-cache, no-transform"))
        .insert_header((X_ACCEL_BUFFERING, "no"))
        .force_close();
    response
}
