//! `GET /events/sse`: the event stream.

use std::convert::Infallible;

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError as _,
    body::BodyStream,
    dev::Payload,
    http::{
        Method, Version,
        header::{Accept, CACHE_CONTROL, Header as _, HeaderName, HeaderValue, TRANSFER_ENCODING},
    },
    web,
};
use futures_util::stream;

use super::problem::Problem;
use crate::{
    body::body,
    broadcaster::Subscribe,
    connection::{Connection, Shared},
    hub::Hub,
    resume::resume_from,
    subscriber::Subscriber,
    wire::{self, Framing},
};

/// Where the server has its stream.
pub(super) const PATH: &str = "/events/sse";

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Answers with the event stream of the application's [`Hub`], which is to be there as
/// `web::Data<Hub>`.
///
/// It begins where the request's `Last-Event-ID` header says, or its query's `last_event_id` or
/// `lastEventId`, or else with the next event. An `Accept` header without `text/event-stream` is
/// answered with 406, HEAD with the headers alone. Where there is no room, the answer is a stream,
/// too, that tells the client when to come again: a browser would give up for good on an error.
pub async fn subscribe(
    request: HttpRequest,
    payload: web::Payload,
    hub: web::Data<Hub>,
) -> HttpResponse {
    answer(&request, &payload.into_inner(), &hub)
        .await
        .unwrap_or_else(|problem| problem.error_response())
}

async fn answer(
    request: &HttpRequest,
    payload: &Payload,
    hub: &Hub,
) -> Result<HttpResponse, Problem> {
    if !accepts_event_stream(request) {
        return Err(Problem::NotAcceptable);
    }
    if request.method() == Method::HEAD {
        return Ok(event_stream().body(actix_web::body::None::new()));
    }
    // Both would outlast the stream: a body that is not read, and requests that are not answered.
    let connection = request.conn_data::<Connection>();
    let is_alone = || connection.is_none_or(Connection::is_at_its_last_request);
    if !matches!(payload, Payload::None) || !is_alone() {
        return Err(Problem::NotAlone);
    }
    let shared = request.app_data::<web::Data<Shared>>();
    // From here on a drain waits for it.
    let token = shared.map(|shared| shared.streams.token());
    let last_event_id = request.headers().get(LAST_EVENT_ID);
    let from = resume_from(
        last_event_id.map(HeaderValue::as_bytes),
        request.query_string(),
    );
    let answer = hub.ask(Subscribe { from }).await;
    let subscribed = match answer.map_err(|_| Problem::BroadcasterSilent)? {
        Ok(subscribed) => subscribed,
        Err(reason) => {
            log::debug!("turned a subscriber away: {reason:?}");
            let farewell = wire::farewell(hub.jittered_retry());
            return Ok(event_stream().body(farewell.bytes(Framing::Plain)));
        }
    };
    // Another may have come meanwhile. From the moment the stream begins, none is read.
    if !is_alone() {
        return Err(Problem::NotAlone);
    }
    let subscriber = |framing| Subscriber::new(hub.clone(), subscribed, framing);
    // HTTP/1.0 knows no chunks: there the end of the connection is that of the stream.
    let chunked = request.version() >= Version::HTTP_11;
    let mut head = event_stream();
    match connection.zip(token) {
        // The connection itself sends what follows the head, in chunks of its own.
        Some((connection, token)) => {
            let framing = if chunked {
                head.insert_header((TRANSFER_ENCODING, "chunked"));
                Framing::Chunked
            } else {
                Framing::Plain
            };
            connection.begin_stream(subscriber(framing), token);
            let nothing = stream::empty::<Result<web::Bytes, Infallible>>();
            let mut response = head.body(BodyStream::new(nothing));
            response.head_mut().no_chunking(true);
            Ok(response)
        }
        None => {
            let mut response = head.body(body(subscriber(Framing::Plain)));
            response.head_mut().no_chunking(!chunked);
            Ok(response)
        }
    }
}

/// The head of a stream. Its connection is closed at its end: nothing else is answered on it.
fn event_stream() -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-cache, no-transform"))
        .insert_header((X_ACCEL_BUFFERING, "no"))
        .force_close();
    response
}

/// Whether the most specific range that covers `text/event-stream` gives it a weight above zero. No
/// header, or one that cannot be read, excludes nothing.
fn accepts_event_stream(request: &HttpRequest) -> bool {
    let ranges = match Accept::parse(request) {
        Ok(Accept(ranges)) if !ranges.is_empty() => ranges,
        _ => return true,
    };
    ranges
        .iter()
        .filter_map(|range| {
            let specific = match (range.item.type_().as_str(), range.item.subtype().as_str()) {
                ("text", "event-stream") => 2,
                ("text", "*") => 1,
                ("*", "*") => 0,
                _ => return None,
            };
            Some((specific, range.quality))
        })
        .max()
        .is_some_and(|(_, quality)| quality > actix_web::http::header::Quality::ZERO)
}

#[cfg(test)]
mod tests {
    use actix_web::{http::header::ACCEPT, test::TestRequest};

    use super::*;

    fn accepts(header: &str) -> bool {
        let request = TestRequest::default()
            .insert_header((ACCEPT, header))
            .to_http_request();
        accepts_event_stream(&request)
    }

    #[test]
    fn what_excludes_event_streams_is_told_from_what_does_not() {
        for header in [
            "text/event-stream",
            "*/*",
            "text/*",
            "text/html, */*;q=0.1",
            "application/json, text/event-stream;q=0.5",
            "*/*;q=0, text/event-stream",
            "TEXT/Event-Stream",
            "",
        ] {
            assert!(accepts(header), "{header:?}");
        }
        for header in [
            "application/json",
            "text/html",
            "text/event-stream;q=0",
            "*/*, text/event-stream;q=0",
            "text/*;q=0, */*",
        ] {
            assert!(!accepts(header), "{header:?}");
        }
        assert!(accepts_event_stream(
            &TestRequest::default().to_http_request()
        ));
    }
}
