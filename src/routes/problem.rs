//! Errors as every route answers them: `application/problem+json` (RFC 9457). The one place that
//! gives errors their status.

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{ALLOW, HeaderValue},
    },
};
use serde_json::json;
use thiserror::Error;

/// Why a request is not answered as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
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
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::NotAlone => StatusCode::BAD_REQUEST,
            Self::TooManyFiles | Self::Draining | Self::BroadcasterSilent => {
                StatusCode::SERVICE_UNAVAILABLE
            }
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
        if let Self::MethodNotAllowed(methods) = self {
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static(methods));
        }
        response
    }
}
