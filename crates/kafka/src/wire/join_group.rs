//! JoinGroup, 0–9: a member of a classic group says which protocols it knows, and waits for the next generation.

use super::ErrorCode;
use super::reader::{Array, Decode, Reader, Result};
use super::writer::Writer;

#[derive(Clone, Debug)]
pub struct JoinGroupRequest<'a> {
    pub group_id: &'a str,
    pub session_timeout_ms: i32,
    /// Version 0 has none of its own: there it is the session's.
    pub rebalance_timeout_ms: i32,
    /// Empty: none yet.
    pub member_id: &'a str,
    /// Of a static member (KIP-345).
    pub group_instance_id: Option<&'a str>,
    pub protocol_type: &'a str,
    /// Those that the member prefers first.
    pub protocols: Array<'a, JoinGroupProtocol<'a>>,
    /// Why it joins, for the log (KIP-800).
    pub reason: Option<&'a str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinGroupProtocol<'a> {
    pub name: &'a str,
    pub metadata: &'a [u8],
}

impl<'a> JoinGroupRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let group_id = r.string()?;
        let session_timeout_ms = r.i32()?;
        let rebalance_timeout_ms = r.since(1, session_timeout_ms, Reader::i32)?;
        let member_id = r.string()?;
        let group_instance_id = r.since(5, None, Reader::nullable_string)?;
        let protocol_type = r.string()?;
        let protocols = r.array()?;
        let reason = r.since(8, None, Reader::nullable_string)?;
        r.tags()?;
        Ok(Self {
            group_id,
            session_timeout_ms,
            rebalance_timeout_ms,
            member_id,
            group_instance_id,
            protocol_type,
            protocols,
            reason,
        })
    }
}

impl<'a> Decode<'a> for JoinGroupProtocol<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let name = r.string()?;
        let metadata = r.bytes()?;
        r.tags()?;
        Ok(Self { name, metadata })
    }
}

#[derive(Clone, Debug)]
pub struct JoinGroupResponse<'a> {
    pub error: ErrorCode,
    /// −1 with an error.
    pub generation_id: i32,
    pub protocol_type: Option<&'a str>,
    /// Versions before 7 have no null: there it is empty.
    pub protocol_name: Option<&'a str>,
    pub leader: &'a str,
    /// The leader is not to assign anything: nothing has changed (KIP-814).
    pub skip_assignment: bool,
    pub member_id: &'a str,
    /// For the leader alone.
    pub members: Vec<JoinedMember<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub struct JoinedMember<'a> {
    pub member_id: &'a str,
    pub group_instance_id: Option<&'a str>,
    pub metadata: &'a [u8],
}

impl JoinGroupResponse<'_> {
    pub fn encode(&self, w: &mut Writer) {
        if w.since(2) {
            w.i32(0);
        }
        w.error(self.error);
        w.i32(self.generation_id);
        if w.since(7) {
            w.nullable_string(self.protocol_type);
            w.nullable_string(self.protocol_name);
        } else {
            w.string(self.protocol_name.unwrap_or_default());
        }
        w.string(self.leader);
        if w.since(9) {
            w.bool(self.skip_assignment);
        }
        w.string(self.member_id);
        w.array(&self.members, |w, member| member.encode(w));
        w.tags();
    }
}

impl JoinedMember<'_> {
    fn encode(&self, w: &mut Writer) {
        w.string(self.member_id);
        if w.since(5) {
            w.nullable_string(self.group_instance_id);
        }
        w.bytes(self.metadata);
        w.tags();
    }
}
