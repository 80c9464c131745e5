//! InitProducerId, 0–5: an identity for an idempotent producer.

use super::ErrorCode;
use super::reader::{Reader, Result};
use super::writer::Writer;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitProducerIdRequest<'a> {
    pub transactional_id: Option<&'a str>,
    pub transaction_timeout_ms: i32,
    /// What a producer had that wants a new epoch; −1 before version 3 and for a first one.
    pub producer_id: i64,
    pub producer_epoch: i16,
}

impl<'a> InitProducerIdRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let transactional_id = r.nullable_string()?;
        let transaction_timeout_ms = r.i32()?;
        let producer_id = r.since(3, -1, Reader::i64)?;
        let producer_epoch = r.since(3, -1, Reader::i16)?;
        r.tags()?;
        Ok(Self { transactional_id, transaction_timeout_ms, producer_id, producer_epoch })
    }
}

#[derive(Clone, Copy, Debug)]
pub struct InitProducerIdResponse {
    pub error: ErrorCode,
    pub producer_id: i64,
    pub producer_epoch: i16,
}

impl InitProducerIdResponse {
    pub fn encode(&self, w: &mut Writer) {
        w.i32(0);
        w.error(self.error);
        w.i64(self.producer_id);
        w.i16(self.producer_epoch);
        w.tags();
    }
}
