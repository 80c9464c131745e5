use lakebed_record::TopicPartition;

use crate::GroupError;
use crate::classic::Classic;
use crate::consumer::{Assigned, Consumer};
use crate::effect::MemberRef;

/// That a member may commit offsets.
#[derive(Debug)]
pub struct CommitPermit<'a> {
    /// The generation to state in the op. Ops of one owner apply in their order, so one whose write is still under way is right.
    pub generation: i32,
    partitions: Partitions<'a>,
}

#[derive(Debug)]
enum Partitions<'a> {
    All,
    /// KIP-1251: a member that has not heard of its newest epoch may still commit what it already had at the one it names.
    HeldSince(&'a Assigned, i32),
}

impl CommitPermit<'_> {
    pub(crate) fn all(generation: i32) -> Self {
        Self { generation, partitions: Partitions::All }
    }

    /// Otherwise the partition is to be answered STALE_MEMBER_EPOCH.
    pub fn allows(&self, at: &TopicPartition) -> bool {
        match self.partitions {
            Partitions::All => true,
            Partitions::HeldSince(assigned, epoch) => assigned.get(at).is_some_and(|since| *since <= epoch),
        }
    }
}

impl Consumer {
    pub(crate) fn check_commit(&self, generation: i32, who: &MemberRef) -> Result<CommitPermit<'_>, GroupError> {
        if who.generation < 0 && self.members.is_empty() {
            return Ok(CommitPermit::all(generation));
        }
        let member = self.members.get(&who.member_id).ok_or(GroupError::UnknownMemberId)?;
        match who.generation.cmp(&member.epoch) {
            std::cmp::Ordering::Equal => Ok(CommitPermit::all(generation)),
            std::cmp::Ordering::Greater => Err(GroupError::StaleMemberEpoch),
            std::cmp::Ordering::Less if who.generation <= 0 => Err(GroupError::StaleMemberEpoch),
            std::cmp::Ordering::Less => {
                Ok(CommitPermit { generation, partitions: Partitions::HeldSince(&member.assigned, who.generation) })
            }
        }
    }
}

impl Classic {
    /// Whether a member of protocol type `consumer` says in its metadata (ConsumerProtocolSubscription: version, then topics) that it subscribes to
    /// the topic.
    pub(crate) fn subscribes(&self, topic: &str) -> bool {
        let metadata = self.members.values().map(|m| m.metadata(&self.protocol));
        self.protocol_type == "consumer" && metadata.into_iter().any(|m| subscribed(&m, topic).unwrap_or(false))
    }
}

/// `None` if the bytes are not what they should be.
fn subscribed(metadata: &[u8], topic: &str) -> Option<bool> {
    let (_version, mut rest) = metadata.split_first_chunk::<2>()?;
    let count;
    (count, rest) = rest.split_first_chunk::<4>()?;
    for _ in 0..i32::from_be_bytes(*count) {
        let len;
        (len, rest) = rest.split_first_chunk::<2>()?;
        let name;
        (name, rest) = rest.split_at_checked(usize::try_from(i16::from_be_bytes(*len)).ok()?)?;
        if name == topic.as_bytes() {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::subscribed;

    #[test]
    fn topics_of_a_subscription() {
        // Version 1, two topics, then user data, which is not read.
        let bytes = [0, 1, 0, 0, 0, 2, 0, 1, b'a', 0, 2, b'b', b'c', 0, 0, 0, 0];
        assert_eq!(subscribed(&bytes, "bc"), Some(true));
        assert_eq!(subscribed(&bytes, "b"), Some(false));
        for cut in 0..9 {
            assert_eq!(subscribed(&bytes[..cut], "bc"), None, "{cut}");
        }
        assert_eq!(subscribed(&[0, 1, 0x7f, 0xff, 0xff, 0xff], "bc"), None);
        assert_eq!(subscribed(&[0, 1, 0, 0, 0, 1, 0xff, 0xff], "bc"), None);
    }
}
