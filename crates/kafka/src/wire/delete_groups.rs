//! DeleteGroups, 0–2.

use super::ErrorCode;
use super::reader::{Array, Reader, Result};
use super::writer::Writer;

#[derive(Clone, Debug)]
pub struct DeleteGroupsRequest<'a> {
    pub groups: Array<'a, &'a str>,
}

impl<'a> DeleteGroupsRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let groups = r.array()?;
        r.tags()?;
        Ok(Self { groups })
    }
}

#[derive(Clone, Copy, Debug)]
pub struct DeletedGroup<'a> {
    pub group_id: &'a str,
    pub error: ErrorCode,
}

pub fn encode_response(w: &mut Writer, groups: &[DeletedGroup<'_>]) {
    w.i32(0);
    w.array(groups, |w, group| {
        w.string(group.group_id);
        w.error(group.error);
        w.tags();
    });
    w.tags();
}
