//! TCP connections under actix-http: timeouts and limits that actix-http lacks, scanning of requests
//! before it parses them, and connections that leave it to carry an event stream.

mod body;
mod chunk_scan;
mod connection;
pub(crate) mod form;
mod request_scan;
mod stream;

#[cfg(feature = "fuzzing")]
pub(crate) use self::request_scan::{MAX_ID, RequestScan};
pub(crate) use self::{
    body::body,
    connection::{ClientIo, Connection, ConnectionLimits, NewStream, Shared, track_response},
    stream::Stream,
};
