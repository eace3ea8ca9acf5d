//! The access token of a request (Mercure, chapter Presenting the Access Token; RFC 6750).

use std::sync::Arc;

use actix_web::{
    HttpRequest,
    http::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderValue, ORIGIN, REFERER},
};
use url::Url;

use super::{
    policy::Policy,
    problem::{Challenge, Problem},
};
use crate::{auth::Access, broadcaster::Hub, transport::form};

const SCHEME: &str = "Bearer";

/// The cookie of the protocol's older versions.
const LEGACY_COOKIE: &str = "mercureAuthorization";

/// The parameter of the query that holds a token in the protocol's older versions.
const LEGACY_PARAMETER: &[u8] = b"authorization";

/// What a request presents.
#[derive(Debug)]
pub(crate) enum Presented<'a> {
    Nothing,
    Header(&'a str),
    /// In the query, as the protocol's older versions allow.
    Query(String),
    /// Sent along by the browser, whoever made it send the request.
    Cookie(&'a str),
}

/// The request does not present a token as it is to be presented.
#[derive(Debug)]
pub(crate) struct Malformed;

/// What the bearer of the request's token may do; `None`: it has none.
pub(super) fn access(
    request: &HttpRequest,
    hub: &Hub,
    policy: &Policy,
) -> Result<Option<Arc<Access>>, Problem> {
    verified(&of_request(request, hub, policy)?, hub, policy)
}

/// The same where the request changes something: a page of somebody else's must not have the
/// browser do it with a cookie (Mercure, chapter Security Considerations).
pub(super) fn access_to_change(
    request: &HttpRequest,
    hub: &Hub,
    policy: &Policy,
) -> Result<Arc<Access>, Problem> {
    let presented = of_request(request, hub, policy)?;
    if let Presented::Cookie(_) = presented
        && !comes_from_a_trusted_page(request.headers(), hub.url().url(), &policy.origins)
    {
        return Err(Problem::ForeignPage);
    }
    verified(&presented, hub, policy)?.ok_or_else(|| Challenge::NoToken.to(hub))
}

fn verified(
    presented: &Presented<'_>,
    hub: &Hub,
    policy: &Policy,
) -> Result<Option<Arc<Access>>, Problem> {
    let token = match presented {
        Presented::Nothing => return Ok(None),
        Presented::Header(token) | Presented::Cookie(token) => *token,
        Presented::Query(token) => token,
    };
    match policy.token_verifier.verify(token) {
        Ok(access) => Ok(Some(access)),
        Err(reason) => {
            log::debug!("refused a token: {reason}");
            if reason.is_for_want_of_room() {
                return Err(Problem::MatchersExhausted);
            }
            let reason = reason.is_signed().then(|| reason.to_string());
            Err(Challenge::InvalidToken.because(hub, reason))
        }
    }
}

fn of_request<'a>(
    request: &'a HttpRequest,
    hub: &Hub,
    policy: &Policy,
) -> Result<Presented<'a>, Problem> {
    let legacy = policy.legacy.then_some(LEGACY_COOKIE);
    let cookies = policy.cookie.as_deref().into_iter().chain(legacy);
    let query = policy.legacy.then(|| request.query_string());
    presented(request.headers(), query, cookies)
        .map_err(|Malformed| Challenge::InvalidRequest.to(hub))
}

/// The token from the `Authorization` header. Without that header: from the query, or else from the first
/// of these cookies that is not empty. With a header of another scheme: none.
pub(crate) fn presented<'a, 'n>(
    headers: &'a HeaderMap,
    query: Option<&str>,
    mut cookies: impl Iterator<Item = &'n str>,
) -> Result<Presented<'a>, Malformed> {
    let mut authorizations = headers.get_all(AUTHORIZATION);
    let Some(authorization) = authorizations.next() else {
        if let Some(token) = query.map(of_query).transpose()?.flatten() {
            return Ok(Presented::Query(token));
        }
        let cookie = cookies.find_map(|name| {
            let mut cookies = headers.get_all(COOKIE);
            cookies.find_map(|header| cookie(header, name))
        });
        return Ok(cookie.map_or(Presented::Nothing, Presented::Cookie));
    };
    if authorizations.next().is_some() {
        return Err(Malformed);
    }
    let bytes = authorization.as_bytes();
    let is_scheme = |scheme: &[u8]| scheme.eq_ignore_ascii_case(SCHEME.as_bytes());
    let (scheme, rest) = match bytes.iter().position(|byte| *byte == b' ') {
        Some(at) => (&bytes[..at], &bytes[at..]),
        None => (bytes, &[][..]),
    };
    if !is_scheme(scheme) {
        // Another way to say who one is, which is none here.
        return Ok(Presented::Nothing);
    }
    let token = rest.trim_ascii();
    let is_token68 = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    if token.is_empty() || !token.iter().all(is_token68) {
        return Err(Malformed);
    }
    let token = std::str::from_utf8(token).map_err(|_| Malformed)?;
    Ok(Presented::Header(token))
}

/// The token of a query, if it has one: an empty parameter is none.
fn of_query(query: &str) -> Result<Option<String>, Malformed> {
    let mut tokens = form::pairs(query.as_bytes())
        .filter(|(name, value)| name == LEGACY_PARAMETER && !value.is_empty());
    let token = tokens.next().map(|(_, token)| form::text(token));
    if tokens.next().is_some() {
        return Err(Malformed);
    }
    token.transpose().map_err(|_| Malformed)
}

/// The value of a cookie, if the header has it (RFC 6265, section 5.4). Other cookies beside it may
/// hold anything.
fn cookie<'a>(header: &'a HeaderValue, name: &str) -> Option<&'a str> {
    let cookies = header.as_bytes().split(|byte| *byte == b';');
    let mut values = cookies.filter_map(|cookie| {
        let rest = cookie.trim_ascii().strip_prefix(name.as_bytes())?;
        rest.strip_prefix(b"=")
    });
    let value = std::str::from_utf8(values.next()?).ok()?.trim_matches('"');
    (!value.is_empty()).then_some(value)
}

/// Whether the page that made the browser send the request is of the hub's own origin or of one
/// that is listed. Not to say so is not to be trusted.
pub(crate) fn comes_from_a_trusted_page(
    headers: &HeaderMap,
    hub: &Url,
    trusted: &[String],
) -> bool {
    let header = |name| headers.get(name)?.to_str().ok();
    let origin = match headers.get(ORIGIN).map(HeaderValue::to_str) {
        Some(Ok(origin)) => origin.to_owned(),
        // No browser sends an origin that is not ASCII.
        Some(Err(_)) => return false,
        None => match header(REFERER).map(Url::parse) {
            Some(Ok(url)) => url.origin().ascii_serialization(),
            _ => return false,
        },
    };
    let host = header(HOST).unwrap_or_default();
    // Whoever opens a page from a file, or in a sandbox, is anybody.
    if origin == "null" {
        return false;
    }
    origin == hub.origin().ascii_serialization()
        || origin == format!("{}://{host}", hub.scheme())
        || trusted.contains(&origin)
}
