//! DescribeConfigs, 1–4: the configuration of topics, nodes and groups.

use super::ErrorCode;
use super::create_topics::ConfigSource;
use super::reader::{Array, Decode, Reader, Result};
use super::writer::Writer;

/// What has a configuration (`org.apache.kafka.common.config.ConfigResource.Type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i8)]
pub enum ResourceType {
    Topic = 2,
    Broker = 4,
    BrokerLogger = 8,
    ClientMetrics = 16,
    Group = 32,
}

impl ResourceType {
    pub fn from_wire(number: i8) -> Option<Self> {
        let all = [Self::Topic, Self::Broker, Self::BrokerLogger, Self::ClientMetrics, Self::Group];
        all.into_iter().find(|kind| *kind as i8 == number)
    }
}

#[derive(Clone, Debug)]
pub struct DescribeConfigsRequest<'a> {
    pub resources: Array<'a, ConfigResource<'a>>,
    pub include_synonyms: bool,
    pub include_documentation: bool,
}

#[derive(Clone, Debug)]
pub struct ConfigResource<'a> {
    /// A [`ResourceType`], if there is such a one.
    pub resource_type: i8,
    pub name: &'a str,
    /// `None`: all.
    pub keys: Option<Array<'a, &'a str>>,
}

impl<'a> DescribeConfigsRequest<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let resources = r.array()?;
        let include_synonyms = r.bool()?;
        let include_documentation = r.since(3, false, Reader::bool)?;
        r.tags()?;
        Ok(Self { resources, include_synonyms, include_documentation })
    }
}

impl<'a> Decode<'a> for ConfigResource<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self> {
        let resource_type = r.i8()?;
        let name = r.string()?;
        let keys = r.nullable_array()?;
        r.tags()?;
        Ok(Self { resource_type, name, keys })
    }
}

#[derive(Clone, Debug)]
pub struct DescribedResource<'a> {
    pub error: ErrorCode,
    pub error_message: Option<String>,
    pub resource_type: i8,
    pub name: &'a str,
    pub configs: Vec<DescribedConfig<'a>>,
}

#[derive(Clone, Debug)]
pub struct DescribedConfig<'a> {
    pub name: &'a str,
    pub value: Option<String>,
    pub read_only: bool,
    pub source: ConfigSource,
    pub sensitive: bool,
    /// Where the value may come from, the one that holds first; empty if not asked for.
    pub synonyms: Vec<ConfigSynonym<'a>>,
    pub config_type: ConfigType,
    pub documentation: Option<&'a str>,
}

#[derive(Clone, Debug)]
pub struct ConfigSynonym<'a> {
    pub name: &'a str,
    pub value: Option<String>,
    pub source: ConfigSource,
}

/// How a value is to be read (`DescribeConfigsResponse.ConfigType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigType {
    Boolean = 1,
    String = 2,
    Int = 3,
    Short = 4,
    Long = 5,
    Double = 6,
    List = 7,
    Class = 8,
    Password = 9,
}

pub fn encode_response(w: &mut Writer, resources: &[DescribedResource<'_>]) {
    w.i32(0);
    w.array(resources, |w, resource| resource.encode(w));
    w.tags();
}

impl DescribedResource<'_> {
    fn encode(&self, w: &mut Writer) {
        w.error(self.error);
        w.nullable_string(self.error_message.as_deref());
        w.i8(self.resource_type);
        w.string(self.name);
        w.array(&self.configs, |w, config| config.encode(w));
        w.tags();
    }
}

impl DescribedConfig<'_> {
    fn encode(&self, w: &mut Writer) {
        w.string(self.name);
        w.nullable_string(self.value.as_deref());
        w.bool(self.read_only);
        w.i8(self.source as i8);
        w.bool(self.sensitive);
        w.array(&self.synonyms, |w, synonym| {
            w.string(synonym.name);
            w.nullable_string(synonym.value.as_deref());
            w.i8(synonym.source as i8);
            w.tags();
        });
        if w.since(3) {
            w.i8(self.config_type as i8);
            w.nullable_string(self.documentation);
        }
        w.tags();
    }
}
