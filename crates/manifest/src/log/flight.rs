//! One attempt of this node to write one slot.

use std::time::Duration;

use lakebed_record::CommitId;
use lakebed_store::Body;

use crate::commit::Commit;

/// A slot once attempted is not abandoned until it is seen occupied (rule 1): the same bytes are sent again and again.
#[derive(Debug)]
pub struct Flight {
    pub commit: Commit,
    pub body: Body,
    pub step: Step,
    /// How often the bytes were sent.
    pub tries: u32,
    /// Serial number of the last sending, to tell what began before a barrier.
    pub op: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A PUT is under way.
    Putting,
    /// The last PUT proved nothing; send it again at this time.
    Retry(Duration),
    /// The slot is occupied; a GET will tell by whom.
    Settling,
    /// Answered as created by a store that might keep a short body: a HEAD will tell its length.
    Confirming,
    /// The slot holds this commit, whole.
    Stored,
}

impl Flight {
    pub fn id(&self) -> CommitId {
        self.commit.id
    }

    /// Whether it carries group `number`.
    pub fn carries(&self, number: u64) -> bool {
        self.commit.groups.iter().any(|g| g.number == number)
    }

    #[cfg(test)]
    pub fn groups_carried(&self) -> Vec<u64> {
        self.commit.groups.iter().map(|g| g.number).collect()
    }

    pub fn first_group(&self) -> Option<u64> {
        self.commit.groups.first().map(|g| g.number)
    }
}

/// Wait before try `tries + 1`.
pub fn backoff(tries: u32) -> Duration {
    Duration::from_millis(20 << tries.min(6)).min(Duration::from_secs(1))
}
