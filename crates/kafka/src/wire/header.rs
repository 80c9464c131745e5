//! The header in front of every request, readable before anything is known of what follows it.

use super::api::ApiKey;
use super::reader::{Reader, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    pub api_key: i16,
    pub api_version: i16,
    pub correlation_id: i32,
    pub client_id: Option<&'a str>,
}

impl<'a> RequestHeader<'a> {
    /// The header and what follows it. An API or version that is not served has the header of old, whose fields are
    /// the same: it only has to be read so far as to be answered or logged.
    pub fn decode(frame: &'a [u8]) -> Result<(Self, &'a [u8])> {
        let mut r = Reader::new(frame, 0, false);
        let (api_key, api_version, correlation_id) = (r.i16()?, r.i16()?, r.i32()?);
        let served = ApiKey::from_wire(api_key).map(ApiKey::served).filter(|row| row.serves(api_version));
        let flexible = served.is_some_and(|row| row.is_flexible(api_version));
        let mut r = Reader::new(r.rest(), api_version, flexible);
        let client_id = r.old_nullable_string()?;
        r.tags()?;
        Ok((Self { api_key, api_version, correlation_id, client_id }, r.rest()))
    }
}
