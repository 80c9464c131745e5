//! What random and mutated bytes are thrown at: the bodies that tests and fuzz targets share. Neither may panic, nor hold
//! more memory than four times its input and 64 KiB.

use std::fmt::{self, Write};

use bytes::{Buf, BufMut};

use crate::frames::{Frames, Next};
use crate::handle::{Refusal, open};
use crate::wire::Request;
use crate::wire::api::TABLE;

/// Reads a request, and everything in it, the way that the front end does.
pub fn request(frame: &[u8]) {
    match open(frame) {
        Ok((call, body)) => {
            if let Ok(request) = Request::decode(call.api, call.version, body) {
                walk(&request);
            }
        }
        Err(Refusal::Malformed(_) | Refusal::NotServed { .. } | Refusal::UnknownApiVersions { .. }) => {}
    }
}

/// Reads `body` as the request of that row of the table, so many versions above the lowest: headers are too rarely met
/// by chance. Tells whether it is one.
pub fn body(row: usize, version: i16, body: &[u8]) -> bool {
    let row = TABLE[row % TABLE.len()];
    let version = row.min + version.rem_euclid(row.max - row.min + 1);
    let request = Request::decode(row.api, version, body);
    if let Ok(request) = &request {
        walk(request);
    }
    request.is_ok()
}

/// Goes through every element of every array: that is what printing does, and it allocates nothing.
fn walk(request: &Request<'_>) {
    struct Nowhere;
    impl Write for Nowhere {
        fn write_str(&mut self, _: &str) -> fmt::Result {
            Ok(())
        }
    }
    let _ = write!(Nowhere, "{request:?}");
}

/// A connection's bytes, arriving in pieces of the given sizes. Returns what the frames held together.
pub fn frames(mut arriving: &[u8], pieces: &[u8]) -> usize {
    const MAX_FRAME: usize = 100 << 20;
    let mut frames = Frames::new(MAX_FRAME);
    let mut sizes = pieces.iter().cycle().map(|size| usize::from(*size) * 97 + 1);
    let mut held = 0;
    loop {
        match frames.next() {
            Err(_) => return held,
            Ok(Next::Announced(_)) => frames.admit(),
            Ok(Next::Short(bytes)) => frames.grow(bytes),
            Ok(Next::Complete) => match frames.take() {
                Some(frame) => held += frame.len(),
                None => return held,
            },
            Ok(Next::Nothing | Next::Partial) => {
                if arriving.is_empty() {
                    return held;
                }
                let mut room = frames.room();
                let size = sizes.next().unwrap_or(4096).min(arriving.len()).min(room.remaining_mut());
                room.put_slice(&arriving[..size]);
                drop(room);
                arriving.advance(size);
            }
        }
    }
}
