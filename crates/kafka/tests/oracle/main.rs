//! The wire codec against kafka-protocol, another implementation of the same message definitions: what it writes is read
//! the same here, and what is written here it reads the same; every API, every version served.

mod draw;
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
        (Ours::CoordinatorLoadInProgress, Theirs::CoordinatorLoadInProgress),
        (Ours::InvalidTopic, Theirs::InvalidTopicException),
        (Ours::InvalidRequiredAcks, Theirs::InvalidRequiredAcks),
        (Ours::InvalidTimestamp, Theirs::InvalidTimestamp),
        (Ours::UnsupportedVersion, Theirs::UnsupportedVersion),
        (Ours::TopicAlreadyExists, Theirs::TopicAlreadyExists),
        (Ours::InvalidPartitions, Theirs::InvalidPartitions),
        (Ours::InvalidReplicationFactor, Theirs::InvalidReplicationFactor),
        (Ours::InvalidReplicaAssignment, Theirs::InvalidReplicaAssignment),
        (Ours::InvalidConfig, Theirs::InvalidConfig),
        (Ours::NotController, Theirs::NotController),
        (Ours::InvalidRequest, Theirs::InvalidRequest),
        (Ours::OutOfOrderSequenceNumber, Theirs::OutOfOrderSequenceNumber),
        (Ours::InvalidProducerEpoch, Theirs::InvalidProducerEpoch),
        (Ours::KafkaStorageError, Theirs::KafkaStorageError),
        (Ours::UnknownProducerId, Theirs::UnknownProducerId),
        (Ours::FetchSessionIdNotFound, Theirs::FetchSessionIdNotFound),
        (Ours::UnknownLeaderEpoch, Theirs::UnknownLeaderEpoch),
        (Ours::UnsupportedCompressionType, Theirs::UnsupportedCompressionType),
        (Ours::InvalidRecord, Theirs::InvalidRecord),
        (Ours::ThrottlingQuotaExceeded, Theirs::ThrottlingQuotaExceeded),
        (Ours::UnknownTopicId, Theirs::UnknownTopicId),
    ];
    for (ours, theirs) in pairs {
        assert_eq!(ours as i16, theirs.code(), "{ours:?}");
    }
}
