//! Any request that is understood, told apart by its header.

use super::alter_configs::{AlterConfigsRequest, IncrementalAlterConfigsRequest};
use super::api::ApiKey;
use super::api_versions::ApiVersionsRequest;
use super::consumer_group_describe::ConsumerGroupDescribeRequest;
use super::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use super::create_partitions::CreatePartitionsRequest;
use super::create_topics::CreateTopicsRequest;
use super::delete_groups::DeleteGroupsRequest;
use super::delete_records::DeleteRecordsRequest;
use super::delete_topics::DeleteTopicsRequest;
use super::describe_cluster::DescribeClusterRequest;
use super::describe_configs::DescribeConfigsRequest;
use super::describe_groups::DescribeGroupsRequest;
use super::describe_log_dirs::DescribeLogDirsRequest;
use super::describe_producers::DescribeProducersRequest;
use super::describe_topic_partitions::DescribeTopicPartitionsRequest;
use super::elect_leaders::ElectLeadersRequest;
use super::fetch::FetchRequest;
use super::find_coordinator::FindCoordinatorRequest;
use super::heartbeat::HeartbeatRequest;
use super::init_producer_id::InitProducerIdRequest;
use super::join_group::JoinGroupRequest;
use super::leave_group::LeaveGroupRequest;
use super::list_config_resources::ListConfigResourcesRequest;
use super::list_groups::ListGroupsRequest;
use super::list_offsets::ListOffsetsRequest;
use super::metadata::MetadataRequest;
use super::offset_commit::OffsetCommitRequest;
use super::offset_delete::OffsetDeleteRequest;
use super::offset_fetch::OffsetFetchRequest;
use super::offset_for_leader_epoch::OffsetForLeaderEpochRequest;
use super::partition_reassignments::{AlterPartitionReassignmentsRequest, ListPartitionReassignmentsRequest};
use super::produce::ProduceRequest;
use super::reader::{Reader, Result};
use super::sync_group::SyncGroupRequest;

