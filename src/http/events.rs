//! Serves event streams: at `/events/sse`, where the default topic is that of the ticker's messages, and at
//! the hub's own URL (Mercure, chapter Subscription). Browsers never reconnect after an error status. So a
//! client that is rejected only temporarily usually receives a short stream with a `retry:` instead.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use actix_web::{
    HttpMessage as _, HttpRequest, HttpResponse, ResponseError as _,
    dev::Payload,
    http::{Method, header::HeaderValue},
    web,
};
use futures_util::StreamExt as _;

use super::{
    accept::accepts_event_stream,
    body::{self, MediaType},
    credentials,
    policy::Policy,
    problem::{Challenge, Problem, refuse_websocket},
    subscription_request::{LAST_EVENT_ID, SubscriptionRequest},
    topics::{self, StreamParameters},
};
use crate::{
    auth::Access,
    broadcaster::{Expiry, Hub},
    config::{LimitsConfig, SubscribePolicy},
    event::ResumeFrom,
    matching::{InvalidMatcher, MemoryBudget, Selection},
    metrics::Rejection,
};

/// Path of event streams for which a request need not select topics. The default topic is that of the
/// ticker's numbered messages.
pub(super) const PATH: &str = "/events/sse";

/// Responds with the event stream of the application's [`Hub`], which must be registered as `web::Data<Hub>`.
///
/// The query selects topics with `match` and `match_urlpattern`. Without them, the stream has the events on
/// the hub's default topic ([`HubSettings::topic`](crate::HubSettings)), such as the ticker's numbered
/// messages. It resumes after the id in the header `Last-Event-ID`, or else in the query parameter
/// `last_event_id` or `lastEventId`. Without an id it begins with the next event, with `snapshot=1` with the
/// current values of the topics, or with `since` at a time. With `topics=1`, each event names its topics. With
/// `poll=1`, the stream ends when every event is sent.
///
/// If the `Accept` header excludes `text/event-stream`, the response is 406. HEAD returns the headers only.
/// If the hub cannot accept a subscriber now, the response is a stream that contains only a `retry:`, because
/// a browser never reconnects after an error status. Reasons are that the hub is full or draining, that Redis
/// is needed and cannot be read, or that the memory for matchers is exhausted. For the last reason, a QUERY
/// receives 503 instead. If the Broadcaster has stopped, the response is 503.
pub async fn subscribe(
    request: HttpRequest,
    payload: web::Payload,
    hub: web::Data<Hub>,
) -> HttpResponse {
    answer(&request, payload, &hub, true)
        .await
        .unwrap_or_else(|problem| problem.error_response())
}

/// Responds with an event stream like [`subscribe`], but refuses a request that selects no topics.
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
    has_default_topic: bool,
) -> Result<HttpResponse, Problem> {
    refuse_websocket(request)?;
    if !accepts_event_stream(request) {
        return Err(Problem::NotAcceptable);
    }
    // Only `Server` registers a policy. Without one, an embedding application authorizes its clients itself.
    let policy = request.app_data::<web::Data<Policy>>();
    let access = match policy {
        Some(policy) => access(request, hub, policy).await,
        None => Ok(None),
    };
    let (access, mut rejection) = match access {
        Ok(access) => (access, None),
        Err(problem) => (None, Some(rejection(&problem, request).ok_or(problem)?)),
    };
    let parameters = stream_parameters(request, payload, policy).await?;
    if parameters.matchers.is_empty() && !has_default_topic {
        return Err(Problem::NoMatcher);
    }
    let mut selection = hub.default_selection();
    if rejection.is_none() {
        match select(hub, &parameters, access.as_deref()).await {
            Ok(selected) => selection = selected,
            Err(problem) => rejection = Some(self::rejection(&problem, request).ok_or(problem)?),
        }
    }
    let revocation = policy.zip(access.as_ref());
    let subscription = SubscriptionRequest {
        from: resume_from(request, &parameters),
        wants_snapshots: parameters.snapshot,
        is_poll: parameters.poll,
        legacy: policy.is_some_and(|policy| policy.legacy),
        selection,
        expiry: policy.and_then(|policy| expiry(access.as_deref(), policy)),
        revocation: revocation.map(|(policy, access)| policy.token_verifier.revocation(access)),
        access,
    };
    if let Some(rejection) = rejection {
        hub.metrics().count_rejection(rejection);
        return Ok(subscription.reject(hub));
    }
    if request.method() == Method::HEAD {
        return Ok(subscription.head_only(hub).await);
    }
    subscription.open(request, hub).await
}

/// Why a request is rejected with a stream that only has a `retry:`, because the problem is temporary. Such a
/// request may come from an `EventSource`, which never reconnects after an error status. `None`: the response
/// has an error status. This is always so for QUERY, which no `EventSource` can send.
fn rejection(problem: &Problem, request: &HttpRequest) -> Option<Rejection> {
    let rejection = match problem {
        Problem::MatchersExhausted => Rejection::Matchers,
        Problem::KeysUnavailable => Rejection::Keys,
        _ => return None,
    };
    (*request.method() != topics::query()).then_some(rejection)
}

/// Returns the selection of the topics that the request asks for, or of the default topic if it asks for none.
async fn select(
    hub: &Hub,
    parameters: &StreamParameters,
    access: Option<&Access>,
) -> Result<Arc<Selection>, Problem> {
    let matchers = parameters.matchers.clone();
    let selection = if matchers.is_empty() {
        hub.select_default(access, parameters.topics).await
    } else {
        hub.select(matchers, access, parameters.topics).await
    };
    selection.map_err(matcher_problem)
}

