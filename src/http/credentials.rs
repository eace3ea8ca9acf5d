//! Extracts the access token of a request and verifies it (Mercure, chapter Presenting the Access Token; RFC
//! 6750). A cookie alone does not authorize a change, because a page of another origin can make a browser
//! send it.

use std::sync::Arc;

use actix_web::{
    HttpRequest,
    http::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderValue, ORIGIN, REFERER},
};
use url::Url;

use super::{
    origins::Origins,
    policy::Policy,
    problem::{Challenge, Problem},
};
use crate::{auth::Access, broadcaster::Hub, matching::HubUrl, transport::form};

const SCHEME: &str = "Bearer";

/// Name of the cookie that carries the token in older Mercure versions.
const LEGACY_COOKIE: &str = "mercureAuthorization";

/// The query parameter that carries the token in older Mercure versions.
const LEGACY_PARAMETER: &[u8] = b"authorization";

/// The access token of a request, and the part of the request that contains it. The token is not verified
/// yet.
#[derive(Debug)]
pub(crate) enum Credentials<'a> {
    Nothing,
    Header(&'a str),
    /// A token in the query. Only older Mercure versions allow this.
    Query(String),
    /// A token in a cookie. Browsers also send the cookie with requests that a page of another origin makes.
    Cookie(&'a str),
}

/// The request has more than one `Authorization` header or more than one token in its query, or an invalid
/// token. A token in the header is invalid if it is empty or has characters that RFC 6750 does not allow. A
/// token in the query is invalid if it is not UTF-8.
#[derive(Debug)]
pub(crate) struct Malformed;

/// Returns the rights that the request's token grants, or `None` if the request has no token. Fails if the
/// token is malformed or invalid, if the memory for its patterns is exhausted, or if the keys of its issuer
/// could not be fetched yet.
pub(super) async fn access(
    request: &HttpRequest,
    hub: &Hub,
    policy: &Policy,
) -> Result<Option<Arc<Access>>, Problem> {
    verified(&of_request(request, hub, policy)?, hub, policy).await
}

/// Returns the rights that the token of a request grants, for requests that change something, such as
/// publishing. They require a token. A token from a cookie is accepted only if the page that sent the request
/// is trusted (Mercure, chapter Security Considerations).
pub(super) async fn access_to_change(
    request: &HttpRequest,
    hub: &Hub,
    policy: &Policy,
) -> Result<Arc<Access>, Problem> {
    let presented = of_request(request, hub, policy)?;
    if let Credentials::Cookie(_) = presented
        && !comes_from_a_trusted_page(request.headers(), hub.url(), &policy.publish_origins)
    {
        return Err(Problem::ForeignPage);
    }
    let access = verified(&presented, hub, policy).await?;
    access.ok_or_else(|| Challenge::NoToken.to(hub))
}

async fn verified(
    presented: &Credentials<'_>,
    hub: &Hub,
    policy: &Policy,
) -> Result<Option<Arc<Access>>, Problem> {
    let token = match presented {
        Credentials::Nothing => return Ok(None),
        Credentials::Header(token) | Credentials::Cookie(token) => *token,
        Credentials::Query(token) => token,
    };
    match policy.token_verifier.verify_with_new_keys(token).await {
        Ok(access) => Ok(Some(access)),
        Err(reason) => {
            log::debug!("refused a token: {reason}");
            if reason.is_out_of_memory() {
                return Err(Problem::MatchersExhausted);
            }
            if reason.lacks_all_keys() {
                return Err(Problem::KeysUnavailable);
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
) -> Result<Credentials<'a>, Problem> {
    let legacy = policy.legacy.then_some(LEGACY_COOKIE);
    let cookies = policy.cookie.as_deref().into_iter().chain(legacy);
    let query = policy.legacy.then(|| request.query_string());
    presented(request.headers(), query, cookies)
        .map_err(|Malformed| Challenge::InvalidRequest.to(hub))
}

/// Extracts the token of a request from the `Authorization` header. If there is no such header, takes the
/// token from the query, or else from the first of the named `cookies` that is not empty. `query` is `None`
/// if tokens in queries are not allowed. If the header has a scheme other than `Bearer`, the request has no
/// token, and the query and the cookies are ignored.
pub(crate) fn presented<'a, 'n>(
    headers: &'a HeaderMap,
    query: Option<&str>,
    mut cookies: impl Iterator<Item = &'n str>,
) -> Result<Credentials<'a>, Malformed> {
    let mut authorizations = headers.get_all(AUTHORIZATION);
    let Some(authorization) = authorizations.next() else {
        if let Some(token) = query.map(of_query).transpose()?.flatten() {
            return Ok(Credentials::Query(token));
        }
        let cookie = cookies.find_map(|name| {
            let mut cookies = headers.get_all(COOKIE);
            cookies.find_map(|header| cookie(header, name))
        });
        return Ok(cookie.map_or(Credentials::Nothing, Credentials::Cookie));
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
        // The header has another authentication scheme. The hub does not support it, so the request has no
        // token.
        return Ok(Credentials::Nothing);
    }
    let token = rest.trim_ascii();
    let is_token68 = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    if token.is_empty() || !token.iter().all(is_token68) {
        return Err(Malformed);
    }
    let token = std::str::from_utf8(token).map_err(|_| Malformed)?;
    Ok(Credentials::Header(token))
}

/// Returns the token in the query parameter `authorization`. Empty parameters are ignored. Fails if there is
/// more than one token, or if it is not UTF-8.
fn of_query(query: &str) -> Result<Option<String>, Malformed> {
    let mut tokens = form::pairs(query.as_bytes())
        .filter(|(name, value)| name == LEGACY_PARAMETER && !value.is_empty());
    let token = tokens.next().map(|(_, token)| form::text(token));
    if tokens.next().is_some() {
        return Err(Malformed);
    }
    token.transpose().map_err(|_| Malformed)
}

/// Returns the value of the first cookie `name` in this `Cookie` header, without quotation marks (RFC 6265,
/// section 5.4). `None` if there is no such cookie, or if its value is empty or not UTF-8. Other cookies may
/// contain any bytes.
fn cookie<'a>(header: &'a HeaderValue, name: &str) -> Option<&'a str> {
    let cookies = header.as_bytes().split(|byte| *byte == b';');
    let mut values = cookies.filter_map(|cookie| {
        let rest = cookie.trim_ascii().strip_prefix(name.as_bytes())?;
        rest.strip_prefix(b"=")
    });
    let value = std::str::from_utf8(values.next()?).ok()?.trim_matches('"');
    (!value.is_empty()).then_some(value)
}

