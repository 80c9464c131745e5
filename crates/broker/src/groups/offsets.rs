//! Committed offsets, between what a front end says and the ops.

use std::collections::HashMap;

use lakebed_record::TopicPartition;
use lakebed_record::ops::{CommitOutcome, PartitionOffset, TopicOffsets};

/// An offset that a consumer wants to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitOffset {
    pub at: TopicPartition,
    /// The next record that the group wants.
    pub offset: i64,
    /// −1: not known.
    pub leader_epoch: i32,
    /// At most 4,096 bytes.
    pub metadata: String,
}

pub type CommitResult = Result<(), CommitRefused>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitRefused {
    #[error("no such topic or partition")]
    UnknownPartition,
    #[error("the offset is negative, or its metadata is longer than 4,096 bytes")]
    Invalid,
    #[error("the member does not have the partition at this epoch")]
    StaleMemberEpoch,
    #[error("consumer groups keep as much as they may")]
    OutOfSpace,
}

/// By topic; within one in the order in which they came.
pub fn to_ops<'a>(offsets: impl Iterator<Item = &'a CommitOffset>) -> Vec<TopicOffsets> {
    let mut topics: Vec<TopicOffsets> = Vec::new();
    let mut places = HashMap::new();
    for o in offsets {
        let place = *places.entry(o.at.topic).or_insert_with(|| {
            topics.push(TopicOffsets { topic_id: o.at.topic.0.to_be_bytes().to_vec(), offsets: Vec::new() });
            topics.len() - 1
        });
        topics[place].offsets.push(PartitionOffset {
            partition: o.at.partition.0,
            offset: o.offset,
            leader_epoch: o.leader_epoch,
            metadata: o.metadata.clone(),
        });
    }
    topics
}

/// What became of each of `offsets`; `outcomes` are those of [`to_ops`] of the allowed ones.
pub fn to_results(offsets: &[CommitOffset], allowed: &[bool], outcomes: &[Vec<CommitOutcome>]) -> Vec<CommitResult> {
    let mut topics = outcomes.iter().map(|o| o.iter());
    let mut by_topic = HashMap::new();
    let results = offsets.iter().zip(allowed).map(|(o, allowed)| {
        if !allowed {
            return Err(CommitRefused::StaleMemberEpoch);
        }
        let of_topic = by_topic.entry(o.at.topic).or_insert_with(|| topics.next().unwrap_or_default());
        match of_topic.next() {
            Some(CommitOutcome::Committed) => Ok(()),
            Some(CommitOutcome::UnknownPartition) | None => Err(CommitRefused::UnknownPartition),
            Some(CommitOutcome::Invalid) => Err(CommitRefused::Invalid),
            Some(CommitOutcome::OutOfSpace) => Err(CommitRefused::OutOfSpace),
        }
    });
    results.collect()
}

#[cfg(test)]
mod tests {
    use lakebed_record::TopicId;

    use super::*;

    #[test]
    fn results_find_their_offsets_again() {
        let offset = |topic, partition| CommitOffset {
            at: TopicPartition::new(TopicId(topic), partition),
            offset: 10 * i64::from(partition),
            leader_epoch: -1,
            metadata: String::new(),
        };
        let offsets = [offset(1, 0), offset(2, 0), offset(1, 1), offset(2, 1), offset(1, 2)];
        let allowed = [true, true, true, false, true];
        let ops = to_ops(offsets.iter().zip(allowed).filter(|(_, allowed)| *allowed).map(|(o, _)| o));
        let partitions: Vec<Vec<i32>> = ops.iter().map(|t| t.offsets.iter().map(|o| o.partition).collect()).collect();
        assert_eq!(partitions, [vec![0, 1, 2], vec![0]]);
        use CommitOutcome::*;
        let results = to_results(&offsets, &allowed, &[vec![Committed, Invalid, OutOfSpace], vec![UnknownPartition]]);
        let expected = [
            Ok(()),
            Err(CommitRefused::UnknownPartition),
            Err(CommitRefused::Invalid),
            Err(CommitRefused::StaleMemberEpoch),
            Err(CommitRefused::OutOfSpace),
        ];
        assert_eq!(results, expected);
    }
}
