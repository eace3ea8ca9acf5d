//! Tells a connection of the responses to its requests.

use actix_http::ConnectionType;
use actix_web::{
    body::MessageBody,
    dev::{Path, ServiceRequest, ServiceResponse, Url},
    http::{Uri, header::HeaderMap},
    middleware::Next,
};

use super::state::Connection;

/// Middleware that tells the connection of each response. If the client offered an upgrade, it sets
/// `Connection: close`: actix-http would send `Connection: upgrade`, and then close anyway.
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
    // Only after refusals: they are short and written in one go. Closing early would cut off a longer
    // response, such as a file.
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

/// Empties the request that was answered. actix-web keeps 128 of them a thread for reuse, each with
/// its headers and the connection's read buffer: 15 KB that a subscriber would leave behind.
///
/// Panics if the handler kept the request.
fn forget_request<B>(response: ServiceResponse<B>) -> ServiceResponse<B> {
    let (request, response) = response.into_parts();
    let mut request = ServiceRequest::from_request(request);
    *request.match_info_mut() = Path::new(Url::new(Uri::default()));
    let head = request.head_mut();
    head.uri = Uri::default();
    head.headers = HeaderMap::new();
    request.into_response(response)
}
