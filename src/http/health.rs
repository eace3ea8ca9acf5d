//! `GET /healthz` and `GET /readyz`: what a service manager or load balancer asks.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde_json::json;

use super::problem::Problem;
use crate::broadcaster::{Hub, Inspect, Inspection};

/// How long the Broadcaster may take to answer before it counts as dead.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Alive: the Broadcaster answers.
pub(super) async fn healthz(hub: web::Data<Hub>) -> Result<HttpResponse, Problem> {
    inspect(&hub).await?;
    Ok(HttpResponse::Ok().json(json!({ "status": "alive" })))
}

/// Ready: alive, and taking subscribers and what is published.
pub(super) async fn readyz(hub: web::Data<Hub>) -> Result<HttpResponse, Problem> {
    if inspect(&hub).await?.draining {
        return Err(Problem::Draining);
    }
    if !hub.is_writable() {
        return Err(Problem::LogUnavailable);
    }
    Ok(HttpResponse::Ok().json(json!({ "status": "ready" })))
}

/// Asks the Broadcaster how it is.
pub(super) async fn inspect(hub: &Hub) -> Result<Inspection, Problem> {
    match tokio::time::timeout(RESPONSE_TIMEOUT, hub.ask(Inspect)).await {
        Ok(Ok(inspection)) => Ok(inspection),
        Ok(Err(_)) | Err(_) => Err(Problem::BroadcasterSilent),
    }
}
