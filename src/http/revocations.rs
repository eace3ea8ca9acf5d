//! Serves `/revocations` for operators: revokes tokens, lists the revocations, and lifts them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, HeaderValue},
    web,
};
use serde_json::{Value, json};

use super::{
    body::{self, MediaType},
    policy::Policy,
    problem::Problem,
};
use crate::{
    auth::RevokedTokens,
    broadcaster::Hub,
    event_log::{RevocationChange, RevocationRefusal},
    matching::MemoryBudget,
};

pub(super) const PATH: &str = "/revocations";

/// Maximum length of the body of a request, in bytes.
const MAX_BODY: usize = 16_384;

/// Lists the revocations that are not forgotten yet.
pub(super) async fn list(
    request: HttpRequest,
    hub: web::Data<Hub>,
    policy: web::Data<Policy>,
) -> Result<HttpResponse, Problem> {
    authorize(&request, &policy)?;
    let ttl = policy.revocation_ttl;
    let forget_before = forget_before(ttl);
    let revocations = hub.revocations().borrow().clone();
    let known = revocations.iter().filter(|(_, at)| **at >= forget_before);
    let known: Vec<_> = known
        .filter_map(|(name, at)| Some(document(&RevokedTokens::named(name)?, *at, ttl)))
        .collect();
    let mut response = HttpResponse::Ok().json(json!({ "revocations": known }));
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Revokes the tokens in the body. Responds when the revocation is stored and in effect on this server.
pub(super) async fn revoke(
    request: HttpRequest,
    payload: web::Payload,
    hub: web::Data<Hub>,
    policy: web::Data<Policy>,
) -> Result<HttpResponse, Problem> {
    authorize(&request, &policy)?;
    // A page of another origin cannot send this type without a preflight, which is refused.
    if MediaType::of(&request) != MediaType::Json {
        return Err(Problem::NotARevocation);
    }
    let memory = MemoryBudget::default();
    let body = body::read(payload, &memory, MAX_BODY, |_| Problem::NotARevocation).await?;
    let tokens = serde_json::from_slice(&body.bytes).map_err(|_| Problem::NotARevocation)?;
    let tokens = valid(tokens)?;
    let now = millis_since_1970();
    change(&hub, &policy, &tokens, Some(now)).await?;
    log::info!("revoked the tokens {}", tokens.name().escape_debug());
    Ok(HttpResponse::Ok().json(document(&tokens, now, policy.revocation_ttl)))
}

/// Lifts the revocation of the tokens in the query.
pub(super) async fn lift(
    request: HttpRequest,
    hub: web::Data<Hub>,
    policy: web::Data<Policy>,
) -> Result<HttpResponse, Problem> {
    authorize(&request, &policy)?;
    let tokens = web::Query::<RevokedTokens>::from_query(request.query_string());
    let tokens = valid(tokens.map_err(|_| Problem::NotARevocation)?.into_inner())?;
    change(&hub, &policy, &tokens, None).await?;
    log::info!(
        "lifted the revocation of the tokens {}",
        tokens.name().escape_debug()
    );
    Ok(HttpResponse::NoContent().finish())
}

fn authorize(request: &HttpRequest, policy: &Policy) -> Result<(), Problem> {
    let is_allowed = policy.admin_token.is_authorized(request.headers());
    is_allowed.then_some(()).ok_or(Problem::NotAnOperator)
}

fn valid(tokens: RevokedTokens) -> Result<RevokedTokens, Problem> {
    if tokens.is_valid() {
        return Ok(tokens);
    }
    Err(Problem::NotARevocation)
}

/// Stores a change, and applies it on this server.
async fn change(
    hub: &Hub,
    policy: &Policy,
    tokens: &RevokedTokens,
    revoked_at: Option<u64>,
) -> Result<(), Problem> {
    let (done, stored) = tokio::sync::oneshot::channel();
    hub.revoke(RevocationChange {
        tokens: tokens.name(),
        revoked_at,
        forget_before: forget_before(policy.revocation_ttl),
        done,
    });
    let stored = stored.await.unwrap_or(Err(RevocationRefusal::Unavailable));
    stored.map_err(|refusal| match refusal {
        RevocationRefusal::Unknown => Problem::NotRevoked,
        RevocationRefusal::TooMany => Problem::TooManyRevocations,
        RevocationRefusal::Unavailable => Problem::LogUnavailable,
    })?;
    policy.token_verifier.set_revocations(&hub.revocations());
    Ok(())
}

fn document(tokens: &RevokedTokens, at: u64, ttl: Duration) -> Value {
    let time = |time: SystemTime| humantime::format_rfc3339_millis(time).to_string();
    let at = UNIX_EPOCH + Duration::from_millis(at);
    let mut document = json!(tokens);
    document["revoked_at"] = json!(time(at));
    document["forgotten_at"] = json!(time(at + ttl));
    document
}

/// Revocations before this time are forgotten, in milliseconds since 1970.
fn forget_before(ttl: Duration) -> u64 {
    let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    millis_since_1970().saturating_sub(ttl)
}

fn millis_since_1970() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_millis() as u64)
}
