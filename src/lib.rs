//! A broadcaster of Server-Sent Events for actix-web: a standalone server, or a part of your application.
//!
//! Every subscriber is a cursor in one log. [`Hub::publish`] appends an event to the log, where it is encoded
//! once. The log then signals each worker thread, and the thread writes the same bytes to all its live
//! subscribers. A slow subscriber is not disconnected, and nothing is queued for it: it catches up from the
//! log. If a subscriber needs events that the log no longer has, it receives an event named `gap`. A
//! [`Broadcaster`] actor registers subscribers and runs the timer of the ticker, which publishes numbered
//! messages.
//!
//! In your application:
//!
//! ```no_run
//! use actix_web::{App, HttpServer, web};
//! use sse_broadcaster::{Event, Hub, HubSettings, subscribe};
//!
//! #[actix_web::main]
//! async fn main() -> std::io::Result<()> {
//!     let (hub, _gone) = Hub::start(HubSettings::default());
//!     let publisher = hub.clone();
//!     actix_web::rt::spawn(async move { publisher.publish(Event::message("hello")).await });
//!
//!     HttpServer::new(move || {
//!         App::new()
//!             .app_data(web::Data::new(hub.clone()))
//!             .route("/events", web::get().to(subscribe))
//!     })
//!     .h1_allow_half_closed(false)
//!     .bind(("127.0.0.1", 8080))?
//!     .run()
//!     .await
//! }
//! ```
//!
//! [`Server`], which the binary `broadcaster` runs, limits slow and misbehaving connections
//! (`server.request_timeout`, `server.write_timeout`), and its fan-out writes to sockets directly. In an
//! `HttpServer` of your own, only the limits of actix-web apply, and streams are ordinary response bodies.
//!
//! ARCHITECTURE.md in the repository is the map of the source.

mod auth;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod broadcaster;
pub mod config;
mod delivery;
mod event;
mod event_log;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod matching;
mod metrics;
mod server;
mod transport;

pub use self::auth::{KeyError, check_issuers};
pub use self::broadcaster::{
    Broadcaster, BroadcasterGone, Drain, Gone, Hub, HubSettings, LiveSettings, PublishError,
    Reconfigure,
};
pub use self::event::{
    Event, EventId, EventName, GivenId, InvalidEventId, InvalidEventName, InvalidGivenId,
    InvalidTopic, Topic,
};
pub use self::event_log::{
    InvalidRedisUrl, LogError, LogKind, LogSync, LogUnavailable, RedisSettings, RedisUrl,
    Retention, TickerSettings,
};
pub use self::http::{metrics, subscribe};
pub use self::matching::{HubUrl, InvalidHubUrl};
pub use self::metrics::Totals;
pub use self::server::{Reloadable, Reloader, Server, token};
