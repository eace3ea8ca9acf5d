//! An event stream as the body of a response, for an application whose connections are not ours.

use actix_web::body::{BodyStream, MessageBody};
use bytes::Bytes;
use futures_util::stream;
use tokio::task::coop::consume_budget;

use crate::{
    broadcaster::BroadcasterGone,
    delivery::{Next, Subscriber},
    metrics::Close,
};

/// How much is given as one chunk, in bytes, so that no connection's write buffer grows by it.
const CHUNK_BYTES: usize = 4000;

/// Where a stream stands.
struct Sending {
    subscriber: Subscriber,
    /// What is to be given out before anything else is asked for.
    rest: Bytes,
    ended: bool,
}

/// What the subscriber is to be sent. Never yields an empty chunk: actix-http would end the
/// response there.
pub(crate) fn body(subscriber: Subscriber) -> impl MessageBody {
    let start = Sending {
        subscriber,
        rest: Bytes::new(),
        ended: false,
    };
    BodyStream::new(Box::pin(stream::try_unfold(start, async |mut sending| {
        let chunk = sending.next().await?;
        Ok::<_, BroadcasterGone>(chunk.map(|chunk| (chunk, sending)))
    })))
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.subscriber.count_close(if self.ended {
            Close::Drained
        } else {
            Close::Left
        });
    }
}

impl Sending {
    async fn next(&mut self) -> Result<Option<Bytes>, BroadcasterGone> {
        while self.rest.is_empty() {
            if self.ended {
                return Ok(None);
            }
            match self.subscriber.next() {
                Next::Bytes(bytes) => self.rest = bytes,
                Next::Nothing => consume_budget().await,
                Next::Older => self.rest = self.subscriber.fetch().await?,
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
