//! Replies on their way to a socket, written many pieces at a time.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};
use lakebed_broker::MemoryPermit;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::wire::Reply;

/// Pieces handed to one write.
const PIECES: usize = 64;

#[derive(Default)]
pub(crate) struct Outbox {
    pieces: VecDeque<Bytes>,
    len: usize,
    /// Bytes written so far.
    written: u64,
    /// Permits of replies, in their order.
    charged: VecDeque<Charged>,
}

struct Charged {
    since: Instant,
    /// It is given back when so many bytes are written.
    until: u64,
    _permit: MemoryPermit,
}

impl Outbox {
    pub fn push(&mut self, reply: Reply, permit: Option<MemoryPermit>, now: Instant) {
        self.len += reply.len;
        self.pieces.extend(reply.pieces);
        let until = self.written + self.len as u64;
        self.charged.extend(permit.map(|permit| Charged { since: now, until, _permit: permit }));
    }

    /// Since when the oldest reply that holds memory is here.
    pub fn charged_since(&self) -> Option<Instant> {
        self.charged.front().map(|charged| charged.since)
    }

    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes not yet written.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Writes once what the socket takes. Cancelling loses nothing.
    pub async fn flush_some(&mut self, socket: &TcpStream) -> io::Result<()> {
        loop {
            socket.writable().await?;
            let mut slices = [IoSlice::new(&[]); PIECES];
            let used = self.pieces.len().min(PIECES);
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                *slice = IoSlice::new(piece);
            }
            match socket.try_write_vectored(&slices[..used]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.advance(written);
                    return Ok(());
                }
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn advance(&mut self, mut written: usize) {
        self.len -= written;
        self.written += written as u64;
        while self.charged.front().is_some_and(|charged| charged.until <= self.written) {
            self.charged.pop_front();
        }
        while let Some(piece) = self.pieces.front_mut() {
            if piece.len() > written {
                piece.advance(written);
                return;
            }
            written -= piece.len();
            self.pieces.pop_front();
        }
        if self.pieces.capacity() > PIECES {
            self.pieces = VecDeque::new();
        }
    }
}
