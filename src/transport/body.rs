//! An event stream as an ordinary response body, for an application that embeds the hub.
//!
//! Such an application owns its connections, so the fan-out cannot write to their sockets. Each stream reads
//! the log itself.

use actix_web::body::{BodyStream, MessageBody};
use bytes::Bytes;
use futures_util::stream;
use tokio::task::coop::consume_budget;

use crate::{
    broadcaster::BroadcasterGone,
    delivery::{Next, Subscriber},
    metrics::Close,
};

/// Maximum bytes that the response body yields at once. Larger pieces would make the write buffer of the
/// connection grow.
const CHUNK_BYTES: usize = 4000;

/// The state of one event stream that is sent as a response body.
struct BodyState {
    subscriber: Subscriber,
    /// Bytes that must be sent before the next call of [`Subscriber::next`].
    rest: Bytes,
    ended: bool,
}

/// Returns the response body that sends the events of a subscriber.
pub(crate) fn body(subscriber: Subscriber) -> impl MessageBody {
    let start = BodyState {
        subscriber,
        rest: Bytes::new(),
        ended: false,
    };
    BodyStream::new(Box::pin(stream::try_unfold(start, async |mut sending| {
        let chunk = sending.next().await?;
        Ok::<_, BroadcasterGone>(chunk.map(|chunk| (chunk, sending)))
    })))
}

impl Drop for BodyState {
    fn drop(&mut self) {
        self.subscriber.count_close(if self.ended {
            self.subscriber.close_reason()
        } else {
            Close::Left
        });
    }
}

impl BodyState {
    async fn next(&mut self) -> Result<Option<Bytes>, BroadcasterGone> {
        while self.rest.is_empty() {
            if self.ended {
                return Ok(None);
            }
            match self.subscriber.next() {
                Next::Bytes(bytes) => self.rest = bytes,
                Next::Nothing => consume_budget().await,
                Next::Archive => self.rest = self.subscriber.fetch().await?,
                Next::Wait => self.rest = self.subscriber.wait().await?.unwrap_or_default(),
                Next::End(bytes) => {
                    self.rest = bytes;
                    self.ended = true;
                }
            }
        }
        let length = self.rest.len().min(CHUNK_BYTES);
        self.subscriber.count_sent(length);
        Ok(Some(self.rest.split_to(length)))
    }
}
