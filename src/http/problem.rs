//! Errors as `application/problem+json` (RFC 9457). This is the only place that gives errors their status.

use actix_cors::CorsError;
use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{ALLOW, HeaderName, HeaderValue, RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE},
    },
    middleware::Next,
    web,
};
use serde_json::{Value, json};
use thiserror::Error;

pub(crate) use super::challenge::Challenge;
use super::{metadata, update::InvalidUpdate};
use crate::{
    broadcaster::{Hub, PublishError},
    event_log::MAX_REVOCATIONS,
    matching::InvalidMatcher,
    transport::form::NotUtf8,
};

/// Why a request failed.
#[derive(Debug, Clone, Error)]
pub(crate) enum Problem {
    #[error("There is nothing at this address.")]
    NotFound,
    #[error("This resource supports only the methods {0}.")]
    MethodNotAllowed(&'static str),
    #[error("This is a text/event-stream, which the request's Accept header excludes.")]
    NotAcceptable,
    #[error(
        "An event stream is the last response on its connection: send no other request before it ends."
    )]
    NotAlone,
    #[error(
        "The request for an event stream has a body. Send none, or send the form with the method QUERY."
    )]
    HasBody,
    #[error(
        "WebSocket is not supported. Send the request without the header Upgrade: subscribe with \
         EventSource, or with GET and Accept: text/event-stream, and publish with POST."
    )]
    WebSocket,
    #[error("The CORS preflight is refused: {refusal}.{}", remedy(refusal))]
    Preflight { refusal: CorsError },
    #[error("Too many files are being sent.")]
    TooManyFiles,
    #[error("The server is shutting down.")]
    Draining,
    #[error("The Broadcaster does not respond.")]
    BroadcasterSilent,
    #[error("The server is busy: its limit for requests in progress is reached. Retry later.")]
    Busy,
    #[error("The log cannot be used now.")]
    LogUnavailable,
    #[error("The memory for topics and patterns is exhausted (limits.matcher_bytes). Retry later.")]
    MatchersExhausted,
    #[error("The keys of the token's issuer could not be fetched yet. Retry later.")]
    KeysUnavailable,
    #[error(
        "The body must be a form: send Content-Type: application/x-www-form-urlencoded and fields such as \
         topic=a&data=b, with JSON as the value of data."
    )]
    NotAForm,
    #[error(
        "The body must be a form, a JSON object, or one JSON object in each line: send Content-Type: \
         application/x-www-form-urlencoded and fields such as topic=a&data=b, or application/json, or \
         application/x-ndjson."
    )]
    NotAnUpdate,
    #[error(
        "The header Idempotency-Key must contain one key of 1 to 255 printable ASCII characters, and the same as the \
         member idempotency_key if there is one."
    )]
    InvalidKey,
    #[error(
        "The header Idempotency-Key applies to one update. With application/x-ndjson, give each line a member \
         idempotency_key instead."
    )]
    KeyOfManyUpdates,
    #[error("A body with a Content-Encoding is not supported: send it as it is.")]
    ContentEncoding,
    #[error("The idempotency key was used before, for an update with other content.")]
    KeyReused,
    #[error("A request with the same idempotency key is in progress. Retry later.")]
    KeyInProgress,
    #[error("Another event has this id, and ids must be unique (hub.unique_ids).")]
    IdTaken,
    #[error("The body is longer than {0} bytes (limits.body).")]
    BodyTooLong(usize),
    #[error(
        "The body is longer than {0} bytes, the maximum for a QUERY (limits.matchers, limits.pattern, \
         limits.body)."
    )]
    QueryTooLong(usize),
    #[error("The body was cut off.")]
    BodyCutOff,
    #[error("{0}")]
    InvalidUpdate(InvalidUpdate),
    #[error(
        "A topic is reserved for the hub: clients cannot publish at or below the path of its URL."
    )]
    ReservedTopic,
    #[error("The query: {0}.")]
    Query(#[from] NotUtf8),
    #[error("The parameter {name}: {reason}.")]
    Matcher {
        name: &'static str,
        reason: InvalidMatcher,
    },
    #[error(
        "A parameter whose name begins with `match` must be `match`, `match_exact` or \
         `match_urlpattern`."
    )]
    UnknownMatcher,
    #[error(
        "The request must have at least one `match` or `match_urlpattern`, which selects topics."
    )]
    NoMatcher,
    #[error("The parameter {0} must be 1 or 0.")]
    Flag(&'static str),
    #[error(
        "The parameter since must be an age, such as 10m or 1h 30m, or a time in UTC, such as \
         2026-11-30T05:00:00Z."
    )]
    Since,
    #[error("There are more than {0} matchers (limits.matchers).")]
    TooManyMatchers(usize),
    #[error(
        "A token in a cookie is not accepted here: the page has another origin, or no known origin."
    )]
    ForeignPage,
    #[error(
        "The request must have the header Authorization: Bearer with the token in server.admin_token_file."
    )]
    NotAnOperator,
    #[error(
        "Name the tokens by their claims, as JSON (Content-Type: application/json) or, with DELETE, in the query: \
         {{\"iss\":\"https://example.org\",\"sub\":\"alice\"}} for all tokens of a subject, or iss and jti for one."
    )]
    NotARevocation,
    #[error("There is no such revocation.")]
    NotRevoked,
    #[error(
        "There are {MAX_REVOCATIONS} revocations. Lift some, revoke a key instead, or lower auth.revocation_ttl."
    )]
    TooManyRevocations,
    #[error("{}{}", challenge.detail(), reason_sentence(reason.as_deref()))]
    Token {
        challenge: Challenge,
        /// Why the token was refused. `None`: there is no token, the client must not know why, or there is
        /// nothing to add.
        reason: Option<String>,
        /// URL of the metadata that says how to present a token.
        metadata: String,
    },
}

