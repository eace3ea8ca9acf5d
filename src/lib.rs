//! A broadcaster of Server-Sent Events for actix-web: a standalone server, or a part of your application.
//!
//! Every subscriber is a cursor in one log. [`Hub::publish`] appends an event to the log, where it is encoded
//! once. The log then signals each worker thread, and the thread writes the same bytes to all its live
//! subscribers. A slow subscriber does not delay others, and nothing is queued for it: it catches up from the
//! log. If a subscriber needs events that the log no longer has, it receives an event named `gap`. A
//! [`Broadcaster`] actor registers subscribers and runs the timer of the ticker, which publishes numbered
//! messages.
//!
//! # A hub in your application
//!
//! [`Hub`], [`HubSettings`] and the handlers [`subscribe`] and [`metrics()`]:
//!
//! ```
//! use actix_web::{App, HttpServer, web};
//! use sse_broadcaster::{Event, Hub, HubSettings, subscribe};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # actix_web::rt::System::new().block_on(async {
//! let (hub, _gone) = Hub::start(HubSettings::default());
//! let app = hub.clone();
//! let server = HttpServer::new(move || {
//!     App::new()
//!         .app_data(web::Data::new(app.clone()))
//!         .route("/events", web::get().to(subscribe))
//! })
//! .h1_allow_half_closed(false)
//! .workers(1)
//! .bind(("127.0.0.1", 0))?
//! .run();
//! let handle = server.handle();
//! actix_web::rt::spawn(server);
//!
//! hub.publish(Event::message("hello")).await?;
//! # handle.stop(false).await;
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! # Events
//!
//! [`Event`], with its [`Topic`], [`EventName`] and [`GivenId`]. Each field is validated when it is created:
//!
//! ```
//! use sse_broadcaster::{Event, EventName, InvalidTopic, Topic};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let event = Event::message("42.17")
//!     .on(Topic::parse("https://example.com/prices/acme")?)
//!     .named(EventName::parse("price")?);
//! assert_eq!(event.data(), "42.17");
//! assert_eq!(Topic::parse("a\nb"), Err(InvalidTopic::Invisible));
//! # Ok(())
//! # }
//! ```
//!
//! # The log
//!
//! [`LogKind`] says where the log is stored: in memory, in a file, or in Redis. [`Retention`] bounds the
//! events in memory:
//!
//! ```
//! use sse_broadcaster::{Event, Hub, HubSettings, LogKind};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("events.redb");
//! # actix_web::rt::System::new().block_on(async {
//! let log = LogKind::File { path, sync_interval: None };
//! let (hub, _gone) = Hub::start_with_log(HubSettings::default(), log)?;
//! let id = hub.publish(Event::message("on disk")).await?;
//! assert_eq!(id.seq, 1);
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! # The server
//!
//! [`Server`] is what the binary `broadcaster` runs, [`Reloader`] applies a changed config, and [`token`]
//! creates access tokens. `Server` limits slow and misbehaving connections (`server.request_timeout`,
//! `server.write_timeout`), and its fan-out writes to sockets directly. In an `HttpServer` of your own, only
//! the limits of actix-web apply, and streams are ordinary response bodies.
//!
//! ```
//! use sse_broadcaster::{Event, Server, config::Config};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # actix_web::rt::System::new().block_on(async {
//! let mut config = Config::default();
//! config.server.bind = "127.0.0.1:0".to_owned();
//! let server = Server::build(&config)?;
//! println!("listening on {}", server.addr());
//!
//! let hub = server.hub().clone();
//! server
//!     .run_until(async move {
//!         hub.publish(Event::message("hello")).await.ok();
//!     })
//!     .await?;
//! # Ok(())
//! # })
//! # }
//! ```
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

// A hub in an application.
pub use self::broadcaster::{
    AtTokenLimit, Broadcaster, BroadcasterGone, Drain, Gone, Hub, HubSettings, LiveSettings,
    PublishError, Reconfigure,
};
pub use self::http::{AdminTokenError, check_admin_token, metrics, subscribe};
pub use self::matching::{HubUrl, InvalidHubUrl};
pub use self::metrics::Totals;

// Events.
pub use self::event::{
    Event, EventId, EventName, GivenId, InvalidEventId, InvalidEventName, InvalidGivenId,
    InvalidTopic, Topic,
};

// The log.
pub use self::event_log::{
    InvalidRedisUrl, LogError, LogKind, LogUnavailable, PublishSettings, RedisSettings, RedisUrl,
    Retention, TickerSettings, ValueRetention,
};

// The server.
pub use self::auth::{KeyError, check_issuers};
pub use self::server::{Reloadable, Reloader, Server, token};
