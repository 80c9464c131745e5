//! Any request that is served, told apart by its header.

use super::api::ApiKey;
use super::api_versions::ApiVersionsRequest;
use super::create_topics::CreateTopicsRequest;
use super::delete_topics::DeleteTopicsRequest;
use super::describe_cluster::DescribeClusterRequest;
use super::fetch::FetchRequest;
use super::init_producer_id::InitProducerIdRequest;
use super::list_offsets::ListOffsetsRequest;
use super::metadata::MetadataRequest;
use super::produce::ProduceRequest;
use super::reader::{Reader, Result};

#[derive(Clone, Debug)]
pub enum Request<'a> {
    Produce(ProduceRequest<'a>),
    Fetch(FetchRequest<'a>),
    ListOffsets(ListOffsetsRequest<'a>),
    Metadata(MetadataRequest<'a>),
    ApiVersions(ApiVersionsRequest<'a>),
    CreateTopics(CreateTopicsRequest<'a>),
    DeleteTopics(DeleteTopicsRequest<'a>),
    InitProducerId(InitProducerIdRequest<'a>),
    DescribeCluster(DescribeClusterRequest),
}

impl<'a> Request<'a> {
    /// `body` is what follows the header; `version` has to be one that is served.
    pub fn decode(api: ApiKey, version: i16, body: &'a [u8]) -> Result<Self> {
        let r = &mut Reader::new(body, version, api.served().is_flexible(version));
        Ok(match api {
            ApiKey::Produce => Self::Produce(ProduceRequest::decode(r)?),
            ApiKey::Fetch => Self::Fetch(FetchRequest::decode(r)?),
            ApiKey::ListOffsets => Self::ListOffsets(ListOffsetsRequest::decode(r)?),
            ApiKey::Metadata => Self::Metadata(MetadataRequest::decode(r)?),
            ApiKey::ApiVersions => Self::ApiVersions(ApiVersionsRequest::decode(r)?),
            ApiKey::CreateTopics => Self::CreateTopics(CreateTopicsRequest::decode(r)?),
            ApiKey::DeleteTopics => Self::DeleteTopics(DeleteTopicsRequest::decode(r)?),
            ApiKey::InitProducerId => Self::InitProducerId(InitProducerIdRequest::decode(r)?),
            ApiKey::DescribeCluster => Self::DescribeCluster(DescribeClusterRequest::decode(r)?),
        })
    }
}
