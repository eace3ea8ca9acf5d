//! The library embedded in an actix-web application, and the stream read by an independent parser.

use std::{net::SocketAddr, pin::pin, sync::mpsc, thread, time::Duration};

use crate::support::{
    client::{Stream, get},
    server::{TestServer, block_on},
};
use actix_web::{App, HttpServer, web};
use eventsource_stream::Eventsource as _;
use futures_util::{StreamExt as _, stream};
use sse_broadcaster::{Event, EventName, Hub, HubSettings, metrics, subscribe};

/// An application that embeds the library, with its stream at `/mine`.
fn embedding_app(settings: HubSettings) -> (SocketAddr, Hub) {
    let (started, start) = mpsc::channel();
    thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let (hub, _gone) = Hub::start(settings);
            let shared = hub.clone();
            let server = HttpServer::new(move || {
                App::new()
                    .app_data(web::Data::new(shared.clone()))
                    .route("/mine", web::get().to(subscribe))
                    .route("/metrics", web::get().to(metrics))
            })
            .workers(1)
            .bind(("127.0.0.1", 0))
            .unwrap();
            started.send((server.addrs()[0], hub)).unwrap();
            server.run().await.unwrap();
        });
    });
    start.recv().unwrap()
}

#[test]
fn the_handler_works_in_an_embedding_application() {
    let (addr, hub) = embedding_app(HubSettings::default());

    let mut stream = Stream::request(addr, "/mine", b"");
    stream.chunk();
    let id = block_on(hub.publish(Event::message("hello"))).unwrap();
    let live = stream.event().unwrap();
    block_on(hub.drain()).unwrap();

    assert_eq!(live.data, "hello");
    assert_eq!(live.id, Some(id.to_string()));
    assert_eq!(stream.event(), None);
    assert_eq!(hub.totals().delivered, 1);
}

#[test]
fn an_embedded_stream_splits_a_large_event_into_small_chunks() {
    let (addr, hub) = embedding_app(HubSettings::default());
    let text = "0123456789".repeat(10_000);
    let mut live = Stream::request(addr, "/mine", b"");
    live.chunk();

    let id = block_on(hub.publish(Event::message(&text))).unwrap();
    let mut replayed = Stream::request(addr, "/mine?last_event_id=earliest", b"");
    replayed.chunk();

    let expected = format!("id: {id}\ndata: {text}\n\n");
    for stream in [&mut live, &mut replayed] {
        let mut got = Vec::new();
        while got.len() < expected.len() {
            let chunk = stream.chunk().unwrap();
            assert!(chunk.len() <= 4000, "{}", chunk.len());
            got.extend(chunk);
        }
        assert_eq!(String::from_utf8(got).unwrap(), expected);
    }
}

#[test]
fn an_embedded_stream_has_heartbeats_and_metrics() {
    let mut settings = HubSettings::default();
    settings.live.heartbeat = Duration::from_millis(200);
    let (addr, _hub) = embedding_app(settings);

    let mut stream = Stream::request(addr, "/mine", b"");
    stream.chunk();

    assert_eq!(stream.chunk().unwrap(), b":\n");
    let metrics = get(addr, "/metrics").body;
    assert!(metrics.contains("broadcaster_subscribers{state=\"live\"} 1\n"));
}

/// Parses a stream that arrives in pieces of this length in bytes.
fn parsed(body: &[u8], piece: usize) -> Vec<eventsource_stream::Event> {
    let chunks = body.chunks(piece).map(|chunk| Ok::<_, ()>(chunk.to_vec()));
    block_on(async {
        pin!(stream::iter(chunks).eventsource())
            .map(|event| event.unwrap())
            .collect()
            .await
    })
}

#[test]
fn an_independent_parser_reads_the_published_events() {
    let mut server = TestServer::quiet();
    let texts = [
        "plain",
        "",
        " a leading space",
        "two\nlines",
        "caf\u{e9} \u{1f980}",
        "data: x\n\nid: y",
        ": no comment",
    ];
    let mut ids: Vec<_> = texts.iter().map(|text| server.publish(text)).collect();
    let named = Event::message("named").named(EventName::parse("price").unwrap());
    ids.push(block_on(server.hub.publish(named)).unwrap());

    let mut stream = Stream::resume(server.addr, Some("no-id"));
    server.wait_for_live(1);
    server.begin_stop();
    let mut body = Vec::new();
    while let Some(chunk) = stream.chunk() {
        body.extend(chunk);
    }

    for piece in [1, 3, 1000] {
        let mut events = parsed(&body, piece);
        let goodbye = events.pop().unwrap();
        assert_eq!((&*goodbye.event, &*goodbye.data), ("checkpoint", "{}"));
        assert_eq!(goodbye.id, ids.last().unwrap().to_string());
        assert_eq!(events[0].event, "gap");
        assert!(events[0].data.contains("\"reason\":\"unknown\""));
        let messages = &events[1..];
        for ((event, text), id) in messages.iter().zip(texts).zip(&ids) {
            assert_eq!(event.data, text);
            assert_eq!(event.event, "message");
            assert_eq!(event.id, id.to_string());
        }
        assert_eq!(messages.len(), texts.len() + 1);
        assert_eq!(messages[texts.len()].event, "price");
    }
    server.join().unwrap();
}
