//! Serves HTTP on each connection, and then the event stream if a request opened one.

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_http::{HttpService, KeepAlive, Protocol, error::DispatchError};
use actix_service::{
    IntoServiceFactory as _, Service, ServiceFactory, apply_fn_factory, map_config,
};
use actix_web::{
    App,
    dev::AppConfig,
    middleware::{DefaultHeaders, from_fn},
    web,
};
use tokio::{net::TcpStream, sync::Semaphore};

use super::descriptors::DescriptorBudget;
use crate::{
    broadcaster::Hub,
    config::Config,
    delivery::FanOut,
    http::{self, Page, Policy, Resources, StartTime},
    transport::{ClientIo, NewStream, Shared, Stream, track_response},
};

/// Maximum number of threads per worker that read static files.
const FILE_THREADS: usize = 8;

/// How far the cached clock of actix-http may lag. The request timeout of actix-http is longer by this time.
/// Otherwise it could respond with 408 to a request that arrived within `server.request_timeout`. The module
/// `transport` enforces this timeout exactly.
const CLOCK_LATENESS: Duration = Duration::from_millis(500);

/// When the write buffer of actix-http has this many bytes, they are written to the socket. Small, because
/// every connection may have such a buffer.
const WRITE_BUFFER: usize = 4096;

/// Maximum number of open connections on the listener for operators. When it is reached, new connections wait
/// until an open one closes.
pub(crate) const ADMIN_CONNECTIONS: usize = 64;

/// What a listener needs to serve requests.
#[derive(Clone)]
struct Services {
    hub: web::Data<Hub>,
    policy: web::Data<Policy>,
    shared: Arc<Shared>,
    started: StartTime,
    allowed_origins: Vec<String>,
    resources: Resources,
    request_timeout: Duration,
}

/// Builds the server for the public listener. The server runs when the returned future is polled.
pub(crate) fn public_server(
    config: &Config,
    workers: usize,
    descriptor_budget: DescriptorBudget,
    listener: TcpListener,
    hub: &Hub,
    policy: &Arc<Policy>,
    shared: &Arc<Shared>,
) -> io::Result<actix_server::Server> {
    let page = static_dir(&config.server.static_dir).map(|folder| Page {
        folder,
        policy: config.server.content_security_policy(),
        open_files: Arc::new(Semaphore::new(descriptor_budget.files)),
    });
    let resources = Resources::Public {
        page,
        with_admin: config.server.admin_bind.is_none(),
        with_subscriptions: config.hub.subscriptions,
    };
    let mut site = Services::new(config, hub, policy, shared, resources);
    site.allowed_origins
        .clone_from(&config.cors.allowed_origins);
    let server = builder(config)
        .workers(workers)
        .worker_max_blocking_threads(FILE_THREADS)
        .max_concurrent_connections(descriptor_budget.connections.div_ceil(workers))
        .listen("http", listener, move || {
            site.service(Some(FanOut::start(site.hub.get_ref().clone())))
        })?;
    Ok(server.run())
}

/// Builds the server for the listener for operators (`server.admin_bind`). It has its own thread, so it
/// responds even when the worker threads of the public listener are busy. No page of another origin can read
/// its responses, because CORS allows no origin.
pub(crate) fn admin_server(
    config: &Config,
    listener: TcpListener,
    hub: &Hub,
    policy: &Arc<Policy>,
    shared: &Arc<Shared>,
) -> io::Result<actix_server::Server> {
    let site = Services::new(config, hub, policy, shared, Resources::Admin);
    let server = builder(config)
        .workers(1)
        .max_concurrent_connections(ADMIN_CONNECTIONS)
        .listen("admin", listener, move || site.service(None))?;
    Ok(server.run())
}

fn builder(config: &Config) -> actix_server::ServerBuilder {
    actix_server::Server::build()
        .shutdown_timeout(config.server.drain_timeout.as_secs() + 1)
        .disable_signals()
}

