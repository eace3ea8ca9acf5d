//! Errors as every route answers them: `application/problem+json` (RFC 9457). The one place that
//! gives errors their status.

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{ALLOW, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
    },
};
use serde_json::json;
use thiserror::Error;

use super::metadata;
use crate::{form::NotUtf8, hub::Hub, matcher::InvalidMatcher, update::InvalidUpdate};

/// Why a request is not answered as asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Problem {
    #[error("There is nothing at this address.")]
    NotFound,
    #[error("This resource knows the methods {0}.")]
    MethodNotAllowed(&'static str),
    #[error("This is a text/event-stream, which the request's Accept header excludes.")]
    NotAcceptable,
    #[error("An event stream is the last answer on its connection; its request has no body.")]
    NotAlone,
    #[error("Too many files are being sent.")]
    TooManyFiles,
    #[error("The server is shutting down.")]
    Draining,
    #[error("The Broadcaster gives no answer.")]
    BroadcasterSilent,
    #[error("There is more to do than can be taken in.")]
    Busy,
    #[error("The log cannot be used now.")]
    LogUnavailable,
    #[error("There are as many patterns of others as there may be.")]
    TooManyPatterns,
    #[error("The body is to be a form: application/x-www-form-urlencoded.")]
    NotAForm,
    #[error("The body is longer than {0} bytes (limits.body).")]
    BodyTooLong(usize),
    #[error(
        "The body is longer than {0} bytes, which all that may be asked for can take \
         (limits.matchers, limits.pattern, limits.body)."
    )]
    QueryTooLong(usize),
    #[error("The body was cut off.")]
    BodyCutOff,
    #[error("{0}")]
    InvalidUpdate(InvalidUpdate),
    #[error("A topic is the hub's own: what is below the path of its URL nobody else may publish.")]
    ReservedTopic,
    #[error("The id is one of the hub's own.")]
    HubsId,
    #[error("The query: {0}.")]
    Query(#[from] NotUtf8),
    #[error("The parameter {name}: {reason}.")]
    Matcher {
        name: &'static str,
        reason: InvalidMatcher,
    },
    #[error(
        "A parameter whose name begins with `match` is `match`, `match_exact` or \
         `match_urlpattern`."
    )]
    UnknownMatcher,
    #[error("At least one `match` or `match_urlpattern` says which topics are asked for.")]
    NoMatcher,
    #[error("There are more than {0} matchers (limits.matchers).")]
    TooManyMatchers(usize),
    #[error(
        "There are as many subscribers with this token as there may be (limits.subscriptions)."
    )]
    TooManySubscriptions,
    #[error("A cookie is no proof that this is meant: the page is of another origin, or of none.")]
    ForeignPage,
    #[error("{}", challenge.detail())]
    Token {
        challenge: Challenge,
        /// Where the hub says how to get a token.
        metadata: String,
    },
}

/// What is wrong with a token (RFC 6750, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Challenge {
    NoToken,
    InvalidRequest,
    InvalidToken,
    InsufficientScope,
}

impl Challenge {
    /// The problem, as this hub tells it.
    pub(super) fn to(self, hub: &Hub) -> Problem {
        Problem::Token {
            challenge: self,
            metadata: metadata::url(hub.url()),
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::NoToken | Self::InvalidToken => StatusCode::UNAUTHORIZED,
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::InsufficientScope => StatusCode::FORBIDDEN,
        }
    }

    fn code(self) -> Option<&'static str> {
        match self {
            Self::NoToken => None,
            Self::InvalidRequest => Some("invalid_request"),
            Self::InvalidToken => Some("invalid_token"),
            Self::InsufficientScope => Some("insufficient_scope"),
        }
    }

    fn detail(self) -> &'static str {
        match self {
            Self::NoToken => "This takes an access token.",
            Self::InvalidRequest => "The token is not presented as it is to be.",
            Self::InvalidToken => "The access token is not valid.",
            Self::InsufficientScope => "The access token does not allow this.",
        }
    }

    /// The challenge's header.
    fn header(self, metadata: &str) -> String {
        let metadata = format!("resource_metadata=\"{metadata}\"");
        match self.code() {
            None => format!("Bearer {metadata}"),
            Some(code) => format!("Bearer error=\"{code}\", {metadata}"),
        }
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::BodyTooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::InvalidUpdate(update) if update.is_too_large() => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotAlone
            | Self::NotAForm
            | Self::QueryTooLong(_)
            | Self::BodyCutOff
            | Self::InvalidUpdate(_)
            | Self::ReservedTopic
            | Self::HubsId
            | Self::Query(_)
            | Self::Matcher { .. }
            | Self::UnknownMatcher
            | Self::NoMatcher
            | Self::TooManyMatchers(_) => StatusCode::BAD_REQUEST,
            Self::ForeignPage => StatusCode::FORBIDDEN,
            Self::TooManySubscriptions => StatusCode::TOO_MANY_REQUESTS,
            Self::TooManyFiles
            | Self::Draining
            | Self::BroadcasterSilent
            | Self::Busy
            | Self::TooManyPatterns
            | Self::LogUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Token { challenge, .. } => challenge.status(),
        }
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let mut response = HttpResponse::build(status)
            .content_type("application/problem+json")
            .body(
                json!({
                    "type": "about:blank",
                    "title": status.canonical_reason(),
                    "status": status.as_u16(),
                    "detail": self.to_string(),
                })
                .to_string(),
            );
        if let Some((name, value)) = self.header() {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// After how many seconds to come again.
const SOON: HeaderValue = HeaderValue::from_static("1");

impl Problem {
    /// The header that says more.
    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        Some(match self {
            Self::MethodNotAllowed(methods) => (ALLOW, HeaderValue::from_static(methods)),
            Self::Token {
                challenge,
                metadata,
            } => {
                let value = HeaderValue::try_from(challenge.header(metadata));
                (WWW_AUTHENTICATE, value.expect("a URL is ASCII"))
            }
            Self::Busy
            | Self::TooManyPatterns
            | Self::Draining
            | Self::BroadcasterSilent
            | Self::LogUnavailable
            | Self::TooManySubscriptions => (RETRY_AFTER, SOON),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_may_come_again_is_told_when() {
        for problem in [
            Problem::Busy,
            Problem::TooManyPatterns,
            Problem::Draining,
            Problem::BroadcasterSilent,
            Problem::LogUnavailable,
        ] {
            let response = problem.error_response();
            assert_eq!(response.status(), 503);
            assert_eq!(response.headers().get(RETRY_AFTER), Some(&SOON));
        }
    }
}
