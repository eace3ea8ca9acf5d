//! Serves `GET /metrics`: all counters and gauges in the OpenMetrics text format, which Prometheus reads.

use std::{
    sync::atomic::AtomicU64,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, HeaderValue},
    web,
};
use prometheus_client::{
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::{ConstGauge, Gauge},
        info::Info,
    },
    registry::{Registry, Unit},
};

use super::{health::inspect, policy::Policy};
use crate::{
    auth::KeySetStatus,
    broadcaster::{Hub, Inspection},
    event_log::Extent,
};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Responds with the metrics of the process and of the application's [`Hub`], which must be registered as
/// `web::Data<Hub>`.
///
/// The numbers of subscribers and their maximum come from the Broadcaster. They are omitted if the
/// Broadcaster has stopped or does not answer within a second.
pub async fn metrics(request: HttpRequest, hub: web::Data<Hub>) -> HttpResponse {
    let inspection = inspect(&hub).await.ok();
    let present = present(
        inspection.as_ref(),
        &hub.log().extent(),
        hub.is_writable(),
        hub.idempotency_keys(),
        hub.revocations().borrow().len(),
    );
    // Only `Server` registers a policy.
    let policy = request.app_data::<web::Data<Policy>>();
    let key_sets = policy.map(|policy| policy.token_verifier.key_sets());
    let text = hub
        .metrics()
        .encode(&[
            &present,
            &of_key_sets(&key_sets.unwrap_or_default()),
            &process(),
        ])
        .expect("writing to a string cannot fail");
    let mut response = HttpResponse::Ok().content_type(CONTENT_TYPE).body(text);
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Builds the metrics whose values are determined at the time of the request, and the version of the server.
fn present(
    inspection: Option<&Inspection>,
    extent: &Extent,
    is_writable: bool,
    keys: (usize, Option<u64>),
    revocations: usize,
) -> Registry {
    let mut registry = Registry::with_prefix("broadcaster");
    if let Some(inspection) = inspection {
        let subscribers = Family::<[(&str, &str); 1], Gauge>::default();
        for (state, count) in [
            ("live", inspection.live),
            ("catching_up", inspection.catching_up),
        ] {
            subscribers
                .get_or_create(&[("state", state)])
                .set(count as i64);
        }
        registry.register("subscribers", "Connected subscribers", subscribers);
        registry.register(
            "subscribers_max",
            "Maximum number of subscribers",
            ConstGauge::new(inspection.max_subscribers as u64),
        );
    }
    registry.register(
        "log_writable",
        "1 while events can be appended to the log, 0 while publishing is refused",
        ConstGauge::new(u64::from(is_writable)),
    );
    registry.register(
        "log_events",
        "Number of retained events",
        ConstGauge::new(extent.events as u64),
    );
    registry.register_with_unit(
        "log_size",
        "Memory of the retained events",
        Unit::Bytes,
        ConstGauge::new(extent.bytes as u64),
    );
    let age = extent.since.map_or(0.0, |since| {
        Instant::now()
            .saturating_duration_since(since)
            .as_secs_f64()
    });
    registry.register_with_unit(
        "log_oldest_age",
        "Age of the oldest retained event, 0 if there is none",
        Unit::Seconds,
        ConstGauge::new(age),
    );
    register_values(&mut registry, extent);
    register_keys(&mut registry, keys);
    registry.register(
        "revocations",
        "Revocations of tokens",
        ConstGauge::new(revocations as u64),
    );
    registry.register(
        "build",
        "Version of the server",
        Info::new([("version", env!("CARGO_PKG_VERSION"))]),
    );
    registry
}

/// Adds the number and the memory of the current values of topics.
fn register_values(registry: &mut Registry, extent: &Extent) {
    registry.register(
        "retained_topics",
        "Topics with a current value",
        ConstGauge::new(extent.values.topics as u64),
    );
    registry.register_with_unit(
        "retained_size",
        "Memory of the current values of topics",
        Unit::Bytes,
        ConstGauge::new(extent.values.bytes as u64),
    );
}

/// Adds the number of idempotency keys, and the age of the oldest.
fn register_keys(registry: &mut Registry, (keys, oldest): (usize, Option<u64>)) {
    registry.register(
        "idempotency_keys",
        "Idempotency keys that are remembered",
        ConstGauge::new(keys as u64),
    );
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_millis() as u64);
    let age = oldest.map_or(0.0, |oldest| now.saturating_sub(oldest) as f64 / 1000.0);
    registry.register_with_unit(
        "idempotency_oldest_age",
        "Age of the oldest idempotency key that is remembered, 0 if there is none",
        Unit::Seconds,
        ConstGauge::new(age),
    );
}

/// Builds the metrics of the key sets that are fetched (`jwks_url`). There are none without such a URL.
fn of_key_sets(key_sets: &[KeySetStatus]) -> Registry {
    let mut registry = Registry::with_prefix("broadcaster");
    if key_sets.is_empty() {
        return registry;
    }
    let fetches = Family::<[(&str, String); 2], Counter>::default();
    let ages = Family::<[(&str, String); 1], Gauge<f64, AtomicU64>>::default();
    for key_set in key_sets {
        let url = || ("url", key_set.url.clone());
        for (result, count) in [
            ("success", key_set.successes),
            ("failure", key_set.failures),
        ] {
            let labels = [url(), ("result", result.to_owned())];
            fetches.get_or_create(&labels).inc_by(count);
        }
        if let Some(fetched) = key_set.fetched {
            let age = fetched.elapsed().as_secs_f64();
            ages.get_or_create(&[url()]).set(age);
        }
    }
    registry.register(
        "key_set_fetches",
        "Fetches of key sets (jwks_url in auth.issuers)",
        fetches,
    );
    registry.register_with_unit(
        "key_set_age",
        "Time since a key set was last fetched successfully",
        Unit::Seconds,
        ages,
    );
    registry
}

/// Builds the metrics of the process, under the standard names of the Prometheus client libraries. Values
/// that the system does not provide are omitted.
fn process() -> Registry {
    let figures = metrics_process::collector::collect();
    let mut registry = Registry::with_prefix("process");
    if let Some(seconds) = figures.cpu_seconds_total {
        registry.register_with_unit(
            "cpu",
            "User and system CPU time",
            Unit::Seconds,
            ConstCounter::new(seconds),
        );
    }
    let mut gauge = |name: &str, unit: Option<Unit>, help: &str, value: Option<u64>| {
        let Some(value) = value else { return };
        let gauge = ConstGauge::new(value);
        match unit {
            Some(unit) => registry.register_with_unit(name, help, unit, gauge),
            None => registry.register(name, help, gauge),
        }
    };
    let bytes = Some(Unit::Bytes);
    gauge("open_fds", None, "Open file descriptors", figures.open_fds);
    gauge(
        "max_fds",
        None,
        "Limit on open file descriptors",
        figures.max_fds,
    );
    gauge("threads", None, "Threads", figures.threads);
    gauge(
        "resident_memory",
        bytes.clone(),
        "Resident memory",
        figures.resident_memory_bytes,
    );
    gauge(
        "virtual_memory",
        bytes,
        "Virtual memory",
        figures.virtual_memory_bytes,
    );
    gauge(
        "start_time",
        Some(Unit::Seconds),
        "When the process was started, in seconds since 1970",
        figures.start_time_seconds,
    );
    registry
}
