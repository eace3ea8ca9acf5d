//! A stream of your own events in an actix-web application of your own.
//!
//! ```text
//! cargo run --example embed
//! curl -N http://127.0.0.1:8080/prices
//! curl -d 'gold 2400' http://127.0.0.1:8080/prices
//! ```

use actix_web::{App, HttpResponse, HttpServer, Responder, web};
use sse_broadcaster::{Event, EventName, Hub, HubSettings, subscribe};

/// Publishes the request's body, and answers with the event's id.
async fn publish(hub: web::Data<Hub>, price: String) -> impl Responder {
    let name = EventName::parse("price").expect("a word is a name");
    match hub.publish(Event::message(price).named(name)).await {
        Ok(id) => HttpResponse::Ok().body(id.to_string()),
        Err(err) => HttpResponse::ServiceUnavailable().body(err.to_string()),
    }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let (hub, gone) = Hub::start(HubSettings::default());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(hub.clone()))
            .service(web::resource("/prices").get(subscribe).post(publish))
    })
    // A client that closed its half of the connection is gone.
    .h1_allow_half_closed(false)
    .bind(("127.0.0.1", 8080))?
    .run();
    tokio::select! {
        ended = server => ended,
        // Without the Broadcaster nobody would get anything: better to exit and be restarted.
        _ = gone => Err(std::io::Error::other("the Broadcaster has stopped")),
    }
}
