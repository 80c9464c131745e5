//! LeaveGroup, 0–5: members go, from version 3 on several at once (KIP-345).

use super::ErrorCode;
use super::reader::{Array, Decode, Reader, Result};
use super::writer::Writer;

#[derive(Clone, Debug)]
pub struct LeaveGroupRequest<'a> {
    pub group_id: &'a str,
    /// One before version 3.
    pub members: Array<'a, LeavingMember<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeavingMember<'a> {
    /// Empty: the static member of that instance id, whoever it is.
    pub member_id: &'a str,
    pub group_instance_id: Option<&'a str>,
    /// For the log (KIP-800).
    pub reason: Option<&'a str>,
}

impl<'a> LeaveGroupRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let group_id = r.string()?;
        let members = if r.version() < 3 { r.one()? } else { r.array()? };
        r.tags()?;
        Ok(Self { group_id, members })
    }
}

impl<'a> Decode<'a> for LeavingMember<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let member_id = r.string()?;
        let group_instance_id = r.since(3, None, Reader::nullable_string)?;
        let reason = r.since(5, None, Reader::nullable_string)?;
        r.tags()?;
        Ok(Self { member_id, group_instance_id, reason })
    }
}

#[derive(Clone, Debug)]
pub struct LeaveGroupResponse<'a> {
    /// Of the whole request.
    pub error: ErrorCode,
    pub members: Vec<LeftMember<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub struct LeftMember<'a> {
    pub member_id: &'a str,
    pub group_instance_id: Option<&'a str>,
    pub error: ErrorCode,
}

impl LeaveGroupResponse<'_> {
    /// Before version 3 the one member's error is the whole request's.
    pub fn encode(&self, w: &mut Writer) {
        if w.since(1) {
            w.i32(0);
        }
        match self.members.first() {
            Some(member) if !w.since(3) && self.error == ErrorCode::None => w.error(member.error),
            _ => w.error(self.error),
        }
        if w.since(3) {
            w.array(&self.members, |w, member| member.encode(w));
        }
        w.tags();
    }
}

impl LeftMember<'_> {
    fn encode(&self, w: &mut Writer) {
        w.string(self.member_id);
        w.nullable_string(self.group_instance_id);
        w.error(self.error);
        w.tags();
    }
}
