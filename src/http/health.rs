//! Serves `GET /healthz` and `GET /readyz`, for service managers and load balancers.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde_json::json;

use super::problem::Problem;
use crate::broadcaster::{Hub, Inspect, Inspection};

/// How long a request waits for the Broadcaster, the central actor. After this time, `/healthz`, `/readyz`
/// and `/status` return 503, and `/metrics` omits what the Broadcaster knows.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Responds with 200 if the Broadcaster answers in time, else 503.
pub(super) async fn healthz(hub: web::Data<Hub>) -> Result<HttpResponse, Problem> {
    inspect(&hub).await?;
    Ok(HttpResponse::Ok().json(json!({ "status": "alive" })))
}

/// Responds with 200 if the Broadcaster answers, is not draining, and the log accepts events, else 503.
pub(super) async fn readyz(hub: web::Data<Hub>) -> Result<HttpResponse, Problem> {
    if inspect(&hub).await?.draining {
        return Err(Problem::Draining);
    }
    if !hub.is_writable() {
        return Err(Problem::LogUnavailable);
    }
    Ok(HttpResponse::Ok().json(json!({ "status": "ready" })))
}

/// Asks the Broadcaster for its state. Fails if it does not answer within [`RESPONSE_TIMEOUT`] or has
/// stopped.
pub(super) async fn inspect(hub: &Hub) -> Result<Inspection, Problem> {
    match tokio::time::timeout(RESPONSE_TIMEOUT, hub.ask(Inspect)).await {
        Ok(Ok(inspection)) => Ok(inspection),
        Ok(Err(_)) | Err(_) => Err(Problem::BroadcasterSilent),
    }
}
