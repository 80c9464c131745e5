//! Consumer groups: their names and who owns them. ("Group" alone is a group of ops, see the design's words.)

use std::fmt;
use std::sync::Arc;

use crate::{Incarnation, Namespace};

/// Name of a consumer group: any string of 1 to 32,767 bytes (the longest that Kafka's protocol can carry).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(Arc<str>);

/// Why a group id is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupIdError {
    #[error("a group id must not be empty")]
    Empty,
    #[error("a group id has at most {max} bytes", max = GroupId::MAX_LEN)]
    TooLong,
}

impl GroupId {
    /// In bytes.
    pub const MAX_LEN: usize = i16::MAX as usize;

    pub fn new(id: &str) -> Result<Self, GroupIdError> {
        match id.len() {
            0 => Err(GroupIdError::Empty),
            1..=Self::MAX_LEN => Ok(Self(id.into())),
            _ => Err(GroupIdError::TooLong),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A consumer group among all of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey {
    pub namespace: Namespace,
    pub id: GroupId,
}

impl GroupKey {
    /// `None` if one of the two is not a valid name.
    pub fn parse(namespace: &str, id: &str) -> Option<GroupKey> {
        Some(GroupKey { namespace: Namespace::new(namespace).ok()?, id: GroupId::new(id).ok()? })
    }
}

impl fmt::Display for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace.as_str(), self.id)
    }
}

/// Who owns a consumer group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupClaim {
    /// Of this claim alone, for ever: no other claim of any group has it. 0 is none.
    pub epoch: u64,
    pub owner: Incarnation,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_ids_are_any_string_that_the_protocol_carries() {
        assert_eq!(GroupId::new(""), Err(GroupIdError::Empty));
        assert_eq!(GroupId::new(&"x".repeat(32_768)), Err(GroupIdError::TooLong));
        for id in [" ", "a b/c..", "\0", "группа", &"x".repeat(32_767)] {
            assert_eq!(GroupId::new(id).expect("a group id").as_str(), id);
        }
        assert_eq!(GroupKey::parse("de fault", "g"), None);
        assert_eq!(GroupKey::parse("default", "g h").expect("a key").to_string(), "default/g h");
    }
}
