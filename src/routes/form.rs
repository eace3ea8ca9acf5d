//! The form that a request has as its body.

use actix_web::{
    HttpRequest,
    http::header::{CONTENT_LENGTH, CONTENT_TYPE},
    web,
};

use super::problem::Problem;

const FORM: &str = "application/x-www-form-urlencoded";

/// The request's body, which is to be a form of so many bytes at most; `too_long` says what is wrong with
/// one that is longer.
pub(super) async fn read(
    request: &HttpRequest,
    payload: web::Payload,
    max_bytes: usize,
    too_long: impl FnOnce(usize) -> Problem,
) -> Result<web::Bytes, Problem> {
    let content_type = request.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let is_form = content_type.is_some_and(|value| {
        let kind = value.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case(FORM)
    });
    if !is_form {
        return Err(Problem::NotAForm);
    }
    let body = payload.to_bytes_limited(max_bytes).await;
    let body = body.map_err(|_| too_long(max_bytes))?;
    body.map_err(|_| Problem::BodyCutOff)
}

/// How long the request's body may become, in bytes, if no more than so many are read.
pub(super) fn longest(request: &HttpRequest, max_bytes: usize) -> usize {
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    length.map_or(max_bytes, |length: usize| length.min(max_bytes))
}
