//! The one table of what is served: ApiVersions is answered from it, and requests are admitted by it.

use std::fmt;

/// The APIs that are understood, by their numbers on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum ApiKey {
    Produce = 0,
    Fetch = 1,
    ListOffsets = 2,
    Metadata = 3,
    OffsetCommit = 8,
    OffsetFetch = 9,
    FindCoordinator = 10,
    JoinGroup = 11,
    Heartbeat = 12,
    LeaveGroup = 13,
    SyncGroup = 14,
    DescribeGroups = 15,
    ListGroups = 16,
    ApiVersions = 18,
    CreateTopics = 19,
    DeleteTopics = 20,
    DeleteRecords = 21,
    InitProducerId = 22,
    OffsetForLeaderEpoch = 23,
    DescribeConfigs = 32,
    AlterConfigs = 33,
    DescribeLogDirs = 35,
    CreatePartitions = 37,
    DeleteGroups = 42,
    ElectLeaders = 43,
    IncrementalAlterConfigs = 44,
    AlterPartitionReassignments = 45,
    ListPartitionReassignments = 46,
    OffsetDelete = 47,
    DescribeCluster = 60,
    DescribeProducers = 61,
    ConsumerGroupHeartbeat = 68,
    ConsumerGroupDescribe = 69,
    ListConfigResources = 74,
    DescribeTopicPartitions = 75,
}

/// Which versions of an API are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    pub api: ApiKey,
    /// What ApiVersions lists as the lowest.
    pub listed_from: i16,
    pub min: i16,
    pub max: i16,
    /// The first version with compact lengths and tagged fields (KIP-482).
    pub flexible_from: i16,
}

const fn served(api: ApiKey, min: i16, max: i16, flexible_from: i16) -> Served {
    Served { api, listed_from: min, min, max, flexible_from }
}

/// Everything that is served. Apart from Produce 0–2 (librdkafka takes a broker without them for one that cannot
/// compress, KAFKA-18659), what is listed is served.
pub const TABLE: [Served; 35] = [
    Served { listed_from: 0, ..served(ApiKey::Produce, 3, 13, 9) },
    served(ApiKey::Fetch, 4, 18, 12),
    served(ApiKey::ListOffsets, 1, 11, 6),
    served(ApiKey::Metadata, 0, 13, 9),
    served(ApiKey::OffsetCommit, 2, 10, 8),
    served(ApiKey::OffsetFetch, 1, 10, 6),
    served(ApiKey::FindCoordinator, 0, 6, 3),
    served(ApiKey::JoinGroup, 0, 9, 6),
    served(ApiKey::Heartbeat, 0, 4, 4),
    served(ApiKey::LeaveGroup, 0, 5, 4),
    served(ApiKey::SyncGroup, 0, 5, 4),
    served(ApiKey::DescribeGroups, 0, 6, 5),
    served(ApiKey::ListGroups, 0, 5, 3),
    served(ApiKey::ApiVersions, 0, 4, 3),
    served(ApiKey::CreateTopics, 2, 7, 5),
    served(ApiKey::DeleteTopics, 1, 6, 4),
    served(ApiKey::DeleteRecords, 0, 2, 2),
    served(ApiKey::InitProducerId, 0, 5, 2),
    served(ApiKey::OffsetForLeaderEpoch, 2, 4, 4),
    served(ApiKey::DescribeConfigs, 1, 4, 4),
    served(ApiKey::AlterConfigs, 0, 2, 2),
    served(ApiKey::DescribeLogDirs, 1, 5, 2),
    served(ApiKey::CreatePartitions, 0, 3, 2),
    served(ApiKey::DeleteGroups, 0, 2, 2),
    served(ApiKey::ElectLeaders, 0, 2, 2),
    served(ApiKey::IncrementalAlterConfigs, 0, 1, 1),
    served(ApiKey::AlterPartitionReassignments, 0, 1, 0),
    served(ApiKey::ListPartitionReassignments, 0, 0, 0),
    served(ApiKey::OffsetDelete, 0, 0, NEVER),
    served(ApiKey::DescribeCluster, 0, 2, 0),
    served(ApiKey::DescribeProducers, 0, 0, 0),
    served(ApiKey::ConsumerGroupHeartbeat, 0, 1, 0),
    served(ApiKey::ConsumerGroupDescribe, 0, 1, 0),
    served(ApiKey::ListConfigResources, 0, 1, 0),
    served(ApiKey::DescribeTopicPartitions, 0, 0, 0),
];

