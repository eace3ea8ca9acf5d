//! The event stream: at `/events/sse`, of the numbered messages unless other topics are asked for,
//! and at the hub's own URL (Mercure, chapter Subscription).

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

/// Where the server has the stream of the numbered messages.
pub(super) const PATH: &str = "/events/sse";

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const MERCURE_LAST_EVENT_ID: HeaderName = HeaderName::from_static("mercure-last-event-id");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Answers with the event stream of the application's [`Hub`], which is to be there as
/// `web::Data<Hub>`.
///
/// It has the events of the topics that the query asks for, with `match` and `match_urlpattern`, and
/// else those on the topic of the numbered messages. It begins where the request's `Last-Event-ID`
/// header says, or its query's `last_event_id` or `lastEventId`, or else with the next event. An
/// `Accept` header without `text/event-stream` is answered with 406, HEAD with the headers alone. Where
/// there is no room, the answer is a stream, too, that tells the client when to come again: a browser
/// would give up for good on an error.
pub async fn subscribe(
    request: HttpRequest,
    payload: web::Payload,
    hub: web::Data<Hub>,
) -> HttpResponse {
    answer(&request, payload, &hub, true)
        .await
        .unwrap_or_else(|problem| problem.error_response())
}

/// The same where topics have to be asked for.
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
    // An application of somebody else's has its own way to say who may do what.
    let policy = request.app_data::<web::Data<Policy>>();
    let access = policy
        .map(|policy| access(request, hub, policy))
        .transpose()?;
    let access = access.flatten();
    let limits = policy.map_or_else(LimitsConfig::default, |policy| policy.limits);
    let legacy = policy.is_some_and(|policy| policy.legacy);
    // Of the methods that come here, QUERY alone has a body.
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
    // Some clients that have no last event id send an empty header.
    let requested = header
        .filter(|id| !id.is_empty())
        .or(last_event_id.as_deref());
    let from = requested.map_or(ResumeFrom::Now, ResumeFrom::parse);
    let expiry = policy.and_then(|policy| expiry(access.as_deref(), policy));
    let revocation = policy.zip(access.as_deref());
    let revocation = revocation.map(|(policy, access)| policy.token_verifier.revocation(access));
    // A browser would give up for good on an error. Only clients of our protocol send QUERY.
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

/// Waits for the end of a body that has to be empty: some proxies announce one in chunks, although
/// there is none.
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

/// The body of a `QUERY`: as long as what may be asked for, each byte of it encoded, and some more.
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

/// What the bearer of the request's token may do, and whether a token is needed.
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
    // Whatever else could be wrong was seen before.
    let problem = |name, reason| Problem::Matcher { name, reason };
    let selected = hub.select(matchers, access).await;
    selected.map_err(|reason| match reason {
        InvalidMatcher::Crowded => Problem::MatchersExhausted,
        InvalidMatcher::Template => problem("topic", reason),
        _ => problem("match_urlpattern", reason),
    })
}

/// When the stream is to end: with its token, or when it lasted as long as it may.
fn expiry(access: Option<&Access>, policy: &Policy) -> Option<Expiry> {
    // Nobody's stream lasts so long; and what a clock cannot hold is no time.
    const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    let now = Instant::now();
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let of_token = access.and_then(|access| access.expires_at);
    let of_token = of_token.map(|expires_at| {
        let left = Duration::from_secs(expires_at).saturating_sub(since_1970);
        Expiry::of_token(expires_at, left.min(LONGEST), policy.expiring, now)
    });
    let of_stream = policy.max_lifetime.map(|most| {
        // Spread: those who came at once are not to come back at once.
        let lifetime = most.mul_f64(1.0 - 0.2 * fastrand::f64());
        Expiry::of_stream(now + lifetime.min(LONGEST))
    });
    of_token
        .into_iter()
        .chain(of_stream)
        .min_by_key(Expiry::end)
}

/// What a subscriber asks for and may have.
struct Asking {
    from: ResumeFrom,
    /// Whether the response also has the header `Last-Event-ID`, as `hub.legacy` says.
    legacy: bool,
    selection: Arc<Selection>,
    access: Option<Arc<Access>>,
    expiry: Option<Expiry>,
    revocation: Option<Revocation>,
}

impl Asking {
    /// Where its stream would begin now.
    fn look_up(&self, hub: &Hub) -> ResumeLookup {
        event_log::look_up(&hub.log, hub.archive.as_ref(), &self.from, &self.selection)
    }

    /// Whether there would be a gap, as far as is known.
    async fn would_have_gap(&self, hub: &Hub) -> bool {
        let start = self.look_up(hub).finish(&self.from).await;
        start.is_ok_and(|start| start.gap.is_some())
    }

    /// Says after which event the stream begins, to one that asked for a place: the one that was
    /// asked for, or `earliest` where there is a gap. (Mercure, chapter Reconnection)
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

    /// A stream that only tells the client when to reconnect. Only memory is searched for
    /// its place, not the archive: many clients may be turned away at once.
    fn turn_away(&self, hub: &Hub, mut head: HttpResponseBuilder) -> HttpResponse {
        let has_gap = !self.look_up(hub).is_found_without_gap();
        self.put_last_event_id(&mut head, has_gap);
        let goodbye = wire::goodbye(hub.jittered_retry(), None);
        head.body(goodbye.bytes(Framing::Plain))
    }
}

async fn open(request: &HttpRequest, hub: &Hub, mut asks: Asking) -> Result<HttpResponse, Problem> {
    // Requests that are not answered would wait for the stream's end.
    let connection = request.conn_data::<Connection>();
    let is_alone = || connection.is_none_or(Connection::is_at_its_last_request);
    if !is_alone() {
        return Err(Problem::NotAlone);
    }
    let shared = request.app_data::<web::Data<Shared>>();
    // From here on a drain waits for it.
    let token = shared.map(|shared| shared.streams.token());
    let mut head = event_stream();
    // Before it is registered, so that the events that announce it are among those that it receives.
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
    // Another may have come meanwhile. From the moment the stream begins, none is read.
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
    // HTTP/1.0 knows no chunks: there the end of the connection is that of the stream.
    let chunked = request.version() >= Version::HTTP_11;
    match connection.zip(token) {
        // The connection itself sends what follows the head, in chunks of its own.
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

/// The head of a stream. Its connection is closed at its end: nothing else is answered on it.
fn event_stream() -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-cache, no-transform"))
        .insert_header((X_ACCEL_BUFFERING, "no"))
        .force_close();
    response
}
