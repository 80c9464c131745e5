//! SyncGroup, 0–5: the leader of a classic group hands out the assignments, the others get theirs.

use super::ErrorCode;
use super::reader::{Array, Decode, Reader, Result};
use super::writer::Writer;

#[derive(Clone, Debug)]
pub struct SyncGroupRequest<'a> {
    pub group_id: &'a str,
    pub generation_id: i32,
    pub member_id: &'a str,
    pub group_instance_id: Option<&'a str>,
    /// What the member takes for the group's (KIP-559); `None`: not said.
    pub protocol_type: Option<&'a str>,
    pub protocol_name: Option<&'a str>,
    /// From the leader alone.
    pub assignments: Array<'a, SyncGroupAssignment<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncGroupAssignment<'a> {
    pub member_id: &'a str,
    pub assignment: &'a [u8],
}

impl<'a> SyncGroupRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let group_id = r.string()?;
        let generation_id = r.i32()?;
        let member_id = r.string()?;
        let group_instance_id = r.since(3, None, Reader::nullable_string)?;
        let protocol_type = r.since(5, None, Reader::nullable_string)?;
        let protocol_name = r.since(5, None, Reader::nullable_string)?;
        let assignments = r.array()?;
        r.tags()?;
        Ok(Self { group_id, generation_id, member_id, group_instance_id, protocol_type, protocol_name, assignments })
    }
}

impl<'a> Decode<'a> for SyncGroupAssignment<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let member_id = r.string()?;
        let assignment = r.bytes()?;
        r.tags()?;
        Ok(Self { member_id, assignment })
    }
}

#[derive(Clone, Copy, Debug)]
pub struct SyncGroupResponse<'a> {
    pub error: ErrorCode,
    pub protocol_type: Option<&'a str>,
    pub protocol_name: Option<&'a str>,
    /// Empty with an error.
    pub assignment: &'a [u8],
}

impl SyncGroupResponse<'_> {
    pub fn encode(&self, w: &mut Writer) {
        if w.since(1) {
            w.i32(0);
        }
        w.error(self.error);
        if w.since(5) {
            w.nullable_string(self.protocol_type);
            w.nullable_string(self.protocol_name);
        }
        w.bytes(self.assignment);
        w.tags();
    }
}
