//! A typical server with axum: tokio's broadcast channel, `Sse`, and its keep-alive.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
    routing::get,
};
use futures_util::{Stream, StreamExt as _};
use tokio::{net::TcpListener, sync::broadcast};
use tokio_stream::wrappers::BroadcastStream;

use super::{PATH, Serve};

/// Channel capacity in messages. A client that falls further behind loses the oldest messages.
const CHANNEL_CAPACITY: usize = 1024;

/// Serves until the process ends.
pub(crate) fn serve(serve: &Serve) -> anyhow::Result<()> {
    let interval = Duration::from_millis(serve.interval);
    let addr = serve.addr;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        let (sender, _) = broadcast::channel(CHANNEL_CAPACITY);
        let ticking = sender.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(interval);
            for number in 0_u64.. {
                ticks.tick().await;
                // Sending fails while there are no subscribers.
                ticking.send(format!("Message number: {number}")).ok();
            }
        });
        let app = Router::new().route(PATH, get(subscribe)).with_state(sender);
        let listener = TcpListener::bind(addr).await?;
        println!("listening on http://{}/", listener.local_addr()?);
        axum::serve(listener, app).await?;
        Ok(())
    })
}

async fn subscribe(
    State(sender): State<broadcast::Sender<String>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let messages = BroadcastStream::new(sender.subscribe());
    let events =
        messages.filter_map(async |message| Some(Ok(Event::default().data(message.ok()?))));
    Sse::new(events).keep_alive(KeepAlive::default())
}
