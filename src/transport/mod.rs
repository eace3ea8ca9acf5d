//! TCP connections, one layer below actix-http.
//!
//! This layer does what actix-http cannot: it adds timeouts and limits, scans requests before they are
//! parsed, and takes over a connection that carries an event stream.

mod body;
mod chunk_scan;
mod connection;
mod early_end;
pub(crate) mod form;
mod request_scan;
mod stream;

#[cfg(feature = "fuzzing")]
pub(crate) use self::request_scan::{MAX_ID, RequestScan};
pub(crate) use self::{
    body::body,
    connection::{ClientIo, Connection, ConnectionLimits, NewStream, Shared, track_response},
    early_end::EarlyEnd,
    stream::Stream,
};
