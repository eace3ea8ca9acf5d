//! Serves event streams: at `/events/sse`, with the numbered messages as the default topic, and at the hub's
//! own URL (Mercure, chapter Subscription). Browsers never reconnect after an error status, so a client that
//! is rejected only for now receives a short stream with a `retry:` instead.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use actix_web::{
    HttpMessage as _, HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError as _,
    body::BodyStream,
    dev::Payload,
    http::{
        Method, Version,
        header::{CACHE_CONTROL, HeaderName, HeaderValue, TRANSFER_ENCODING},
    },
    web,
};
use futures_util::{StreamExt as _, stream};

use super::{
    accept::accepts_event_stream,
    credentials, form,
    policy::Policy,
    problem::{Challenge, Problem, refuse_websocket},
    topics::{self, Asked},
};
use crate::{
    auth::{Access, Revocation},
    broadcaster::{Expiry, Hub, Subscribe},
    config::{LimitsConfig, SubscribePolicy},
    delivery::{Subscriber, Subscription},
    event::{EARLIEST, Framing, ResumeFrom, wire},
    event_log::{self, ResumeLookup},
    matching::{InvalidMatcher, MatcherText, MemoryBudget, Selection},
    metrics::Rejection,
    transport::{Connection, Shared, body},
};

/// Path of the stream with the numbered messages.
pub(super) const PATH: &str = "/events/sse";

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const MERCURE_LAST_EVENT_ID: HeaderName = HeaderName::from_static("mercure-last-event-id");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Responds with the event stream of the application's [`Hub`], which must be registered as `web::Data<Hub>`.
///
/// The query selects topics with `match` and `match_urlpattern`. Without them, the stream has the numbered
/// messages. It resumes after the id in the header `Last-Event-ID`, or else in the query parameter
/// `last_event_id` or `lastEventId`. Without an id it begins with the next event. If the `Accept` header
/// excludes `text/event-stream`, the response is 406. HEAD returns the headers only. If a limit is reached,
/// the response is a stream that contains only a `retry:`, because a browser never reconnects after an error
/// status.
pub async fn subscribe(
    request: HttpRequest,
    payload: web::Payload,
    hub: web::Data<Hub>,
) -> HttpResponse {
    answer(&request, payload, &hub, true)
        .await
        .unwrap_or_else(|problem| problem.error_response())
}

/// The same, but the request must select topics.
pub(super) async fn subscribe_to_topics(
    request: HttpRequest,
    payload: web::Payload,
    hub: web::Data<Hub>,
) -> Result<HttpResponse, Problem> {
    answer(&request, payload, &hub, false).await
}

async fn answer(
    request: &HttpRequest,
    payload: web::Payload,
    hub: &Hub,
    has_own_topic: bool,
) -> Result<HttpResponse, Problem> {
    refuse_websocket(request)?;
    if !accepts_event_stream(request) {
        return Err(Problem::NotAcceptable);
    }
    // In an embedding application there is no policy: the application itself authorizes its clients.
    let policy = request.app_data::<web::Data<Policy>>();
    let access = policy
        .map(|policy| access(request, hub, policy))
        .transpose()?;
    let access = access.flatten();
    let limits = policy.map_or_else(LimitsConfig::default, |policy| policy.limits);
    let legacy = policy.is_some_and(|policy| policy.legacy);
    // Of the methods that are routed here, only QUERY has a body.
    let body = if *request.method() == topics::query() {
        Some(query_body(request, payload, &limits, policy).await?)
    } else {
        expect_no_body(request, payload).await?;
        None
    };
    let form = body.as_ref().map_or(&[][..], |body| &body.bytes);
    let Asked {
        matchers,
        last_event_id,
    } = topics::asked(request.query_string(), form, &limits, legacy)?;
    drop(body);
    let has_grants = |access: &Access| !access.authorized().is_empty();
    let selection = match matchers.is_empty() {
        true if !has_own_topic => return Err(Problem::NoMatcher),
        true if !access.as_deref().is_some_and(has_grants) => Ok(hub.own.clone()),
        true => select(hub, hub.own.written(), access.as_deref()).await,
        false => select(hub, matchers, access.as_deref()).await,
    };
    let header = request.headers().get(LAST_EVENT_ID);
    let header = header.map(HeaderValue::as_bytes);
    // Some clients send an empty header if they have no last event id.
    let requested = header
        .filter(|id| !id.is_empty())
        .or(last_event_id.as_deref());
    let from = requested.map_or(ResumeFrom::Now, ResumeFrom::parse);
    let expiry = policy.and_then(|policy| expiry(access.as_deref(), policy));
    let revocation = policy.zip(access.as_deref());
    let revocation = revocation.map(|(policy, access)| policy.token_verifier.revocation(access));
    // Browsers never reconnect after an error status, so they receive a stream with a `retry:`. Only Mercure
    // clients send QUERY, and they receive 503.
    let is_to_wait = *request.method() != topics::query()
        && matches!(selection, Err(Problem::MatchersExhausted));
    let asks = Asking {
        from,
        legacy,
        selection: if is_to_wait {
            hub.own.clone()
        } else {
            selection?
        },
        access,
        expiry,
        revocation,
    };
    if is_to_wait {
        hub.metrics.count_rejection(Rejection::Matchers);
        return Ok(asks.turn_away(hub, event_stream()));
    }
    if request.method() == Method::HEAD {
        let mut head = event_stream();
        asks.put_last_event_id(&mut head, asks.would_have_gap(hub).await);
        return Ok(head.body(actix_web::body::None::new()));
    }
    open(request, hub, asks).await
}

