//! The body of an HTTP answer: segments of bytes whose length is known.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// Sends segments one after the other, without joining them.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    segments: VecDeque<Bytes>,
}

impl From<Vec<Bytes>> for Segments {
    fn from(segments: Vec<Bytes>) -> Self {
        Self { segments: segments.into() }
    }
}

impl From<&'static str> for Segments {
    fn from(text: &'static str) -> Self {
        Self::from(vec![Bytes::from_static(text.as_bytes())])
    }
}

impl Body for Segments {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.segments.pop_front().map(|segment| Ok(Frame::data(segment))))
    }

    fn is_end_stream(&self) -> bool {
        self.segments.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.segments.iter().map(|segment| segment.len() as u64).sum())
    }
}
