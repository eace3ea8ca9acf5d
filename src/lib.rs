//! A broadcaster of Server-Sent Events for actix-web: a server of its own, or a part of yours.
//!
//! Every subscriber is a cursor in one log. A [`Broadcaster`] actor appends each event to the log,
//! where it is encoded once, and tells each worker thread of it, which writes the same bytes to
//! every live subscriber of its own. Who cannot keep up is neither dropped nor buffered without
//! bound, but catches up from the log; who asks for what the log no longer has is told so by an
//! event named `gap`.
//!
//! In an application of your own:
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
//! The bounds on slow and misbehaving connections (`server.request_timeout`, `.write_timeout`) and
//! the fan-out that writes to sockets directly are the work of [`Server`], which the binary
//! `broadcaster` runs; an `HttpServer` has only its own, and streams an ordinary body.
//!
//! ARCHITECTURE.md, in the repository, says in which order the source reads best.

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