/// No version is flexible.
const NEVER: i16 = i16::MAX;

impl Served {
    pub fn serves(&self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }

    pub fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible_from
    }

    /// A client that asks ApiVersions cannot know yet how the header of the answer looks: it stays the old one.
    pub fn response_header_has_tags(&self, version: i16) -> bool {
        self.is_flexible(version) && self.api != ApiKey::ApiVersions
    }
}

impl ApiKey {
    /// One that is served.
    pub fn from_wire(key: i16) -> Option<Self> {
        TABLE.iter().map(|served| served.api).find(|api| *api as i16 == key)
    }

    /// Its versions.
    pub const fn served(self) -> Served {
        let mut i = 0;
        while i < TABLE.len() {
            if TABLE[i].api as i16 == self as i16 {
                return TABLE[i];
            }
            i += 1;
        }
        panic!("every API has its row in the table")
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Produce => "Produce",
            Self::Fetch => "Fetch",
            Self::ListOffsets => "ListOffsets",
            Self::Metadata => "Metadata",
            Self::OffsetCommit => "OffsetCommit",
            Self::OffsetFetch => "OffsetFetch",
            Self::FindCoordinator => "FindCoordinator",
            Self::JoinGroup => "JoinGroup",
            Self::Heartbeat => "Heartbeat",
            Self::LeaveGroup => "LeaveGroup",
            Self::SyncGroup => "SyncGroup",
            Self::DescribeGroups => "DescribeGroups",
            Self::ListGroups => "ListGroups",
            Self::ApiVersions => "ApiVersions",
            Self::CreateTopics => "CreateTopics",
            Self::DeleteTopics => "DeleteTopics",
            Self::DeleteRecords => "DeleteRecords",
            Self::InitProducerId => "InitProducerId",
            Self::OffsetForLeaderEpoch => "OffsetForLeaderEpoch",
            Self::DescribeConfigs => "DescribeConfigs",
            Self::AlterConfigs => "AlterConfigs",
            Self::DescribeLogDirs => "DescribeLogDirs",
            Self::CreatePartitions => "CreatePartitions",
            Self::DeleteGroups => "DeleteGroups",
            Self::ElectLeaders => "ElectLeaders",
            Self::IncrementalAlterConfigs => "IncrementalAlterConfigs",
            Self::AlterPartitionReassignments => "AlterPartitionReassignments",
            Self::ListPartitionReassignments => "ListPartitionReassignments",
            Self::OffsetDelete => "OffsetDelete",
            Self::DescribeCluster => "DescribeCluster",
            Self::DescribeProducers => "DescribeProducers",
            Self::ConsumerGroupHeartbeat => "ConsumerGroupHeartbeat",
            Self::ConsumerGroupDescribe => "ConsumerGroupDescribe",
            Self::ListConfigResources => "ListConfigResources",
            Self::DescribeTopicPartitions => "DescribeTopicPartitions",
        }
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_by_its_number() {
        for row in TABLE {
            assert_eq!(ApiKey::from_wire(row.api as i16), Some(row.api));
            assert_eq!(row.api.served(), row);
            assert!(row.listed_from <= row.min && row.min <= row.max);
        }
        assert_eq!(ApiKey::from_wire(24), None, "AddPartitionsToTxn is not served");
    }

    #[test]
    fn only_produce_lists_what_it_does_not_serve() {
        let differs: Vec<_> = TABLE.iter().filter(|row| row.listed_from != row.min).map(|row| row.api).collect();
        assert_eq!(differs, [ApiKey::Produce]);
        assert!(!ApiKey::Produce.served().serves(2));
    }

    #[test]
    fn the_documentation_has_the_same_table() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/kafka.md")).unwrap();
        let (head, mut expected) = ("| API | number | versions |\n|---|---|---|\n", String::new());
        for row in TABLE {
            expected += &format!("| {} | {} | {}–{} |\n", row.api, row.api as i16, row.min, row.max);
        }
        let (_, rest) = page.split_once(head).expect("docs/kafka.md has a table of APIs");
        assert_eq!(rest.split_once("\n\n").unwrap().0.to_owned() + "\n", expected);
    }
}
