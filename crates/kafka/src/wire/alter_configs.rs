//! AlterConfigs, 0–2, which replaces all of a resource's configuration, and IncrementalAlterConfigs, 0–1 (KIP-339),
//! which changes some of it. Their answers are the same.

use super::ErrorCode;
use super::create_topics::CreatableTopicConfig;
use super::reader::{Array, Decode, Reader, Result};
use super::writer::Writer;

#[derive(Clone, Debug)]
pub struct AlterConfigsRequest<'a> {
    pub resources: Array<'a, ReplacedConfigs<'a>>,
    pub validate_only: bool,
}

#[derive(Clone, Debug)]
pub struct ReplacedConfigs<'a> {
    /// A [`ResourceType`](super::describe_configs::ResourceType), if there is such a one.
    pub resource_type: i8,
    pub name: &'a str,
    pub configs: Array<'a, CreatableTopicConfig<'a>>,
}

impl<'a> AlterConfigsRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let resources = r.array()?;
        let validate_only = r.bool()?;
        r.tags()?;
        Ok(Self { resources, validate_only })
    }
}

impl<'a> Decode<'a> for ReplacedConfigs<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let resource_type = r.i8()?;
        let name = r.string()?;
        let configs = r.array()?;
        r.tags()?;
        Ok(Self { resource_type, name, configs })
    }
}

#[derive(Clone, Debug)]
pub struct IncrementalAlterConfigsRequest<'a> {
    pub resources: Array<'a, ChangedConfigs<'a>>,
    pub validate_only: bool,
}

#[derive(Clone, Debug)]
pub struct ChangedConfigs<'a> {
    pub resource_type: i8,
    pub name: &'a str,
    pub changes: Array<'a, ConfigChange<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigChange<'a> {
    pub name: &'a str,
    /// A [`ConfigOperation`], if there is such a one.
    pub operation: i8,
    pub value: Option<&'a str>,
}

/// `org.apache.kafka.clients.admin.AlterConfigOp.OpType`. The last two are for lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigOperation {
    Set = 0,
    Delete = 1,
    Append = 2,
    Subtract = 3,
}

impl ConfigOperation {
    pub fn from_wire(number: i8) -> Option<Self> {
        [Self::Set, Self::Delete, Self::Append, Self::Subtract].into_iter().find(|kind| *kind as i8 == number)
    }
}

impl<'a> IncrementalAlterConfigsRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let resources = r.array()?;
        let validate_only = r.bool()?;
        r.tags()?;
        Ok(Self { resources, validate_only })
    }
}

impl<'a> Decode<'a> for ChangedConfigs<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let resource_type = r.i8()?;
        let name = r.string()?;
        let changes = r.array()?;
        r.tags()?;
        Ok(Self { resource_type, name, changes })
    }
}

impl<'a> Decode<'a> for ConfigChange<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let name = r.string()?;
        let operation = r.i8()?;
        let value = r.nullable_string()?;
        r.tags()?;
        Ok(Self { name, operation, value })
    }
}

#[derive(Clone, Debug)]
pub struct AlteredResource<'a> {
    pub error: ErrorCode,
    pub error_message: Option<String>,
    pub resource_type: i8,
    pub name: &'a str,
}

pub fn encode_response(w: &mut Writer, resources: &[AlteredResource<'_>]) {
    w.i32(0);
    w.array(resources, |w, resource| {
        w.error(resource.error);
        w.nullable_string(resource.error_message.as_deref());
        w.i8(resource.resource_type);
        w.string(resource.name);
        w.tags();
    });
    w.tags();
}
