//! Decides from the `Accept` header of a request whether the client accepts an event stream. A missing or
//! invalid header excludes nothing.

use actix_web::{
    HttpRequest,
    http::header::{Accept, Header as _, Quality},
};

/// Returns whether the client accepts `text/event-stream`: the most specific media range that includes this
/// type must have a weight (`q`) above zero. A missing, empty or invalid header accepts every type.
pub(super) fn accepts_event_stream(request: &HttpRequest) -> bool {
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
        .is_some_and(|(_, quality)| quality > Quality::ZERO)
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
    fn a_header_that_excludes_event_streams_is_recognized() {
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
