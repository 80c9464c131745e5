//! Bodies of requests, and large ones of answers: their bytes are paid for as they come, and given back as they go.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use bytes::BytesMut;
use futures_util::{StreamExt, stream};
use lakebed_broker::{MemoryBudget, MemoryPermit};
use tokio::time::{Instant, timeout, timeout_at};

use crate::patience::Patience;
use crate::problem::{Kind, Problem};

/// So long a request waits for memory.
const MEMORY_WAIT: Duration = Duration::from_secs(10);
/// Pieces of a large answer.
const PIECE: usize = 64 << 10;
/// A large answer has to be taken within this: longer than clients wait for one.
const TAKING: Duration = Duration::from_secs(600);

pub async fn take(memory: &MemoryBudget, bytes: usize) -> Result<MemoryPermit, Problem> {
    let granted = timeout(MEMORY_WAIT, memory.acquire(bytes)).await;
    granted.map_err(|_| Problem::new(Kind::NO_MEMORY, "all memory for requests was in use for 10 s"))
}

/// Bytes of a body as they arrive, and what they hold of the budget.
pub struct Arriving<'a> {
    frames: BodyDataStream,
    pub patience: Patience,
    memory: &'a MemoryBudget,
    permit: Option<MemoryPermit>,
    pub buffer: BytesMut,
}

impl<'a> Arriving<'a> {
    pub fn new(body: Body, patience: Patience, memory: &'a MemoryBudget) -> Arriving<'a> {
        Arriving { frames: body.into_data_stream(), patience, memory, permit: None, buffer: BytesMut::new() }
    }

    /// Adds what comes next to the buffer; false at the end.
    pub async fn more(&mut self) -> Result<bool, Problem> {
        let late = |_| Problem::new(Kind::TIMEOUT, "it has 60 s, and a second more for each 64 KiB");
        let frame = timeout_at(self.patience.until(), self.frames.next()).await.map_err(late)?;
        let Some(frame) = frame else { return Ok(false) };
        let frame = frame.map_err(|e| Problem::bad_request(format!("the body ended too early: {e}")))?;
        self.patience.received(frame.len());
        self.pay(frame.len()).await?;
        self.buffer.extend_from_slice(&frame);
        Ok(true)
    }

    /// Bytes that were taken out of the buffer are given back when more come.
    async fn pay(&mut self, more: usize) -> Result<(), Problem> {
        let needed = self.buffer.len() + more;
        match &mut self.permit {
            Some(permit) if permit.bytes() >= needed => permit.shrink_to(needed.max(PIECE)),
            Some(permit) => {
                let missing = needed - permit.bytes();
                permit.merge(take(self.memory, missing).await?);
            }
            None => self.permit = Some(take(self.memory, needed).await?),
        }
        Ok(())
    }

    /// The whole body, if it is no larger than `most` bytes.
    pub async fn whole(mut self, most: usize) -> Result<(Bytes, Patience, Option<MemoryPermit>), Problem> {
        while self.more().await? {
            if self.buffer.len() > most {
                return Err(Problem::new(Kind::TOO_LARGE, format!("such a body has at most {most} bytes")));
            }
        }
        Ok((self.buffer.freeze(), self.patience, self.permit))
    }
}

/// An answer's body that gives its memory back as its pieces are taken, within [`TAKING`].
pub fn held(bytes: Bytes, permit: MemoryPermit) -> Body {
    let pieces = bytes.chunks(PIECE).map(Bytes::copy_from_slice).collect::<VecDeque<_>>();
    drop(bytes);
    let until = Instant::now() + TAKING;
    Body::from_stream(stream::unfold((pieces, permit), move |(mut pieces, mut permit)| async move {
        let piece = if Instant::now() < until { Ok(pieces.pop_front()?) } else { Err(io::ErrorKind::TimedOut) };
        permit.shrink_to((pieces.len() + 1) * PIECE);
        Some((piece.map_err(io::Error::from), (pieces, permit)))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patience::Reprieve;

    #[tokio::test]
    async fn a_body_is_paid_for_and_bounded() {
        let memory = MemoryBudget::new(1 << 20);
        let body = || Body::from(vec![b'x'; 100_000]);
        let patience = Patience::new(Reprieve::default());
        let (bytes, _, permit) =
            Arriving::new(body(), patience.clone(), &memory).whole(100_000).await.expect("a body that fits");
        assert_eq!((bytes.len(), memory.used()), (100_000, 100_000));
        drop(permit);
        let refused = Arriving::new(body(), patience, &memory).whole(99_999).await.expect_err("it is too large");
        assert_eq!((refused.kind, memory.used()), (Kind::TOO_LARGE, 0));
    }

    #[tokio::test]
    async fn an_answer_gives_back_what_it_held() {
        let memory = MemoryBudget::new(1 << 20);
        let body = held(Bytes::from(vec![1; 200_000]), memory.acquire(200_000).await);
        assert_eq!(memory.used(), 200_000);
        let sent = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
        assert_eq!((sent.len(), memory.used()), (200_000, 0));
    }
}
