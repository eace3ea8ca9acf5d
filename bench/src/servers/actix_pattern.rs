//! A server that follows the server-sent events example of the actix project: a list with one channel for
//! each client, behind a lock. Each message is sent to all channels concurrently, and encoded separately for
//! each client.

use std::{convert::Infallible, sync::Arc, time::Duration};

use actix_web::{
    App, HttpResponse, HttpServer,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    web::{self, Bytes},
};
use anyhow::Context as _;
use futures_util::{StreamExt as _, future::join_all};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{PATH, Serve};

/// Channel capacity for each client, in messages. When it is full, the broadcast waits for that client.
const CHANNEL_CAPACITY: usize = 10;
/// Pause between two checks for disconnected clients.
const SWEEP: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
enum Event {
    Comment(&'static str),
    Data(String),
}

impl Event {
    fn encode(&self) -> Bytes {
        match self {
            Self::Comment(text) => format!(": {text}\n\n").into(),
            Self::Data(data) => format!("data: {data}\n\n").into(),
        }
    }
}

#[derive(Debug, Default)]
struct Clients(Mutex<Vec<mpsc::Sender<Event>>>);

impl Clients {
    async fn join(&self) -> ReceiverStream<Event> {
        let (sender, receiver) = mpsc::channel(CHANNEL_CAPACITY);
        if sender.send(Event::Comment("connected")).await.is_ok() {
            self.0.lock().push(sender);
        }
        ReceiverStream::new(receiver)
    }

    async fn send(&self, data: &str) {
        let clients = self.0.lock().clone();
        join_all(
            clients
                .iter()
                .map(|client| client.send(Event::Data(data.to_owned()))),
        )
        .await;
    }

    async fn sweep(&self) {
        let clients = self.0.lock().clone();
        let mut alive = Vec::new();
        for client in clients {
            if client.send(Event::Comment("ping")).await.is_ok() {
                alive.push(client);
            }
        }
        *self.0.lock() = alive;
    }
}

/// Serves until the process ends.
pub(crate) fn serve(serve: &Serve) -> anyhow::Result<()> {
    let interval = Duration::from_millis(serve.interval);
    let addr = serve.addr;
    actix_web::rt::System::new().block_on(async move {
        let clients = Arc::new(Clients::default());
        let ticking = clients.clone();
        actix_web::rt::spawn(async move {
            let mut ticks = tokio::time::interval(interval);
            for number in 0_u64.. {
                ticks.tick().await;
                ticking.send(&format!("Message number: {number}")).await;
            }
        });
        let sweeping = clients.clone();
        actix_web::rt::spawn(async move {
            let mut sweeps = tokio::time::interval(SWEEP);
            loop {
                sweeps.tick().await;
                sweeping.sweep().await;
            }
        });
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::from(clients.clone()))
                .route(PATH, web::get().to(subscribe))
        })
        .bind(addr)?;
        let addr = server.addrs().pop().context("the server has no address")?;
        println!("listening on http://{addr}/");
        server.run().await?;
        Ok(())
    })
}

async fn subscribe(clients: web::Data<Clients>) -> HttpResponse {
    let events = clients.join().await;
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .streaming(events.map(|event| Ok::<_, Infallible>(event.encode())))
}
