//! A [`Body`] as an HTTP request body: its pieces one by one, nothing concatenated, length known.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use aws_sdk_s3::primitives::SdkBody;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::Body;

/// Cannot be sent twice, which nobody does.
pub(super) fn sdk_body(body: &Body) -> SdkBody {
    SdkBody::from_body_1_x(Rope { chunks: body.chunks().to_vec().into_iter(), left: body.len() })
}

struct Rope {
    chunks: std::vec::IntoIter<Bytes>,
    left: u64,
}

impl http_body::Body for Rope {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.chunks.find(|chunk| !chunk.is_empty());
        self.left -= next.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Poll::Ready(next.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