#[derive(Clone, Debug)]
pub enum Request<'a> {
    Produce(ProduceRequest<'a>),
    Fetch(FetchRequest<'a>),
    ListOffsets(ListOffsetsRequest<'a>),
    Metadata(MetadataRequest<'a>),
    OffsetCommit(OffsetCommitRequest<'a>),
    OffsetFetch(OffsetFetchRequest<'a>),
    FindCoordinator(FindCoordinatorRequest<'a>),
    JoinGroup(JoinGroupRequest<'a>),
    Heartbeat(HeartbeatRequest<'a>),
    LeaveGroup(LeaveGroupRequest<'a>),
    SyncGroup(SyncGroupRequest<'a>),
    DescribeGroups(DescribeGroupsRequest<'a>),
    ListGroups(ListGroupsRequest<'a>),
    ApiVersions(ApiVersionsRequest<'a>),
    CreateTopics(CreateTopicsRequest<'a>),
    DeleteTopics(DeleteTopicsRequest<'a>),
    DeleteRecords(DeleteRecordsRequest<'a>),
    InitProducerId(InitProducerIdRequest<'a>),
    OffsetForLeaderEpoch(OffsetForLeaderEpochRequest<'a>),
    DescribeConfigs(DescribeConfigsRequest<'a>),
    AlterConfigs(AlterConfigsRequest<'a>),
    DescribeLogDirs(DescribeLogDirsRequest<'a>),
    CreatePartitions(CreatePartitionsRequest<'a>),
    DeleteGroups(DeleteGroupsRequest<'a>),
    ElectLeaders(ElectLeadersRequest<'a>),
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest<'a>),
    AlterPartitionReassignments(AlterPartitionReassignmentsRequest<'a>),
    ListPartitionReassignments(ListPartitionReassignmentsRequest<'a>),
    OffsetDelete(OffsetDeleteRequest<'a>),
    DescribeCluster(DescribeClusterRequest),
    DescribeProducers(DescribeProducersRequest<'a>),
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatRequest<'a>),
    ConsumerGroupDescribe(ConsumerGroupDescribeRequest<'a>),
    ListConfigResources(ListConfigResourcesRequest<'a>),
    DescribeTopicPartitions(DescribeTopicPartitionsRequest<'a>),
}

impl<'a> Request<'a> {
    /// `body` is what follows the header; `version` has to be one that its row in the table has.
    pub fn decode(api: ApiKey, version: i16, body: &'a [u8]) -> Result<Self> {
        let r = &mut Reader::new(body, version, api.served().is_flexible(version));
        Ok(match api {
            ApiKey::Produce => Self::Produce(ProduceRequest::decode(r)?),
            ApiKey::Fetch => Self::Fetch(FetchRequest::decode(r)?),
            ApiKey::ListOffsets => Self::ListOffsets(ListOffsetsRequest::decode(r)?),
            ApiKey::Metadata => Self::Metadata(MetadataRequest::decode(r)?),
            ApiKey::OffsetCommit => Self::OffsetCommit(OffsetCommitRequest::decode(r)?),
            ApiKey::OffsetFetch => Self::OffsetFetch(OffsetFetchRequest::decode(r)?),
            ApiKey::FindCoordinator => Self::FindCoordinator(FindCoordinatorRequest::decode(r)?),
            ApiKey::JoinGroup => Self::JoinGroup(JoinGroupRequest::decode(r)?),
            ApiKey::Heartbeat => Self::Heartbeat(HeartbeatRequest::decode(r)?),
            ApiKey::LeaveGroup => Self::LeaveGroup(LeaveGroupRequest::decode(r)?),
            ApiKey::SyncGroup => Self::SyncGroup(SyncGroupRequest::decode(r)?),
            ApiKey::DescribeGroups => Self::DescribeGroups(DescribeGroupsRequest::decode(r)?),
            ApiKey::ListGroups => Self::ListGroups(ListGroupsRequest::decode(r)?),
            ApiKey::ApiVersions => Self::ApiVersions(ApiVersionsRequest::decode(r)?),
            ApiKey::CreateTopics => Self::CreateTopics(CreateTopicsRequest::decode(r)?),
            ApiKey::DeleteTopics => Self::DeleteTopics(DeleteTopicsRequest::decode(r)?),
            ApiKey::DeleteRecords => Self::DeleteRecords(DeleteRecordsRequest::decode(r)?),
            ApiKey::InitProducerId => Self::InitProducerId(InitProducerIdRequest::decode(r)?),
            ApiKey::OffsetForLeaderEpoch => Self::OffsetForLeaderEpoch(OffsetForLeaderEpochRequest::decode(r)?),
            ApiKey::DescribeConfigs => Self::DescribeConfigs(DescribeConfigsRequest::decode(r)?),
            ApiKey::AlterConfigs => Self::AlterConfigs(AlterConfigsRequest::decode(r)?),
            ApiKey::DescribeLogDirs => Self::DescribeLogDirs(DescribeLogDirsRequest::decode(r)?),
            ApiKey::CreatePartitions => Self::CreatePartitions(CreatePartitionsRequest::decode(r)?),
            ApiKey::DeleteGroups => Self::DeleteGroups(DeleteGroupsRequest::decode(r)?),
            ApiKey::ElectLeaders => Self::ElectLeaders(ElectLeadersRequest::decode(r)?),
            ApiKey::IncrementalAlterConfigs => {
                Self::IncrementalAlterConfigs(IncrementalAlterConfigsRequest::decode(r)?)
            }
            ApiKey::AlterPartitionReassignments => {
                Self::AlterPartitionReassignments(AlterPartitionReassignmentsRequest::decode(r)?)
            }
            ApiKey::ListPartitionReassignments => {
                Self::ListPartitionReassignments(ListPartitionReassignmentsRequest::decode(r)?)
            }
            ApiKey::OffsetDelete => Self::OffsetDelete(OffsetDeleteRequest::decode(r)?),
            ApiKey::DescribeCluster => Self::DescribeCluster(DescribeClusterRequest::decode(r)?),
            ApiKey::DescribeProducers => Self::DescribeProducers(DescribeProducersRequest::decode(r)?),
            ApiKey::ConsumerGroupHeartbeat => Self::ConsumerGroupHeartbeat(ConsumerGroupHeartbeatRequest::decode(r)?),
            ApiKey::ConsumerGroupDescribe => Self::ConsumerGroupDescribe(ConsumerGroupDescribeRequest::decode(r)?),
            ApiKey::ListConfigResources => Self::ListConfigResources(ListConfigResourcesRequest::decode(r)?),
            ApiKey::DescribeTopicPartitions => {
                Self::DescribeTopicPartitions(DescribeTopicPartitionsRequest::decode(r)?)
            }
        })
    }
}
