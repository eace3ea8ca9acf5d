//! The form that a request has as its body.

use actix_web::{HttpRequest, http::header::CONTENT_TYPE, web};

use futures_util::StreamExt as _;

use super::problem::Problem;
use crate::matching::{MemoryBudget, Reservation};

const FORM: &str = "application/x-www-form-urlencoded";

/// Memory budget for the bodies of requests of one kind that are being read or used, in bytes. Beyond it, they
/// are answered with 503.
const BODIES_BUDGET: usize = 64 << 20;

/// A request's body, and its part of the budget.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: web::Bytes,
    _held: Reservation,
}

/// The request's body, which is to be a form of so many bytes at most; `too_long` says what is wrong with
/// one that is longer. Counted among `bodies` for as long as it is kept.
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
