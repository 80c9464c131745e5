//! ApiVersions, 0–4: what a client asks first, answered from the table.

use super::ErrorCode;
use super::api::TABLE;
use super::reader::{Reader, Result};
use super::writer::Writer;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiVersionsRequest<'a> {
    /// Empty before version 3.
    pub client_software_name: &'a str,
    pub client_software_version: &'a str,
}

impl<'a> ApiVersionsRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let client_software_name = r.since(3, "", Reader::string)?;
        let client_software_version = r.since(3, "", Reader::string)?;
        r.tags()?;
        Ok(Self { client_software_name, client_software_version })
    }
}

/// With `UnsupportedVersion` it is to be written as version 0: that is what every client can read (KIP-511).
pub fn encode_response(w: &mut Writer, error: ErrorCode) {
    w.error(error);
    w.array_len(TABLE.len());
    for row in TABLE {
        w.i16(row.api as i16);
        w.i16(row.listed_from);
        w.i16(row.max);
        w.tags();
    }
    if w.since(1) {
        w.i32(0);
    }
    w.tags();
}
