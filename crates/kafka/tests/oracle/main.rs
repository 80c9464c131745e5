//! The wire codec against kafka-protocol, another implementation of the same message definitions: what it writes is read
//! the same here, and what is written here it reads the same; every API, every version. What it does not know yet is
//! compared with bytes of Apache Kafka's own.

mod draw;
mod golden;
mod requests;
mod responses;

use kafka_protocol::error::ResponseError;
use lakebed_kafka::wire::ErrorCode;

/// Every code has the number that its name has elsewhere.
#[test]
fn error_codes() {
    use ErrorCode as Ours;
    use ResponseError as Theirs;
    let pairs = [
        (Ours::UnknownServerError, Theirs::UnknownServerError),
        (Ours::OffsetOutOfRange, Theirs::OffsetOutOfRange),
        (Ours::CorruptMessage, Theirs::CorruptMessage),
        (Ours::UnknownTopicOrPartition, Theirs::UnknownTopicOrPartition),
        (Ours::LeaderNotAvailable, Theirs::LeaderNotAvailable),
        (Ours::NotLeaderOrFollower, Theirs::NotLeaderOrFollower),
        (Ours::RequestTimedOut, Theirs::RequestTimedOut),
        (Ours::MessageTooLarge, Theirs::MessageTooLarge),
        (Ours::OffsetMetadataTooLarge, Theirs::OffsetMetadataTooLarge),
        (Ours::CoordinatorLoadInProgress, Theirs::CoordinatorLoadInProgress),
        (Ours::CoordinatorNotAvailable, Theirs::CoordinatorNotAvailable),
        (Ours::NotCoordinator, Theirs::NotCoordinator),
        (Ours::InvalidTopic, Theirs::InvalidTopicException),
        (Ours::InvalidRequiredAcks, Theirs::InvalidRequiredAcks),
        (Ours::IllegalGeneration, Theirs::IllegalGeneration),
        (Ours::InconsistentGroupProtocol, Theirs::InconsistentGroupProtocol),
        (Ours::InvalidGroupId, Theirs::InvalidGroupId),
        (Ours::UnknownMemberId, Theirs::UnknownMemberId),
        (Ours::InvalidSessionTimeout, Theirs::InvalidSessionTimeout),
        (Ours::RebalanceInProgress, Theirs::RebalanceInProgress),
        (Ours::InvalidTimestamp, Theirs::InvalidTimestamp),
        (Ours::UnsupportedVersion, Theirs::UnsupportedVersion),
        (Ours::TopicAlreadyExists, Theirs::TopicAlreadyExists),
        (Ours::InvalidPartitions, Theirs::InvalidPartitions),
        (Ours::InvalidReplicationFactor, Theirs::InvalidReplicationFactor),
        (Ours::InvalidReplicaAssignment, Theirs::InvalidReplicaAssignment),
        (Ours::InvalidConfig, Theirs::InvalidConfig),
        (Ours::NotController, Theirs::NotController),
        (Ours::InvalidRequest, Theirs::InvalidRequest),
        (Ours::PolicyViolation, Theirs::PolicyViolation),
        (Ours::OutOfOrderSequenceNumber, Theirs::OutOfOrderSequenceNumber),
        (Ours::InvalidProducerEpoch, Theirs::InvalidProducerEpoch),
        (Ours::KafkaStorageError, Theirs::KafkaStorageError),
        (Ours::UnknownProducerId, Theirs::UnknownProducerId),
        (Ours::NonEmptyGroup, Theirs::NonEmptyGroup),
        (Ours::GroupIdNotFound, Theirs::GroupIdNotFound),
        (Ours::FetchSessionIdNotFound, Theirs::FetchSessionIdNotFound),
        (Ours::InvalidFetchSessionEpoch, Theirs::InvalidFetchSessionEpoch),
        (Ours::FencedLeaderEpoch, Theirs::FencedLeaderEpoch),
        (Ours::UnknownLeaderEpoch, Theirs::UnknownLeaderEpoch),
        (Ours::UnsupportedCompressionType, Theirs::UnsupportedCompressionType),
        (Ours::MemberIdRequired, Theirs::MemberIdRequired),
        (Ours::GroupMaxSizeReached, Theirs::GroupMaxSizeReached),
        (Ours::FencedInstanceId, Theirs::FencedInstanceId),
        (Ours::EligibleLeadersNotAvailable, Theirs::EligibleLeadersNotAvailable),
        (Ours::ElectionNotNeeded, Theirs::ElectionNotNeeded),
        (Ours::NoReassignmentInProgress, Theirs::NoReassignmentInProgress),
        (Ours::GroupSubscribedToTopic, Theirs::GroupSubscribedToTopic),
        (Ours::InvalidRecord, Theirs::InvalidRecord),
        (Ours::ThrottlingQuotaExceeded, Theirs::ThrottlingQuotaExceeded),
        (Ours::UnknownTopicId, Theirs::UnknownTopicId),
        (Ours::InconsistentTopicId, Theirs::InconsistentTopicId),
        (Ours::FetchSessionTopicIdError, Theirs::FetchSessionTopicIdError),
        (Ours::FencedMemberEpoch, Theirs::FencedMemberEpoch),
        (Ours::UnreleasedInstanceId, Theirs::UnreleasedInstanceId),
        (Ours::UnsupportedAssignor, Theirs::UnsupportedAssignor),
        (Ours::StaleMemberEpoch, Theirs::StaleMemberEpoch),
        (Ours::InvalidRegularExpression, Theirs::InvalidRegularExpression),
    ];
    for (ours, theirs) in pairs {
        assert_eq!(ours as i16, theirs.code(), "{ours:?}");
    }
}
