//! What the broker says, in Kafka's error codes: chosen by what clients do about each code, not by its name alone.

use lakebed_broker::api::{
    AlterConfigsError, AppendError, CreatePartitionsError, CreateTopicError, FetchError, ProducerIdError, TopicError,
    TruncateError, Unavailable,
};
use lakebed_broker::groups::{CommitRefused, DeleteError};
use lakebed_groups::GroupError;

use crate::wire::ErrorCode;

/// For Produce.
pub(crate) fn append(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
        AppendError::Corrupt(_) => ErrorCode::CorruptMessage,
        // Apache Kafka refuses old formats from version 3 of Produce on with this code.
        AppendError::InvalidRecord(_) | AppendError::UnsupportedFormat => ErrorCode::InvalidRecord,
        AppendError::UnsupportedCompression(_) => ErrorCode::UnsupportedCompressionType,
        AppendError::TooLarge(..) => ErrorCode::MessageTooLarge,
        AppendError::InvalidTimestamp(_) => ErrorCode::InvalidTimestamp,
        AppendError::Transactional => ErrorCode::InvalidRequest,
        AppendError::OutOfOrderSequence => ErrorCode::OutOfOrderSequenceNumber,
        AppendError::InvalidProducerEpoch => ErrorCode::InvalidProducerEpoch,
        AppendError::UnknownProducerId => ErrorCode::UnknownProducerId,
        // Not to be tried again, which every more telling code would make clients do.
        AppendError::ProducersExhausted => ErrorCode::ThrottlingQuotaExceeded,
        AppendError::OffsetsExhausted => ErrorCode::UnknownServerError,
        AppendError::TimedOut | AppendError::TimedOutUnderWay => ErrorCode::RequestTimedOut,
        // Makes clients look for another node.
        AppendError::Stopping => ErrorCode::NotLeaderOrFollower,
    }
}

/// For Fetch. Java's consumer throws on codes that it does not expect there, REQUEST_TIMED_OUT among them.
pub(crate) fn fetch(error: &FetchError, version: i16) -> ErrorCode {
    match error {
        FetchError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
        FetchError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        FetchError::Storage(_) | FetchError::Unavailable(Unavailable::Timeout) => storage(version >= 6),
        FetchError::Unavailable(Unavailable::Stopping) => ErrorCode::NotLeaderOrFollower,
    }
}

/// For ListOffsets.
pub(crate) fn list_offsets(error: &FetchError) -> ErrorCode {
    match error {
        FetchError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
        FetchError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        FetchError::Storage(_) => ErrorCode::KafkaStorageError,
        FetchError::Unavailable(e) => read(*e),
    }
}

/// Clients that do not know KAFKA_STORAGE_ERROR get what Apache Kafka gives them.
fn storage(known: bool) -> ErrorCode {
    if known { ErrorCode::KafkaStorageError } else { ErrorCode::NotLeaderOrFollower }
}

/// A look-up or read that clients repeat, after they have asked for metadata anew.
pub(crate) fn read(error: Unavailable) -> ErrorCode {
    match error {
        Unavailable::Timeout => ErrorCode::LeaderNotAvailable,
        Unavailable::Stopping => ErrorCode::NotLeaderOrFollower,
    }
}

/// What only a controller would do in Apache Kafka.
pub(crate) fn admin(error: Unavailable) -> ErrorCode {
    match error {
        Unavailable::Timeout => ErrorCode::RequestTimedOut,
        Unavailable::Stopping => ErrorCode::NotController,
    }
}

pub(crate) fn create_topic(error: &CreateTopicError) -> ErrorCode {
    match error {
        CreateTopicError::Exists => ErrorCode::TopicAlreadyExists,
        CreateTopicError::InvalidPartitions(_) => ErrorCode::InvalidPartitions,
        CreateTopicError::InvalidConfig(_) => ErrorCode::InvalidConfig,
        CreateTopicError::Unavailable(e) => admin(*e),
    }
}

pub(crate) fn delete_topic(error: &TopicError) -> ErrorCode {
    match error {
        TopicError::Unknown => ErrorCode::UnknownTopicOrPartition,
        TopicError::Unavailable(e) => admin(*e),
    }
}

pub(crate) fn create_partitions(error: &CreatePartitionsError) -> ErrorCode {
    match error {
        CreatePartitionsError::Unknown => ErrorCode::UnknownTopicOrPartition,
        CreatePartitionsError::Invalid(_) => ErrorCode::InvalidPartitions,
        CreatePartitionsError::InvalidAssignment(_) => ErrorCode::InvalidReplicaAssignment,
        CreatePartitionsError::Unavailable(e) => admin(*e),
    }
}

