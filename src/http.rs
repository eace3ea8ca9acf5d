//! HTTP on each connection, and the event stream that it may turn into.

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use actix_http::{HttpService, KeepAlive, Protocol, error::DispatchError};
use actix_service::{IntoServiceFactory as _, Service, apply_fn_factory, map_config};
use actix_web::{
    App,
    dev::AppConfig,
    middleware::{DefaultHeaders, from_fn},
    web,
};
use tokio::{net::TcpStream, sync::Semaphore};

use crate::{
    config::Config,
    connection::{ClientIo, NewStream, Shared, count_answer},
    descriptors::Room,
    fan_out::FanOut,
    hub::Hub,
    routes::{self, Page},
    stream::Stream,
};

/// Threads for each worker that read the files of the page.
const FILE_THREADS: usize = 8;

/// How much is written to a socket at a time. Small, because every connection may hold as much.
const WRITE_BUFFER: usize = 4096;

/// What accepts connections and serves them, when it is polled.
pub(crate) fn http_server(
    config: &Config,
    workers: usize,
    room: Room,
    listener: TcpListener,
    hub: &Hub,
    shared: &Arc<Shared>,
) -> io::Result<actix_server::Server> {
    let page = static_dir(&config.server.static_dir).map(|folder| Page {
        folder,
        open_files: Arc::new(Semaphore::new(room.files)),
    });
    let hub = web::Data::new(hub.clone());
    let started = web::Data::new(routes::Started(Instant::now()));
    let allowed_origins = config.cors.allowed_origins.clone();
    let shared = shared.clone();
    let request_timeout = config.server.request_timeout;
    let server = actix_server::Server::build()
        .workers(workers)
        .worker_max_blocking_threads(FILE_THREADS)
        .max_concurrent_connections(room.connections.div_ceil(workers))
        .shutdown_timeout(config.server.drain_timeout.as_secs() + 1)
        .disable_signals()
        .listen("http", listener, move || {
            let app = App::new()
                .app_data(hub.clone())
                .app_data(web::Data::from(shared.clone()))
                .app_data(started.clone())
                .wrap(routes::cors(&allowed_origins))
                .wrap(DefaultHeaders::new().add(("X-Content-Type-Options", "nosniff")))
                .wrap(from_fn(count_answer))
                .configure(|app| routes::configure(app, page.as_ref()));
            let http = HttpService::build()
                .keep_alive(KeepAlive::Timeout(request_timeout))
                .client_request_timeout(request_timeout)
                .client_disconnect_timeout(request_timeout)
                // A client that closed its half is gone: there is nothing to wait for.
                .h1_allow_half_closed(false)
                .h1_write_buffer_size(WRITE_BUFFER)
                .on_connect_ext(|io: &ClientIo, data: &mut _| {
                    actix_http::Extensions::insert(data, io.connection());
                })
                .finish(map_config(app.into_factory(), |()| AppConfig::default()));
            let shared = shared.clone();
            let fan_out = FanOut::start(hub.get_ref().clone());
            apply_fn_factory(http, move |socket: TcpStream, http| {
                serve(http, socket, shared.clone(), fan_out.clone())
            })
        })?
        .run();
    Ok(server)
}

/// Serves one connection until it is to be closed.
fn serve<H>(
    http: &H,
    socket: TcpStream,
    shared: Arc<Shared>,
    fan_out: FanOut,
) -> impl Future<Output = Result<(), DispatchError>> + use<H>
where
    H: Service<(ClientIo, Protocol, Option<SocketAddr>), Response = (), Error = DispatchError>,
{
    let peer = socket.peer_addr().ok();
    let socket = Rc::new(socket);
    let started = ClientIo::new(socket.clone(), shared.clone()).map(|io| {
        let connection = io.connection();
        // On the heap, so that what HTTP takes of memory is given back when a stream begins.
        let requests = Box::pin(http.call((io, Protocol::Http1, peer)));
        (connection, requests)
    });
    async move {
        let (connection, requests) = started.map_err(DispatchError::Io)?;
        requests.await?;
        // The token is given back after the socket is closed.
        let Some(NewStream {
            subscriber,
            token: _token,
        }) = connection.take_stream()
        else {
            return Ok(());
        };
        let stream = Stream {
            socket,
            subscriber,
            write_timeout: shared.limits.write_timeout,
        };
        stream.run(&fan_out).await;
        Ok(())
    }
}

fn static_dir(folder: &Path) -> Option<PathBuf> {
    if folder.is_dir() {
        return Some(folder.to_owned());
    }
    log::warn!(
        "there is no folder {} (server.static_dir): no page is served, everything else is",
        folder.display()
    );
    None
}