impl Services {
    fn new(
        config: &Config,
        hub: &Hub,
        policy: &Arc<Policy>,
        shared: &Arc<Shared>,
        resources: Resources,
    ) -> Self {
        Self {
            hub: web::Data::new(hub.clone()),
            policy: web::Data::from(policy.clone()),
            shared: shared.clone(),
            started: StartTime(Instant::now()),
            allowed_origins: Vec::new(),
            resources,
            request_timeout: config.server.request_timeout,
        }
    }

    /// Builds the service for the connections of one thread. `fan_out` writes events to the streams of this
    /// thread; `None`: there are no streams.
    fn service(
        &self,
        fan_out: Option<FanOut>,
    ) -> impl ServiceFactory<
        TcpStream,
        Config = (),
        Response = (),
        Error = DispatchError,
        InitError = (),
        Service: Service<TcpStream, Response = (), Error = DispatchError, Future: 'static>
                     + 'static,
        Future: 'static,
    > + use<> {
        let resources = self.resources.clone();
        let app = App::new()
            .app_data(self.hub.clone())
            .app_data(self.policy.clone())
            .app_data(web::Data::from(self.shared.clone()))
            .app_data(web::Data::new(self.started))
            .wrap(http::cors(&self.allowed_origins, self.policy.legacy))
            .wrap(from_fn(http::complete_errors))
            .wrap(DefaultHeaders::new().add(("X-Content-Type-Options", "nosniff")))
            .wrap(from_fn(track_response))
            .configure(|app| http::configure(app, &resources, self.hub.url()));
        let http = HttpService::build()
            .keep_alive(KeepAlive::Timeout(self.request_timeout))
            .client_request_timeout(self.request_timeout + CLOCK_LATENESS)
            .client_disconnect_timeout(self.request_timeout)
            // A client that closed its sending side is treated as disconnected.
            .h1_allow_half_closed(false)
            .h1_write_buffer_size(WRITE_BUFFER)
            .on_connect_ext(|io: &ClientIo, data: &mut _| {
                actix_http::Extensions::insert(data, io.connection());
            })
            .finish(map_config(app.into_factory(), |()| AppConfig::default()));
        let shared = self.shared.clone();
        apply_fn_factory(http, move |socket: TcpStream, http| {
            serve(http, socket, shared.clone(), fan_out.clone())
        })
    }
}

/// Serves the requests on one connection, and then its event stream if a request has begun one.
fn serve<H>(
    http: &H,
    socket: TcpStream,
    shared: Arc<Shared>,
    fan_out: Option<FanOut>,
) -> impl Future<Output = Result<(), DispatchError>> + use<H>
where
    H: Service<(ClientIo, Protocol, Option<SocketAddr>), Response = (), Error = DispatchError>,
{
    let peer = socket.peer_addr().ok();
    let socket = Rc::new(socket);
    let started = ClientIo::new(socket.clone(), shared.clone()).map(|io| {
        let connection = io.connection();
        // Boxed, so that the memory for handling requests is freed before an event stream begins.
        let requests = Box::pin(http.call((io, Protocol::Http1, peer)));
        (connection, requests)
    });
    async move {
        let (connection, requests) = started.map_err(DispatchError::Io)?;
        requests.await?;
        let (Some(fan_out), Some(mut begun)) = (fan_out, connection.take_stream()) else {
            return Ok(());
        };
        drop(connection);
        // `begun` is only borrowed here, because it must be dropped after the socket is closed. It contains
        // the tracker token that makes a graceful shutdown wait for this stream.
        let NewStream {
            subscriber,
            head,
            early_end,
            ..
        } = &mut *begun;
        subscriber.begin_with(std::mem::take(head).freeze());
        let stream = Stream {
            socket,
            subscriber,
            early_end: early_end.take(),
            write_timeout: shared.limits.write_timeout,
        };
        // Boxed, because otherwise the future of every connection would include the memory of a stream twice,
        // even if the connection has no stream.
        Box::pin(stream.run(&fan_out)).await;
        Ok(())
    }
}

fn static_dir(folder: &Path) -> Option<PathBuf> {
    if folder.is_dir() {
        return Some(folder.to_owned());
    }
    log::warn!(
        "there is no folder {} (server.static_dir): the server serves everything except static files",
        folder.display()
    );
    None
}