/// Returns whether the page that sent the request has the origin of one of the hub's URLs or one of the
/// `trusted` origins. The hub's scheme with the host of the request is also its own origin. The origin of the page is in the
/// header `Origin`, or else in `Referer`. Without either header, or with the origin `null`, the page is not
/// trusted.
pub(crate) fn comes_from_a_trusted_page(
    headers: &HeaderMap,
    hub: &HubUrl,
    trusted: &Origins,
) -> bool {
    let header = |name| headers.get(name)?.to_str().ok();
    let origin = match headers.get(ORIGIN).map(HeaderValue::to_str) {
        Some(Ok(origin)) => origin.to_owned(),
        // No browser sends an origin that is not ASCII, so such a request is not from a trusted page.
        Some(Err(_)) => return false,
        None => match header(REFERER).map(Url::parse) {
            Some(Ok(url)) => url.origin().ascii_serialization(),
            _ => return false,
        },
    };
    let host = header(HOST).unwrap_or_default();
    // Pages that are opened from a file or in a sandboxed frame have the origin `null`. Anyone can make such
    // a page, so this origin is never trusted.
    if origin == "null" {
        return false;
    }
    let is_of = |hub: &HubUrl| origin == hub.url().origin().ascii_serialization();
    hub.all().any(is_of)
        || origin == format!("{}://{host}", hub.url().scheme())
        || trusted.contains(&origin)
}
