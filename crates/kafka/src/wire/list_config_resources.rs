//! ListConfigResources, 0–1 (KIP-1142): what has a configuration. Version 0 was for client metrics alone.

use super::ErrorCode;
use super::describe_configs::ResourceType;
use super::reader::{Array, Reader, Result};
use super::writer::Writer;

#[derive(Clone, Debug)]
pub struct ListConfigResourcesRequest<'a> {
    /// `None` in version 0, which asks for client metrics. Empty: all of which there can be some.
    pub resource_types: Option<Array<'a, i8>>,
}

impl<'a> ListConfigResourcesRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let resource_types = r.since(1, None, |r| r.array().map(Some))?;
        r.tags()?;
        Ok(Self { resource_types })
    }
}

#[derive(Clone, Debug)]
pub struct ListConfigResourcesResponse<'a> {
    pub error: ErrorCode,
    /// In version 0 all have to be client metrics.
    pub resources: Vec<ListedResource<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub struct ListedResource<'a> {
    pub name: &'a str,
    pub resource_type: ResourceType,
}

impl ListConfigResourcesResponse<'_> {
    pub fn encode(&self, w: &mut Writer) {
        w.i32(0);
        w.error(self.error);
        w.array(&self.resources, |w, resource| {
            w.string(resource.name);
            if w.since(1) {
                w.i8(resource.resource_type as i8);
            }
            w.tags();
        });
        w.tags();
    }
}
