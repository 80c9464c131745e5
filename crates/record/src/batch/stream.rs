//! Compressed records as a source that is passed over: through a buffer of 16 KiB, whatever they decompress to.

use std::io::{self, Read};

use super::header::Codec;
use super::record::Source;
use super::{BatchError, decompress};

const STREAM_BUFFER: usize = 16 << 10;

/// Decompressed records, passed over without being kept.
pub(super) struct Stream<'a> {
    reader: Box<dyn Read + 'a>,
    cap: u64,
    buffer: Vec<u8>,
    at: usize,
    /// Bytes that were read into the buffer, ever.
    read: u64,
}

impl<'a> Stream<'a> {
    pub(super) fn new(codec: Codec, compressed: &'a [u8], cap: u64) -> Result<Self, BatchError> {
        let reader = decompress::reader(codec, compressed, cap).map_err(|e| decompress::read_error(&e, cap))?;
        Ok(Self { reader, cap, buffer: Vec::with_capacity(STREAM_BUFFER), at: 0, read: 0 })
    }

    /// Bytes that can be taken now; none only at the end.
    fn fill(&mut self) -> Result<usize, BatchError> {
        if self.at == self.buffer.len() {
            self.at = 0;
            self.buffer.resize(STREAM_BUFFER, 0);
            let n = loop {
                match self.reader.read(&mut self.buffer) {
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    result => break result.map_err(|e| decompress::read_error(&e, self.cap)),
                }
            };
            self.buffer.truncate(*n.as_ref().unwrap_or(&0));
            self.read += n? as u64;
            if self.read > self.cap {
                return Err(BatchError::TooLarge(self.cap));
            }
        }
        Ok(self.buffer.len() - self.at)
    }

    pub(super) fn is_at_end(&mut self) -> Result<bool, BatchError> {
        Ok(self.fill()? == 0)
    }

    /// Bytes that were decompressed so far, passed over or not.
    pub(super) fn read(&self) -> u64 {
        self.read
    }
}

const STREAM_END: BatchError = BatchError::Invalid("the records end in the middle of one");

impl Source for Stream<'_> {
    type Taken = ();

    #[inline]
    fn byte(&mut self) -> Result<u8, BatchError> {
        if self.fill()? == 0 {
            return Err(STREAM_END);
        }
        self.at += 1;
        Ok(self.buffer[self.at - 1])
    }

    fn take(&mut self, mut n: usize) -> Result<(), BatchError> {
        while n > 0 {
            let step = self.fill()?.min(n);
            if step == 0 {
                return Err(STREAM_END);
            }
            self.at += step;
            n -= step;
        }
        Ok(())
    }

    fn position(&self) -> u64 {
        self.read - (self.buffer.len() - self.at) as u64
    }
}
