//! Serves `GET /status`: the state of the server as JSON, for people and for the demo page.

use std::time::Instant;

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, HeaderValue},
    web,
};
use serde::Serialize;

use super::{health::inspect, problem::Problem};
use crate::{broadcaster::Hub, event::EventId, metrics::Totals};

#[derive(Debug, Clone, Copy)]
pub(crate) struct StartTime(pub(crate) Instant);

#[derive(Serialize)]
struct Status {
    version: &'static str,
    uptime_seconds: f64,
    subscribers: Subscribers,
    /// Id of the newest event. `null`: there is no event yet, or none since the log may have lost events.
    last_id: Option<EventId>,
    history: History,
    ticker: Ticker,
    /// Counters since the server started.
    totals: Totals,
}

#[derive(Serialize)]
struct Subscribers {
    live: usize,
    catching_up: usize,
    max: usize,
}

#[derive(Serialize)]
struct History {
    events: u64,
    bytes: usize,
    /// `null` if no event is retained.
    oldest_id: Option<EventId>,
    max_events: usize,
    max_bytes: usize,
}

#[derive(Serialize)]
struct Ticker {
    enabled: bool,
    interval_ms: u128,
}

pub(super) async fn status(
    hub: web::Data<Hub>,
    started: web::Data<StartTime>,
) -> Result<HttpResponse, Problem> {
    let inspection = inspect(&hub).await?;
    let extent = hub.log().extent();
    let retention = hub.log().retention();
    let events = extent.events as u64;
    let status = Status {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: started.0.elapsed().as_secs_f64(),
        subscribers: Subscribers {
            live: inspection.live,
            catching_up: inspection.catching_up,
            max: inspection.max_subscribers,
        },
        last_id: hub.log().id_before(extent.next).filter(|id| id.seq > 0),
        history: History {
            events,
            bytes: extent.bytes,
            oldest_id: (events > 0).then(|| hub.log().id(extent.oldest)),
            max_events: retention.events,
            max_bytes: retention.bytes,
        },
        ticker: Ticker {
            enabled: inspection.ticker_enabled,
            interval_ms: inspection.ticker_interval.as_millis(),
        },
        totals: hub.totals(),
    };
    let mut response = HttpResponse::Ok().json(status);
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