/// Reads the matchers and the last event id from the query of the URL and, if the method is QUERY, from the
/// body. Fails if they are invalid, or if a request with another method has a body.
async fn stream_parameters(
    request: &HttpRequest,
    payload: web::Payload,
    policy: Option<&web::Data<Policy>>,
) -> Result<StreamParameters, Problem> {
    let limits = policy.map_or_else(LimitsConfig::default, |policy| policy.limits);
    let legacy = policy.is_some_and(|policy| policy.legacy);
    // This handler receives GET, HEAD and QUERY. Only QUERY has a body.
    let body = if *request.method() == topics::query() {
        Some(query_body(request, payload, &limits, policy).await?)
    } else {
        expect_no_body(request, payload).await?;
        None
    };
    let form = body.as_ref().map_or(&[][..], |body| &body.bytes);
    topics::stream_parameters(request.query_string(), form, &limits, legacy)
}

/// Returns where the client wants its stream to begin: after the id in the header `Last-Event-ID`, or else
/// after the id from the query or the body, or else with a snapshot, or else at a time.
fn resume_from(request: &HttpRequest, parameters: &StreamParameters) -> ResumeFrom {
    let header = request.headers().get(LAST_EVENT_ID);
    let header = header.map(HeaderValue::as_bytes);
    // Some clients send an empty header if they have no last event id.
    let header = header.filter(|id| !id.is_empty());
    match header.or(parameters.last_event_id.as_deref()) {
        Some(id) => ResumeFrom::parse(id),
        None if parameters.snapshot => ResumeFrom::Snapshot,
        None => parameters.since.map_or(ResumeFrom::Now, ResumeFrom::Since),
    }
}

/// Fails if the request has a body. A chunked body is read to see whether it is empty, because some proxies
/// send `Transfer-Encoding: chunked` without any data.
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

/// Reads the body of a `QUERY`. Its maximum length is the lower of two numbers: `limits.body`, and 4096 bytes
/// more than the largest allowed matchers need with every byte percent-encoded.
async fn query_body(
    request: &HttpRequest,
    payload: web::Payload,
    limits: &LimitsConfig,
    policy: Option<&web::Data<Policy>>,
) -> Result<body::Body, Problem> {
    let longest = limits.matchers * (3 * limits.pattern + "match_urlpattern=&".len());
    let longest = limits.body.min(4096 + longest);
    let of_app = MemoryBudget::default();
    let queries = policy.map_or(&of_app, |policy| &policy.queries);
    if MediaType::of(request) != MediaType::Form {
        return Err(Problem::NotAForm);
    }
    body::read(payload, queries, longest, Problem::QueryTooLong).await
}

/// Returns the rights that the request's token grants, or `None` if it has no token. Fails if the token is
/// invalid, or if the policy requires one for subscribers and there is none.
async fn access(
    request: &HttpRequest,
    hub: &Hub,
    policy: &Policy,
) -> Result<Option<Arc<Access>>, Problem> {
    let access = credentials::access(request, hub, policy).await?;
    if access.is_none() && policy.subscribe == SubscribePolicy::Token {
        return Err(Challenge::NoToken.to(hub));
    }
    let is_only_for_publishing = |access: &Access| access.is_only_for_publishing;
    if policy.subscribe == SubscribePolicy::Token
        && access.as_deref().is_some_and(is_only_for_publishing)
    {
        let reason = "its issuer's tokens do not allow subscribing (actions in auth.issuers)";
        return Err(Challenge::InsufficientScope.because(hub, Some(reason.to_owned())));
    }
    Ok(access)
}

/// The problem to report for a matcher that was not compiled. Either the memory for matchers is exhausted, or
/// a URI template (parameter `topic`) or URL Pattern is invalid. All other errors were found when the
/// matchers were parsed.
fn matcher_problem(reason: InvalidMatcher) -> Problem {
    let problem = |name| Problem::Matcher { name, reason };
    match reason {
        InvalidMatcher::Crowded => Problem::MatchersExhausted,
        InvalidMatcher::Template => problem("topic"),
        _ => problem("match_urlpattern"),
    }
}

/// Returns when the stream must end: when its token expires or its maximum lifetime is over, whichever is
/// earlier. `None`: it has no time limit.
fn expiry(access: Option<&Access>, policy: &Policy) -> Option<Expiry> {
    // Longest time from now to the end of a stream: ten years. Adding this time to the clock cannot overflow.
    const MAX_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    let now = Instant::now();
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let of_token = access.and_then(|access| access.expires_at);
    let of_token = of_token.map(|expires_at| {
        let left = Duration::from_secs(expires_at).saturating_sub(since_1970);
        Expiry::of_token(expires_at, left.min(MAX_LIFETIME), policy.expiring, now)
    });
    let of_stream = policy.max_lifetime.map(|most| {
        // Each stream lasts 80 to 100 % of `stream.max_lifetime`, so that streams that began together do not
        // end together.
        let lifetime = most.mul_f64(1.0 - 0.2 * fastrand::f64());
        Expiry::of_stream(now + lifetime.min(MAX_LIFETIME))
    });
    of_token
        .into_iter()
        .chain(of_stream)
        .min_by_key(Expiry::end)
}