pub(crate) fn alter_configs(error: &AlterConfigsError) -> ErrorCode {
    match error {
        AlterConfigsError::Unknown => ErrorCode::UnknownTopicOrPartition,
        AlterConfigsError::Invalid(_) => ErrorCode::InvalidConfig,
        AlterConfigsError::Unavailable(e) => admin(*e),
    }
}

/// For DeleteRecords, which a leader does in Apache Kafka.
pub(crate) fn delete_records(error: &TruncateError) -> ErrorCode {
    match error {
        TruncateError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
        TruncateError::OutOfRange => ErrorCode::OffsetOutOfRange,
        TruncateError::Unavailable(Unavailable::Timeout) => ErrorCode::RequestTimedOut,
        TruncateError::Unavailable(Unavailable::Stopping) => ErrorCode::NotLeaderOrFollower,
    }
}

pub(crate) fn producer_id(error: &ProducerIdError) -> ErrorCode {
    match error {
        // Fatal to producers, with a sentence that comes close: waiting a day for ids to expire is no use to them.
        ProducerIdError::Exhausted => ErrorCode::ThrottlingQuotaExceeded,
        // Makes every client ask again.
        ProducerIdError::Unavailable(_) => ErrorCode::CoordinatorLoadInProgress,
    }
}

/// For everything that a group's coordinator is asked.
pub(crate) fn group(error: GroupError) -> ErrorCode {
    match error {
        GroupError::UnknownMemberId => ErrorCode::UnknownMemberId,
        GroupError::IllegalGeneration => ErrorCode::IllegalGeneration,
        GroupError::RebalanceInProgress => ErrorCode::RebalanceInProgress,
        GroupError::MemberIdRequired => ErrorCode::MemberIdRequired,
        GroupError::FencedInstanceId => ErrorCode::FencedInstanceId,
        GroupError::UnreleasedInstanceId => ErrorCode::UnreleasedInstanceId,
        GroupError::InconsistentGroupProtocol => ErrorCode::InconsistentGroupProtocol,
        GroupError::GroupMaxSizeReached => ErrorCode::GroupMaxSizeReached,
        GroupError::InvalidSessionTimeout => ErrorCode::InvalidSessionTimeout,
        GroupError::FencedMemberEpoch => ErrorCode::FencedMemberEpoch,
        GroupError::StaleMemberEpoch => ErrorCode::StaleMemberEpoch,
        GroupError::UnsupportedAssignor => ErrorCode::UnsupportedAssignor,
        GroupError::InvalidRegularExpression => ErrorCode::InvalidRegularExpression,
        GroupError::GroupIdNotFound => ErrorCode::GroupIdNotFound,
        GroupError::InvalidRequest(_) => ErrorCode::InvalidRequest,
        GroupError::NotCoordinator => ErrorCode::NotCoordinator,
        GroupError::CoordinatorNotAvailable => ErrorCode::CoordinatorNotAvailable,
    }
}

/// For OffsetCommit. Versions before 9 do not know member epochs: Apache Kafka tells them that they are too old for such a group.
pub(crate) fn commit_group(error: GroupError, version: i16) -> ErrorCode {
    match error {
        GroupError::StaleMemberEpoch if version < 9 => ErrorCode::UnsupportedVersion,
        other => group(other),
    }
}

/// For one partition of OffsetCommit.
pub(crate) fn commit(error: CommitRefused, version: i16) -> ErrorCode {
    match error {
        CommitRefused::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
        CommitRefused::Invalid => ErrorCode::InvalidRequest,
        CommitRefused::StaleMemberEpoch => commit_group(GroupError::StaleMemberEpoch, version),
        // Not to be tried again.
        CommitRefused::OutOfSpace => ErrorCode::ThrottlingQuotaExceeded,
    }
}

/// For OffsetFetch: COORDINATOR_NOT_AVAILABLE is fatal to many consumers there.
pub(crate) fn offset_fetch(error: GroupError) -> ErrorCode {
    match error {
        GroupError::CoordinatorNotAvailable => ErrorCode::CoordinatorLoadInProgress,
        other => group(other),
    }
}

pub(crate) fn delete_group(error: DeleteError) -> ErrorCode {
    match error {
        DeleteError::NonEmpty => ErrorCode::NonEmptyGroup,
        DeleteError::Group(error) => group(error),
    }
}

/// A topic that could not be looked up for a group: makes clients ask again.
pub(crate) fn group_topic(error: Unavailable) -> ErrorCode {
    match error {
        Unavailable::Timeout => ErrorCode::CoordinatorLoadInProgress,
        Unavailable::Stopping => ErrorCode::NotCoordinator,
    }
}
