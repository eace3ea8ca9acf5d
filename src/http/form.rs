//! Reads request bodies that are forms, within a size limit and a memory budget.

use actix_web::{HttpRequest, http::header::CONTENT_TYPE, web};

use futures_util::StreamExt as _;

use super::problem::Problem;
use crate::matching::{MemoryBudget, Reservation};

const FORM: &str = "application/x-www-form-urlencoded";

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

/// Reads the request's body, which must be a form of at most `max_bytes`. A longer body fails with the
/// problem that `too_long` returns. The memory budget `bodies` includes the body until the body is dropped.
/// If more than [`BODIES_BUDGET`] is reserved there, this fails with [`Problem::Busy`].
pub(super) async fn read(
    request: &HttpRequest,
    mut payload: web::Payload,
    bodies: &MemoryBudget,
    max_bytes: usize,
    too_long: impl FnOnce(usize) -> Problem,
) -> Result<Body, Problem> {
    let content_type = request.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let is_form = content_type.is_some_and(|value| {
        let kind = value.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case(FORM)
    });
    if !is_form {
        return Err(Problem::NotAForm);
    }
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
