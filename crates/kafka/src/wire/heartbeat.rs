//! Heartbeat, 0–4: a member of a classic group is alive, and learns whether its generation still is.

use super::ErrorCode;
use super::reader::{Reader, Result};
use super::writer::Writer;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatRequest<'a> {
    pub group_id: &'a str,
    pub generation_id: i32,
    pub member_id: &'a str,
    pub group_instance_id: Option<&'a str>,
}

impl<'a> HeartbeatRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let group_id = r.string()?;
        let generation_id = r.i32()?;
        let member_id = r.string()?;
        let group_instance_id = r.since(3, None, Reader::nullable_string)?;
        r.tags()?;
        Ok(Self { group_id, generation_id, member_id, group_instance_id })
    }
}

pub fn encode_response(w: &mut Writer, error: ErrorCode) {
    if w.since(1) {
        w.i32(0);
    }
    w.error(error);
    w.tags();
}