/// Reads a body that must be empty to its end. Some proxies send `Transfer-Encoding: chunked` without any
/// data.
async fn expect_no_body(request: &HttpRequest, payload: web::Payload) -> Result<(), Problem> {
    let mut payload = match payload.into_inner() {
        Payload::None => return Ok(()),
        _ if !request.chunked().unwrap_or(false) => return Err(Problem::HasBody),
        payload => payload,
    };
    match payload.next().await {
        None => Ok(()),
        Some(Ok(_)) => Err(Problem::HasBody),
        Some(Err(_)) => Err(Problem::BodyCutOff),
    }
}

/// Reads the body of a `QUERY`. The size limit is enough for the largest permitted matchers with every byte
/// percent-encoded, plus 4096 bytes, and at most `limits.body`.
async fn query_body(
    request: &HttpRequest,
    payload: web::Payload,
    limits: &LimitsConfig,
    policy: Option<&web::Data<Policy>>,
) -> Result<form::Body, Problem> {
    let longest = limits.matchers * (3 * limits.pattern + "match_urlpattern=&".len());
    let longest = limits.body.min(4096 + longest);
    let of_app = MemoryBudget::default();
    let queries = policy.map_or(&of_app, |policy| &policy.queries);
    form::read(request, payload, queries, longest, Problem::QueryTooLong).await
}

/// Returns the rights that the request's token grants. Fails if there is no token and the policy requires
/// one.
fn access(
    request: &HttpRequest,
    hub: &Hub,
    policy: &Policy,
) -> Result<Option<Arc<Access>>, Problem> {
    let access = credentials::access(request, hub, policy)?;
    if access.is_none() && policy.subscribe == SubscribePolicy::Token {
        return Err(Challenge::NoToken.to(hub));
    }
    Ok(access)
}

async fn select(
    hub: &Hub,
    matchers: Vec<MatcherText>,
    access: Option<&Access>,
) -> Result<Arc<Selection>, Problem> {
    // All other errors were found earlier, when the matchers were parsed.
    let problem = |name, reason| Problem::Matcher { name, reason };
    let selected = hub.select(matchers, access).await;
    selected.map_err(|reason| match reason {
        InvalidMatcher::Crowded => Problem::MatchersExhausted,
        InvalidMatcher::Template => problem("topic", reason),
        _ => problem("match_urlpattern", reason),
    })
}

/// Returns when the stream must end: when its token expires or its maximum lifetime is over, whichever is
/// earlier. `None` means never.
fn expiry(access: Option<&Access>, policy: &Policy) -> Option<Expiry> {
    // Ten years. It bounds the times that are added to the clock, so that the addition cannot overflow.
    const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    let now = Instant::now();
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let of_token = access.and_then(|access| access.expires_at);
    let of_token = of_token.map(|expires_at| {
        let left = Duration::from_secs(expires_at).saturating_sub(since_1970);
        Expiry::of_token(expires_at, left.min(LONGEST), policy.expiring, now)
    });
    let of_stream = policy.max_lifetime.map(|most| {
        // Each stream gets 80 to 100 % of the lifetime, so that streams that began together do not end
        // together.
        let lifetime = most.mul_f64(1.0 - 0.2 * fastrand::f64());
        Expiry::of_stream(now + lifetime.min(LONGEST))
    });
    of_token
        .into_iter()
        .chain(of_stream)
        .min_by_key(Expiry::end)
}

/// A subscription request after authorization.
struct Asking {
    from: ResumeFrom,
    /// Whether the response also has the header `Last-Event-ID` (`hub.legacy`).
    legacy: bool,
    selection: Arc<Selection>,
    access: Option<Arc<Access>>,
    expiry: Option<Expiry>,
    revocation: Option<Revocation>,
}

