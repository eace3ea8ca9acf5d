//! What is wrong with the token of a request, as the response tells it.

use actix_web::http::StatusCode;

/// What is wrong with the request's token (RFC 6750, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Challenge {
    NoToken,
    InvalidRequest,
    InvalidToken,
    InsufficientScope,
}

impl Challenge {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::NoToken | Self::InvalidToken => StatusCode::UNAUTHORIZED,
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::InsufficientScope => StatusCode::FORBIDDEN,
        }
    }

    pub(super) fn code(self) -> Option<&'static str> {
        match self {
            Self::NoToken => None,
            Self::InvalidRequest => Some("invalid_request"),
            Self::InvalidToken => Some("invalid_token"),
            Self::InsufficientScope => Some("insufficient_scope"),
        }
    }

    pub(super) fn detail(self) -> &'static str {
        match self {
            Self::NoToken => "This requires an access token.",
            Self::InvalidRequest => {
                "The access token is malformed, or there is more than one: send one header \
                 Authorization: Bearer <token>."
            }
            Self::InvalidToken => "The access token is not valid.",
            Self::InsufficientScope => "The access token does not allow this.",
        }
    }

    /// The value of the header `WWW-Authenticate` for this challenge.
    pub(super) fn header(self, metadata: &str) -> String {
        let metadata = format!("resource_metadata=\"{metadata}\"");
        match self.code() {
            None => format!("Bearer {metadata}"),
            Some(code) => format!("Bearer error=\"{code}\", {metadata}"),
        }
    }
}
