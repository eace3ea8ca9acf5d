//! Reads whole request bodies, within a size limit and a memory budget, and tells what they contain. The
//! bodies of bulk requests are not read here, but line by line.

use actix_web::{HttpRequest, http::header::CONTENT_TYPE, web};

use futures_util::StreamExt as _;

use super::problem::Problem;
use crate::matching::{MemoryBudget, Reservation};

/// What a request body contains, by the header `Content-Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MediaType {
    /// `application/x-www-form-urlencoded`
    Form,
    /// `application/json`
    Json,
    /// `application/x-ndjson`: a JSON document in each line.
    Ndjson,
    Other,
}

impl MediaType {
    pub(super) fn of(request: &HttpRequest) -> Self {
        let content_type = request.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let kind = content_type.unwrap_or_default().split(';').next();
        match kind
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase()
            .as_str()
        {
            "application/x-www-form-urlencoded" => Self::Form,
            "application/json" => Self::Json,
            "application/x-ndjson" => Self::Ndjson,
            _ => Self::Other,
        }
    }
}

/// Memory limit in bytes for request bodies that are being read or used, and for events that are being
/// published. It applies separately to publish requests and to `QUERY` requests. Beyond it, requests receive
/// 503.
const BODIES_BUDGET: usize = 64 << 20;

/// The body of a request, with its reservation in the memory budget.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: web::Bytes,
    _held: Reservation,
}

/// Reads the request's body, of at most `max_bytes`. A longer body fails with the problem that `too_long`
/// returns. The memory budget `bodies` includes the body until the body is dropped. If more than
/// [`BODIES_BUDGET`] is reserved there, this fails with [`Problem::Busy`].
pub(super) async fn read(
    mut payload: web::Payload,
    bodies: &MemoryBudget,
    max_bytes: usize,
    too_long: impl FnOnce(usize) -> Problem,
) -> Result<Body, Problem> {
    let mut held = bodies.reserve(0);
    let mut body = web::BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Problem::BodyCutOff)?;
        if body.len() + chunk.len() > max_bytes {
            return Err(too_long(max_bytes));
        }
        body.extend_from_slice(&chunk);
        held.set(body.capacity());
        if bodies.reserved() > BODIES_BUDGET {
            return Err(Problem::Busy);
        }
    }
    Ok(Body {
        bytes: body.freeze(),
        _held: held,
    })
}
