//! The body of an answer on its way to the client. Its request is under way until the body is taken.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::answer::Content;
use crate::requests::RequestUnderWay;

/// The body of an answer, and the request that it answers.
#[derive(Debug)]
pub(crate) struct Sending {
    body: Content,
    _under_way: RequestUnderWay,
}

impl Sending {
    pub(crate) fn new(body: Content, under_way: RequestUnderWay) -> Self {
        Self { body, _under_way: under_way }
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = <Content as Body>::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
