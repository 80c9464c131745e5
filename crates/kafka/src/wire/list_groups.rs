//! ListGroups, 0–5: all groups, or those of some states (KIP-518) and types (KIP-848).

use super::ErrorCode;
use super::reader::{Array, Reader, Result};
use super::writer::Writer;

#[derive(Clone, Debug)]
pub struct ListGroupsRequest<'a> {
    /// Empty: all. In any case of letters, as Kafka has it.
    pub states: Array<'a, &'a str>,
    /// Empty: all.
    pub types: Array<'a, &'a str>,
}

impl<'a> ListGroupsRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let none = r.empty_array();
        let states = r.since(4, none, Reader::array)?;
        let types = r.since(5, none, Reader::array)?;
        r.tags()?;
        Ok(Self { states, types })
    }
}

#[derive(Clone, Debug)]
pub struct ListGroupsResponse<'a> {
    pub error: ErrorCode,
    pub groups: Vec<ListedGroup<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub struct ListedGroup<'a> {
    pub group_id: &'a str,
    pub protocol_type: &'a str,
    pub state: &'a str,
    /// `classic` or `consumer`.
    pub group_type: &'a str,
}

impl ListGroupsResponse<'_> {
    pub fn encode(&self, w: &mut Writer) {
        if w.since(1) {
            w.i32(0);
        }
        w.error(self.error);
        w.array(&self.groups, |w, group| group.encode(w));
        w.tags();
    }
}

impl ListedGroup<'_> {
    fn encode(&self, w: &mut Writer) {
        w.string(self.group_id);
        w.string(self.protocol_type);
        if w.since(4) {
            w.string(self.state);
        }
        if w.since(5) {
            w.string(self.group_type);
        }
        w.tags();
    }
}