/// A sentence that says how to fix a refused preflight. Empty if there is nothing to add to the refusal.
fn remedy(refusal: &CorsError) -> &'static str {
    match refusal {
        CorsError::OriginNotAllowed => " Add the origin of the page to cors.allowed_origins.",
        _ => "",
    }
}

/// A sentence with the reason. Empty if there is no reason.
fn reason_sentence(reason: Option<&str>) -> String {
    reason.map_or_else(String::new, |reason| format!(" The reason: {reason}."))
}

impl Challenge {
    /// Returns the problem document for this challenge, without a reason.
    pub(super) fn to(self, hub: &Hub) -> Problem {
        self.because(hub, None)
    }

    /// Returns the problem document for this challenge. `reason` says why the token was refused; `None`: the
    /// client is not told.
    pub(super) fn because(self, hub: &Hub, reason: Option<String>) -> Problem {
        Problem::Token {
            challenge: self,
            reason,
            metadata: metadata::url(hub.url()),
        }
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::NotRevoked => StatusCode::NOT_FOUND,
            Self::NotAnOperator => StatusCode::UNAUTHORIZED,
            Self::TooManyRevocations => StatusCode::INSUFFICIENT_STORAGE,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::BodyTooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::InvalidUpdate(update) if update.is_too_large() => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotAlone
            | Self::HasBody
            | Self::WebSocket
            | Self::Preflight { .. }
            | Self::NotAForm
            | Self::NotAnUpdate
            | Self::InvalidKey
            | Self::KeyOfManyUpdates
            | Self::QueryTooLong(_)
            | Self::BodyCutOff
            | Self::InvalidUpdate(_)
            | Self::ReservedTopic
            | Self::Query(_)
            | Self::Matcher { .. }
            | Self::UnknownMatcher
            | Self::NoMatcher
            | Self::Flag(_)
            | Self::Since
            | Self::NotARevocation
            | Self::TooManyMatchers(_) => StatusCode::BAD_REQUEST,
            Self::ForeignPage => StatusCode::FORBIDDEN,
            Self::KeyInProgress | Self::IdTaken => StatusCode::CONFLICT,
            Self::ContentEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyFiles
            | Self::Draining
            | Self::BroadcasterSilent
            | Self::Busy
            | Self::MatchersExhausted
            | Self::KeysUnavailable
            | Self::LogUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Token { challenge, .. } => challenge.status(),
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code())
            .content_type("application/problem+json")
            .body(self.document().to_string());
        if let Some((name, value)) = self.header() {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// Fails if the request asks for WebSocket, because such a client cannot use any other response. Other
/// upgrades that a client offers, such as `h2c`, are ignored.
pub(super) fn refuse_websocket(request: &HttpRequest) -> Result<(), Problem> {
    let upgrades = request.headers().get_all(UPGRADE);
    let mut upgrades = upgrades.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let is_websocket = |name: &[u8]| name.trim_ascii().eq_ignore_ascii_case(b"websocket");
    if upgrades.any(is_websocket) {
        return Err(Problem::WebSocket);
    }
    Ok(())
}

/// Middleware that completes errors. It replaces the plain-text error of actix-cors for a refused preflight with
/// a problem document. And it writes the URL of the metadata in a challenge as the client knows it: a client
/// that used another URL of the hub would refuse metadata about `hub.url` (RFC 9728, section 3.3).
pub(crate) async fn complete_errors(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let mut response = next.call(request).await?;
    if let Some(value) = known_challenge(&response) {
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
    let refusal = response.response().error();
    let refusal = refusal.and_then(|error| error.as_error::<CorsError>());
    Ok(match refusal.cloned() {
        None => response.map_into_left_body(),
        Some(refusal) => {
            let explained = Problem::Preflight { refusal }.error_response();
            response.into_response(explained).map_into_right_body()
        }
    })
}

/// The challenge of a response, if the client knows the hub under another URL than `hub.url`.
fn known_challenge(response: &ServiceResponse<impl MessageBody>) -> Option<HeaderValue> {
    let challenge = response.headers().get(WWW_AUTHENTICATE)?;
    let request = response.request();
    let hub = request.app_data::<web::Data<Hub>>()?.url();
    let known = metadata::known_url(hub, request.headers());
    if known == hub {
        return None;
    }
    let [usual, known] = [hub, known].map(metadata::url);
    let challenge = challenge.to_str().ok()?.replace(&usual, &known);
    HeaderValue::try_from(challenge).ok()
}

impl Problem {
    /// The problem document.
    pub(super) fn document(&self) -> Value {
        let status = self.status_code();
        json!({
            "type": "about:blank",
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "detail": self.to_string(),
        })
    }
}

impl From<PublishError> for Problem {
    fn from(err: PublishError) -> Self {
        match err {
            PublishError::Busy => Self::Busy,
            PublishError::Draining => Self::Draining,
            PublishError::Unavailable(_) => Self::LogUnavailable,
            PublishError::KeyReused => Self::KeyReused,
            PublishError::KeyInProgress => Self::KeyInProgress,
            PublishError::IdTaken => Self::IdTaken,
            PublishError::Gone(_) => Self::BroadcasterSilent,
        }
    }
}

/// The value of the header `Retry-After`: one second.
const ONE_SECOND: HeaderValue = HeaderValue::from_static("1");

impl Problem {
    /// Returns the header that the response needs in addition to its status, such as `Retry-After`, if any.
    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        Some(match self {
            Self::MethodNotAllowed(methods) => (ALLOW, HeaderValue::from_static(methods)),
            Self::NotAnOperator => (WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
            Self::Token {
                challenge,
                metadata,
                ..
            } => {
                let value = HeaderValue::try_from(challenge.header(metadata));
                (WWW_AUTHENTICATE, value.expect("a URL is ASCII"))
            }
            Self::Busy
            | Self::MatchersExhausted
            | Self::KeysUnavailable
            | Self::Draining
            | Self::BroadcasterSilent
            | Self::LogUnavailable
            | Self::KeyInProgress => (RETRY_AFTER, ONE_SECOND),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_failure_has_the_header_retry_after() {
        for problem in [
            Problem::Busy,
            Problem::MatchersExhausted,
            Problem::KeysUnavailable,
            Problem::Draining,
            Problem::BroadcasterSilent,
            Problem::LogUnavailable,
        ] {
            let response = problem.error_response();
            assert_eq!(response.status(), 503);
            assert_eq!(response.headers().get(RETRY_AFTER), Some(&ONE_SECOND));
        }
    }
}
