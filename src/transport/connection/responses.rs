//! Middleware that tells a connection when a request is answered.
//!
//! The connection then reads the next request, closes after a refusal, or becomes an event stream.

use actix_http::ConnectionType;
use actix_web::{
    body::MessageBody,
    dev::{Path, ServiceRequest, ServiceResponse, Url},
    http::{Uri, header::HeaderMap},
    middleware::Next,
};

use super::state::Connection;

/// Middleware that tells the connection when its request is answered. If the client offered a protocol
/// upgrade, this also sets `Connection: close`, because actix-http would send `Connection: upgrade` and then
/// close anyway.
pub(crate) async fn track_response(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let connection = request.conn_data::<Connection>().cloned();
    let offers_upgrade = request.head().upgrade();
    let mut response = next.call(request).await;
    if let Ok(response) = &mut response
        && offers_upgrade
    {
        let head = response.response_mut().head_mut();
        head.set_connection_type(ConnectionType::Close);
    }
    let Some(connection) = connection else {
        return response;
    };
    let state = &connection.0;
    connection.note_answer();
    // If a request is refused before its body of known length is complete, close the connection. It then
    // closes after the first write to it. That write contains all of a short error response. A longer
    // response, such as a file, would be cut off, so do not close after other responses.
    let is_refusal = response.as_ref().is_ok_and(|response| {
        let status = response.status();
        status.is_client_error() || status.is_server_error()
    });
    if is_refusal && state.is_in_sized_body.get() {
        state.closes_after_body.set(true);
    }
    if connection.is_stream() {
        return response.map(forget_request);
    }
    response
}

/// Clears the answered request. actix-web keeps up to 128 requests per thread for reuse, each with its
/// headers and the read buffer of its connection. Without this function, a subscriber would leave 15 KB
/// allocated.
///
/// Panics if the handler kept a clone of the request.
fn forget_request<B>(response: ServiceResponse<B>) -> ServiceResponse<B> {
    let (request, response) = response.into_parts();
    let mut request = ServiceRequest::from_request(request);
    *request.match_info_mut() = Path::new(Url::new(Uri::default()));
    let head = request.head_mut();
    head.uri = Uri::default();
    head.headers = HeaderMap::new();
    request.into_response(response)
}
