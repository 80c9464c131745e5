//! Replies on their way to a socket, written many pieces at a time.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};
use lakebed_broker::MemoryPermit;
use tokio::net::TcpStream;

use crate::wire::Reply;

/// Pieces handed to one write.
const PIECES: usize = 64;

#[derive(Default)]
pub(crate) struct Outbox {
    pieces: VecDeque<Bytes>,
    len: usize,
    /// Bytes written so far.
    written: u64,
    /// Permits of replies, each to be given back when so many bytes are written.
    permits: VecDeque<(u64, MemoryPermit)>,
}

impl Outbox {
    pub fn push(&mut self, reply: Reply, permit: Option<MemoryPermit>) {
        self.len += reply.len;
        self.pieces.extend(reply.pieces);
        self.permits.extend(permit.map(|permit| (self.written + self.len as u64, permit)));
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
        while self.permits.front().is_some_and(|(until, _)| *until <= self.written) {
            self.permits.pop_front();
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
