//! A response body that holds a semaphore permit until it is sent or dropped.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    body::{BodySize, MessageBody},
    web,
};
use tokio::sync::OwnedSemaphorePermit;

pub(super) struct WithPermit<B> {
    body: B,
    _permit: OwnedSemaphorePermit,
}

impl<B> WithPermit<B> {
    pub(super) fn new(body: B, permit: OwnedSemaphorePermit) -> Self {
        Self {
            body,
            _permit: permit,
        }
    }
}

impl<B: MessageBody + Unpin> MessageBody for WithPermit<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<web::Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}
