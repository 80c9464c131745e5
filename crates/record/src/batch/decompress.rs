//! The four codecs as streams that never allocate by a declared size alone.
//!
//! gzip keeps a window of 32 KiB, LZ4 frames buffers of at most some blocks of 4 MiB, zstd a window of which only what was
//! really decoded is touched: at most 8 MiB, whatever is declared. A Snappy block cannot expand more than 22-fold, so its
//! declared size is believed only up to that.

use std::io::{self, Read};

use super::BatchError;
use super::header::Codec;

/// `SnappyOutputStream` of snappy-java: magic, version 1, compatible with version 1.
pub(super) const XERIAL_HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
const XERIAL_MAGIC_LEN: usize = 8;
const SNAPPY_MAX_RATIO: usize = 22;
/// What every decoder should have, says RFC 8878: 8 MiB, the most that levels up to 19 use.
const ZSTD_WINDOW_LOG: u32 = 23;
/// What level 22 declares, however little it compresses: the most that Kafka's producers can.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Reads the decompressed records. May fail with `FileTooLarge` once they are seen to pass `cap` bytes.
pub(super) fn reader<'a>(codec: Codec, compressed: &'a [u8], cap: u64) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match codec {
        Codec::None => Box::new(compressed),
        Codec::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(compressed)),
        Codec::Snappy => Box::new(SnappyReader::new(compressed, cap)?),
        Codec::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(compressed)),
        Codec::Zstd => Box::new(ZstdReader::new(compressed)?),
    })
}

/// The whole of the records, growing as they come, at most `cap` bytes.
pub(super) fn to_vec(codec: Codec, compressed: &[u8], cap: u64) -> Result<Vec<u8>, BatchError> {
    let mut out = Vec::new();
    let fail = |e| read_error(&e, cap);
    reader(codec, compressed, cap).map_err(fail)?.take(cap.saturating_add(1)).read_to_end(&mut out).map_err(fail)?;
    if out.len() as u64 > cap { Err(BatchError::TooLarge(cap)) } else { Ok(out) }
}

/// What a failed read of the decompressed records means.
pub(super) fn read_error(error: &io::Error, cap: u64) -> BatchError {
    match error.kind() {
        io::ErrorKind::FileTooLarge => BatchError::TooLarge(cap),
        io::ErrorKind::OutOfMemory => {
            BatchError::Invalid("zstd: a window of more than 8 MiB is supported for no more than 8 MiB of records")
        }
        _ => BatchError::Invalid("the records cannot be decompressed"),
    }
}

/// Windows of up to 8 MiB; a larger one, declared at the start, only as far as no more than that is used of it.
struct ZstdReader<'a> {
    compressed: &'a [u8],
    decoder: zstd::stream::read::Decoder<'a, &'a [u8]>,
    large_window: bool,
    read: u64,
}

impl<'a> ZstdReader<'a> {
    fn new(compressed: &'a [u8]) -> io::Result<Self> {
        let decoder = zstd_decoder(compressed, ZSTD_WINDOW_LOG)?;
        Ok(Self { compressed, decoder, large_window: false, read: 0 })
    }
}

fn zstd_decoder(compressed: &[u8], window_log: u32) -> io::Result<zstd::stream::read::Decoder<'_, &[u8]>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(compressed)?;
    decoder.window_log_max(window_log)?;
    Ok(decoder)
}

impl Read for ZstdReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = match self.decoder.read(out) {
            // Perhaps for the window.
            Err(_) if self.read == 0 && !self.large_window => {
                self.decoder = zstd_decoder(self.compressed, ZSTD_WINDOW_LOG_MAX)?;
                self.large_window = true;
                self.decoder.read(out)?
            }
            result => result?,
        };
        self.read += n as u64;
        if self.large_window && self.read > 1 << ZSTD_WINDOW_LOG {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        Ok(n)
    }
}

/// Snappy as Kafka's clients write it: xerial framing (Java and most others) or one raw block (librdkafka).
struct SnappyReader<'a> {
    rest: &'a [u8],
    framed: bool,
    cap: u64,
    decoder: snap::raw::Decoder,
    block: Vec<u8>,
    read: usize,
}

impl<'a> SnappyReader<'a> {
    fn new(compressed: &'a [u8], cap: u64) -> io::Result<Self> {
        let framed = compressed.starts_with(&XERIAL_HEADER[..XERIAL_MAGIC_LEN]);
        let start = if framed { XERIAL_HEADER.len() } else { 0 };
        let rest = compressed.get(start..).ok_or_else(broken)?;
        Ok(Self { rest, framed, cap, decoder: snap::raw::Decoder::new(), block: Vec::new(), read: 0 })
    }

    /// The next compressed block; a framing header in the middle (streams written one behind the other) is passed over.
    fn next_block(&mut self) -> io::Result<&'a [u8]> {
        if !self.framed {
            return Ok(std::mem::take(&mut self.rest));
        }
        while self.rest.starts_with(&XERIAL_HEADER[..XERIAL_MAGIC_LEN]) {
            self.rest = self.rest.get(XERIAL_HEADER.len()..).ok_or_else(broken)?;
        }
        if self.rest.is_empty() {
            return Ok(self.rest);
        }
        let (len, after) = self.rest.split_first_chunk::<4>().ok_or_else(broken)?;
        let (block, after) = after.split_at_checked(u32::from_be_bytes(*len) as usize).ok_or_else(broken)?;
        self.rest = after;
        Ok(block)
    }

    fn decode(&mut self, block: &[u8]) -> io::Result<()> {
        let len = snap::raw::decompress_len(block).map_err(|_| broken())?;
        if len > block.len().saturating_mul(SNAPPY_MAX_RATIO) {
            return Err(broken());
        }
        if len as u64 > self.cap {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.block.resize(len, 0);
        self.decoder.decompress(block, &mut self.block).map(drop).map_err(|_| broken())
    }
}

impl Read for SnappyReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.read == self.block.len() {
            let block = self.next_block()?;
            if block.is_empty() && self.rest.is_empty() {
                return Ok(0);
            }
            self.read = 0;
            self.decode(block)?;
        }
        let n = out.len().min(self.block.len() - self.read);
        out[..n].copy_from_slice(&self.block[self.read..self.read + n]);
        self.read += n;
        Ok(n)
    }
}

fn broken() -> io::Error {
    io::ErrorKind::InvalidData.into()
}
