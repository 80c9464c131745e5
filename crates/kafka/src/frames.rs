//! Cuts a connection's bytes into frames, without ever holding more than was sent.
//!
//! Small frames are copied out of one shared buffer; a big one is read into a buffer of its own, so that its record
//! batches can be kept without a copy. Either way what is kept pins nothing else. A big buffer grows as its bytes arrive, but what a connection
//! has sent before is taken for granted: in a steady stream nothing is copied twice.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::net::TcpStream;

/// Up to this many bytes a frame is cut from the shared buffer.
pub(crate) const SMALL: usize = 16 * 1024;
/// Without a past to go by, a big frame's buffer starts with this much.
const FIRST_CAPACITY: usize = 16 * 1024;
/// However much a connection has sent before, no more of a frame is taken for granted.
const MOST_TRUSTED: usize = 4 << 20;
/// The largest request but Produce: what it costs to answer is many times its size.
pub(crate) const MAX_QUERY: usize = 4 << 20;
const PRODUCE: [u8; 2] = [0, 0];
/// The shared buffer: what one read may bring of several small frames.
const SHARED_CAPACITY: usize = 32 * 1024;
/// Behind a big frame most likely comes another one: read little more than its size, since it has to be copied.
const PEEK_CAPACITY: usize = 256;
const SIZE: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request of {0} bytes, where {min} to {1} are allowed", min = MIN_FRAME)]
pub(crate) struct FrameSize(i32, usize);

/// The shortest request header: API, version, correlation id.
const MIN_FRAME: usize = 8;

/// What stands next in the buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Not one byte: the peer is done for now.
    Nothing,
    /// The beginning of a frame.
    Partial,
    /// A frame of so many bytes begins, of which nothing more may be read before [`Frames::admit`].
    Announced(usize),
    /// The frame that is being read has used up its memory, and goes on with so many bytes more: [`Frames::grow`].
    Short(usize),
    /// A frame is complete: [`Frames::take`].
    Complete,
}

pub(crate) struct Frames {
    shared: BytesMut,
    /// The frame that is being read into a buffer of its own, and its size.
    big: Option<(BytesMut, usize)>,
    /// The frame at the front of `shared` was admitted.
    admitted: bool,
    /// Size of the largest big frame so far.
    largest: usize,
    last_was_big: bool,
    max_frame: usize,
}

impl Frames {
    pub fn new(max_frame: usize) -> Self {
        Self {
            shared: BytesMut::new(),
            big: None,
            admitted: false,
            largest: 0,
            last_was_big: false,
            max_frame: max_frame.min(i32::MAX as usize),
        }
    }

    /// What was read and not yet taken, where no frame has been admitted: for telling what a peer speaks.
    pub fn first_bytes(&self) -> &[u8] {
        &self.shared
    }

    pub fn next(&self) -> Result<Next, FrameSize> {
        if let Some((buffer, size)) = &self.big {
            return Ok(match *size - buffer.len() {
                0 => Next::Complete,
                missing if buffer.len() == buffer.capacity() => Next::Short(missing.min(buffer.len())),
                _ => Next::Partial,
            });
        }
        let Some(size) = self.size()? else {
            return Ok(if self.shared.is_empty() { Next::Nothing } else { Next::Partial });
        };
        if size > MAX_QUERY && !self.admitted {
            match self.shared[SIZE..].first_chunk() {
                None => return Ok(Next::Partial),
                Some(&PRODUCE) => {}
                Some(_) => return Err(FrameSize(size as i32, MAX_QUERY)),
            }
        }
        Ok(match (self.admitted, self.shared.len() - SIZE >= size) {
            (false, _) => Next::Announced(size),
            (true, true) => Next::Complete,
            (true, false) => Next::Partial,
        })
    }

    fn size(&self) -> Result<Option<usize>, FrameSize> {
        let Some(size) = self.shared.first_chunk::<SIZE>() else { return Ok(None) };
        let size = i32::from_be_bytes(*size);
        match usize::try_from(size) {
            Ok(n) if (MIN_FRAME..=self.max_frame).contains(&n) => Ok(Some(n)),
            _ => Err(FrameSize(size, self.max_frame)),
        }
    }

    /// Lets the frame that was announced be read.
    pub fn admit(&mut self) {
        let Ok(Some(size)) = self.size() else { return };
        self.admitted = true;
        if size > SMALL {
            self.begin_big(size);
        }
    }

    fn begin_big(&mut self, size: usize) {
        let here = (self.shared.len() - SIZE).min(size);
        let mut buffer = BytesMut::with_capacity(self.first_part(size).max(here));
        buffer.extend_from_slice(&self.shared[SIZE..SIZE + here]);
        drop(self.shared.split_to(SIZE + here));
        self.release();
        self.big = Some((buffer, size));
    }

    /// How much memory a frame of this size gets before any of it has arrived.
    pub fn first_part(&self, size: usize) -> usize {
        size.min(FIRST_CAPACITY.max(self.largest.min(MOST_TRUSTED)))
    }

    /// Gives the frame that is being read so many bytes more.
    pub fn grow(&mut self, bytes: usize) {
        if let Some((buffer, _)) = &mut self.big {
            let mut larger = BytesMut::with_capacity(buffer.len() + bytes);
            larger.extend_from_slice(buffer);
            *buffer = larger;
        }
    }

    /// Takes the frame that is complete, without its size. It has its memory to itself: slices of it may be kept.
    pub fn take(&mut self) -> Option<Bytes> {
        if self.next() != Ok(Next::Complete) {
            return None;
        }
        self.admitted = false;
        self.last_was_big = self.big.is_some();
        if let Some((buffer, size)) = self.big.take() {
            self.largest = self.largest.max(size);
            return Some(buffer.freeze());
        }
        let size = self.size().ok()??;
        let frame = Bytes::copy_from_slice(&self.shared[SIZE..SIZE + size]);
        self.shared.advance(SIZE + size);
        Some(frame)
    }

    /// Reads once what the socket has; 0 bytes: the peer has closed its side. Cancelling loses nothing.
    pub async fn fill(&mut self, socket: &TcpStream) -> io::Result<usize> {
        loop {
            socket.readable().await?;
            if let Some(bytes) = self.try_fill(socket)? {
                return Ok(bytes);
            }
        }
    }

    /// As [`Frames::fill`]; `None`: there is nothing now.
    pub fn try_fill(&mut self, socket: &TcpStream) -> io::Result<Option<usize>> {
        loop {
            let read = socket.try_read_buf(&mut self.room());
            match read {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.release();
                    return Ok(None);
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Where the next bytes go.
    pub fn room(&mut self) -> impl BufMut + '_ {
        let small = self.size().ok().flatten().filter(|_| self.admitted).map_or(0, |size| SIZE + size);
        match &mut self.big {
            Some((buffer, size)) => {
                let missing = *size - buffer.len();
                let room = missing.min(buffer.capacity() - buffer.len());
                buffer.limit(room)
            }
            None => {
                let capacity = if self.last_was_big { PEEK_CAPACITY } else { SHARED_CAPACITY };
                let room = capacity.max(small).saturating_sub(self.shared.len()).max(PEEK_CAPACITY);
                if self.shared.capacity() - self.shared.len() < room {
                    self.shared.reserve(room);
                }
                (&mut self.shared).limit(room)
            }
        }
    }

    /// An idle connection keeps no buffer, nor does one that reads into another.
    fn release(&mut self) {
        if self.shared.is_empty() {
            self.shared = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests;