impl Asking {
    /// Looks up where the stream would begin now.
    fn look_up(&self, hub: &Hub) -> ResumeLookup {
        event_log::look_up(&hub.log, hub.archive.as_ref(), &self.from, &self.selection)
    }

    /// Returns whether the stream would begin with a gap. An error in the archive counts as no gap.
    async fn would_have_gap(&self, hub: &Hub) -> bool {
        let start = self.look_up(hub).finish(&self.from).await;
        start.is_ok_and(|start| start.gap.is_some())
    }

    /// Adds the id of the event after which the stream begins, if the client requested a position. That is
    /// the requested id, or `earliest` if there is a gap (Mercure, chapter Reconnection).
    fn put_last_event_id(&self, head: &mut HttpResponseBuilder, has_gap: bool) {
        let has_preceding = match &self.from {
            ResumeFrom::Now => return,
            ResumeFrom::Earliest | ResumeFrom::Unknown(_) => false,
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

    /// Responds with a stream that only tells the client when to reconnect. Looks up the position in memory
    /// only, not in the archive, because many clients may be rejected at once.
    fn turn_away(&self, hub: &Hub, mut head: HttpResponseBuilder) -> HttpResponse {
        let has_gap = !self.look_up(hub).is_found_without_gap();
        self.put_last_event_id(&mut head, has_gap);
        let goodbye = wire::goodbye(hub.jittered_retry(), None);
        head.body(goodbye.bytes(Framing::Plain))
    }
}

async fn open(request: &HttpRequest, hub: &Hub, mut asks: Asking) -> Result<HttpResponse, Problem> {
    // A stream is the last response on its connection, so pipelined requests would never be answered.
    let connection = request.conn_data::<Connection>();
    let is_alone = || connection.is_none_or(Connection::is_at_its_last_request);
    if !is_alone() {
        return Err(Problem::NotAlone);
    }
    let shared = request.app_data::<web::Data<Shared>>();
    // From here on, a drain waits for this stream.
    let token = shared.map(|shared| shared.streams.token());
    let mut head = event_stream();
    // Looks up the position before the subscriber is registered. So the stream includes the events that
    // announce its own subscriptions.
    let lookup = asks.look_up(hub);
    let subscribe = Subscribe {
        selection: asks.selection.clone(),
        access: asks.access.clone(),
    };
    let answer = hub.ask(subscribe).await;
    let permit = match answer.map_err(|_| Problem::BroadcasterSilent)? {
        Ok(permit) => permit,
        Err(Rejection::Token) => return Err(Problem::TooManySubscriptions),
        Err(Rejection::Matchers) if *request.method() == topics::query() => {
            return Err(Problem::MatchersExhausted);
        }
        Err(reason) => {
            log::debug!("turned a subscriber away: {reason:?}");
            return Ok(asks.turn_away(hub, head));
        }
    };
    let start = match lookup.finish(&asks.from).await {
        Ok(start) => start,
        Err(reason) => {
            log::debug!("turned a subscriber away that asked for older events: {reason}");
            hub.metrics.count_rejection(Rejection::Log);
            return Ok(asks.turn_away(hub, head));
        }
    };
    // Another request may have arrived meanwhile. Once the stream begins, none is read.
    if !is_alone() {
        return Err(Problem::NotAlone);
    }
    asks.put_last_event_id(&mut head, start.gap.is_some());
    let subscription = Subscription {
        permit,
        selection: asks.selection.clone(),
        expiry: asks.expiry.take(),
        start,
    };
    let subscriber = |framing| Subscriber::new(hub.clone(), subscription, framing);
    // HTTP/1.0 has no chunked encoding: the end of the connection is the end of the stream.
    let chunked = request.version() >= Version::HTTP_11;
    match connection.zip(token) {
        // The connection itself sends everything after the head, with its own chunks.
        Some((connection, token)) => {
            let framing = if chunked {
                head.insert_header((TRANSFER_ENCODING, "chunked"));
                Framing::Chunked
            } else {
                Framing::Plain
            };
            connection.begin_stream(subscriber(framing), asks.revocation.take(), token);
            let nothing = stream::empty::<Result<web::Bytes, Infallible>>();
            let mut response = head.body(BodyStream::new(nothing));
            response.head_mut().no_chunking(true);
            Ok(response)
        }
        None => {
            let mut response = head.body(body(subscriber(Framing::Plain)));
            response.head_mut().no_chunking(!chunked);
            Ok(response)
        }
    }
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
