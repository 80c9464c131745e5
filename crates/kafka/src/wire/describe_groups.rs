//! DescribeGroups, 0–6: classic groups and their members.

use super::ErrorCode;
use super::metadata::NO_OPERATIONS;
use super::reader::{Array, Reader, Result};
use super::writer::Writer;

#[derive(Clone, Debug)]
pub struct DescribeGroupsRequest<'a> {
    pub groups: Array<'a, &'a str>,
}

impl<'a> DescribeGroupsRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let groups = r.array()?;
        r.since(3, false, Reader::bool)?; // authorised operations: there are none
        r.tags()?;
        Ok(Self { groups })
    }
}

#[derive(Clone, Debug)]
pub struct DescribedGroup<'a> {
    pub error: ErrorCode,
    /// Versions before 6 have no place for it.
    pub error_message: Option<String>,
    pub group_id: &'a str,
    /// As Kafka writes it: `Empty`, `Stable`, `PreparingRebalance`, `CompletingRebalance`, `Dead`.
    pub state: &'a str,
    pub protocol_type: &'a str,
    /// The protocol that was chosen; empty while none is.
    pub protocol: &'a str,
    pub members: Vec<DescribedMember<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub struct DescribedMember<'a> {
    pub member_id: &'a str,
    pub group_instance_id: Option<&'a str>,
    pub client_id: &'a str,
    pub client_host: &'a str,
    pub metadata: &'a [u8],
    pub assignment: &'a [u8],
}

pub fn encode_response(w: &mut Writer, groups: &[DescribedGroup<'_>]) {
    if w.since(1) {
        w.i32(0);
    }
    w.array(groups, |w, group| group.encode(w));
    w.tags();
}

impl DescribedGroup<'_> {
    fn encode(&self, w: &mut Writer) {
        w.error(self.error);
        if w.since(6) {
            w.nullable_string(self.error_message.as_deref());
        }
        w.string(self.group_id);
        w.string(self.state);
        w.string(self.protocol_type);
        w.string(self.protocol);
        w.array(&self.members, |w, member| member.encode(w));
        if w.since(3) {
            w.i32(NO_OPERATIONS);
        }
        w.tags();
    }
}

impl DescribedMember<'_> {
    fn encode(&self, w: &mut Writer) {
        w.string(self.member_id);
        if w.since(4) {
            w.nullable_string(self.group_instance_id);
        }
        w.string(self.client_id);
        w.string(self.client_host);
        w.bytes(self.metadata);
        w.bytes(self.assignment);
        w.tags();
    }
}
