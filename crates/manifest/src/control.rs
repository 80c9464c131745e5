//! FORMAT and CURRENT: small JSON objects inside the usual envelope.

use lakebed_record::envelope::{self, FormatError, Kind};
use lakebed_record::{FEATURE_LEVEL, Slot, crc};
use lakebed_store::Body;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Created once per bucket and prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Format {
    pub cluster_id: String,
    /// Version of the object layout.
    pub format: u32,
    /// What the waiting times of this bucket are divided by: 1, but for tests.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub time_scale: u32,
}

fn whole() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_whole(scale: &u32) -> bool {
    *scale == 1
}

pub const FORMAT_VERSION: u32 = 1;

/// The only mutable object that the manifest trusts. Its content never repeats: the serial number grows and `attempt` is random.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Current {
    pub serial: u64,
    pub attempt: String,
    /// Newest first; at most [`KEPT_SNAPSHOTS`].
    pub snapshots: Vec<SnapshotRef>,
    /// Slots below it may be gone.
    pub log_floor: u64,
    /// Builds whose newest feature level is below these must not read, or not write.
    pub min_reader: u16,
    pub min_writer: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotRef {
    pub slot: u64,
    /// Key of its index.
    pub index: String,
}

pub const KEPT_SNAPSHOTS: usize = 3;

impl Current {
    /// What a new bucket starts with.
    pub fn first(attempt: u128) -> Current {
        Current {
            serial: 1,
            attempt: format!("{attempt:032x}"),
            snapshots: Vec::new(),
            log_floor: 1,
            min_reader: 1,
            min_writer: 1,
        }
    }

    pub fn with_snapshot(&self, snapshot: SnapshotRef, attempt: u128) -> Current {
        let kept = self.snapshots.iter().take(KEPT_SNAPSHOTS - 1).cloned();
        Current { snapshots: std::iter::once(snapshot).chain(kept).collect(), ..self.next(attempt) }
    }

    /// Slots below `floor` may be deleted once this is stored.
    pub fn with_floor(&self, floor: Slot, attempt: u128) -> Current {
        Current { log_floor: self.log_floor.max(floor.0), ..self.next(attempt) }
    }

    fn next(&self, attempt: u128) -> Current {
        Current { serial: self.serial + 1, attempt: format!("{attempt:032x}"), ..self.clone() }
    }

    /// The slot of the newest snapshot; 0, where replay begins, if there is none.
    pub fn newest_snapshot(&self) -> Slot {
        Slot(self.snapshots.first().map_or(0, |s| s.slot))
    }
}

pub fn seal(kind: Kind, value: &impl Serialize) -> Body {
    let json = serde_json::to_vec_pretty(value).expect("plain structs serialise");
    let (bytes, crc) = envelope::seal(kind, FEATURE_LEVEL, &json, 0, crc::crc32c(&[]));
    Body::with_crc(vec![bytes], crc)
}

pub fn open<T: DeserializeOwned>(kind: Kind, bytes: &[u8]) -> Result<T, FormatError> {
    let header = envelope::open(kind, bytes)?;
    let json = envelope::body(&header, bytes)?;
    serde_json::from_slice(json).map_err(|e| FormatError::Body(e.to_string()))
}
