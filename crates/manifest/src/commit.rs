//! Commit objects: packing groups into one, and reading one back.

use bytes::Bytes;
use lakebed_record::envelope::{self, FormatError, HEADER_LEN, Header, Kind};
use lakebed_record::ops::{CommitBody, Group, OpKind, StateAssertion};
use lakebed_record::{CommitId, FEATURE_LEVEL, Incarnation, Slot, crc};
use lakebed_store::Body;
use prost::Message;

/// A commit as read or written: its body, and where the inlined records start in the object.
#[derive(Clone, Debug)]
pub struct Commit {
    pub slot: Slot,
    pub id: CommitId,
    pub writer: Incarnation,
    pub wall_ms: i64,
    pub verified_time: bool,
    pub groups: Vec<Group>,
    pub assert: Option<StateAssertion>,
    /// Where the payload starts in the object, and how long it is, in bytes.
    pub payload_start: u64,
    pub payload_len: u64,
}

/// What a slot holds.
#[derive(Clone, Debug)]
pub enum SlotContent {
    Commit(Commit),
    /// Stored length differs from the declared one: nobody's, without effect (rule 6).
    Void,
}

/// What is known before a commit has its bytes.
pub struct Draft {
    pub slot: Slot,
    pub id: CommitId,
    pub writer: Incarnation,
    pub wall_ms: i64,
    pub verified_time: bool,
    pub feature_level: u16,
    pub assert: Option<StateAssertion>,
}

impl Draft {
    /// Packs groups, each with its inline bytes, behind each other.
    pub fn seal<'a>(self, groups: impl Iterator<Item = (&'a Group, &'a [Bytes])>) -> (Commit, Body) {
        let mut payload: Vec<Bytes> = Vec::new();
        let mut payload_len = 0;
        let mut payload_crc = crc::crc32c(&[]);
        let mut packed = Vec::new();
        for (group, inline) in groups {
            packed.push(Group { inline_start: payload_len, ..group.clone() });
            for chunk in inline {
                payload_crc = crc::combine(payload_crc, crc::crc32c(chunk), chunk.len() as u64);
                payload_len += chunk.len() as u64;
                payload.push(chunk.clone());
            }
        }
        let body = CommitBody {
            slot: self.slot.0,
            commit_id: self.id.0.to_be_bytes().to_vec(),
            writer: self.writer.0,
            wall_ms: self.wall_ms,
            verified_time: self.verified_time,
            groups: packed,
            assert: self.assert,
        };
        let (head, crc) =
            envelope::seal(Kind::Commit, self.feature_level, &body.encode_to_vec(), payload_len, payload_crc);
        let payload_start = head.len() as u64;
        let chunks = std::iter::once(head).chain(payload).collect();
        let commit = Commit {
            slot: self.slot,
            id: self.id,
            writer: self.writer,
            wall_ms: self.wall_ms,
            verified_time: self.verified_time,
            groups: body.groups,
            assert: self.assert,
            payload_start,
            payload_len,
        };
        (commit, Body::with_crc(chunks, crc))
    }
}

/// The first bytes of a slot's object, judged.
#[derive(Debug)]
pub enum Opened {
    Content(SlotContent),
    /// The ops reach to this many bytes: read on from the start.
    NeedBytes(u64),
}

/// Reads a slot from the first bytes of its object; `total_len` is the stored length.
pub fn open(slot: Slot, bytes: &[u8], total_len: u64) -> Result<Opened, FormatError> {
    if total_len < HEADER_LEN as u64 {
        return Ok(Opened::Content(SlotContent::Void));
    }
    if (bytes.len() as u64) < HEADER_LEN as u64 {
        return Ok(Opened::NeedBytes(HEADER_LEN as u64));
    }
    let header = envelope::open(Kind::Commit, bytes)?;
    if header.total_len() != total_len {
        return Ok(Opened::Content(SlotContent::Void));
    }
    if header.feature_level > FEATURE_LEVEL {
        return Err(FormatError::FeatureLevel(header.feature_level));
    }
    if (bytes.len() as u64) < header.payload_start() {
        return Ok(Opened::NeedBytes(header.payload_start()));
    }
    let commit = decode(&header, envelope::body(&header, bytes)?)?;
    if commit.slot != slot {
        return Err(FormatError::Body(format!("the commit at slot {slot} says that it is {}", commit.slot)));
    }
    Ok(Opened::Content(SlotContent::Commit(commit)))
}

/// The inlined records of a whole commit object, if their CRC is right.
pub fn payload_intact(bytes: &[u8]) -> bool {
    let Ok(header) = envelope::open(Kind::Commit, bytes) else { return false };
    let payload = bytes.get(header.payload_start() as usize..).unwrap_or_default();
    payload.len() as u64 == header.payload_len && crc::crc32c(payload) == header.payload_crc
}

fn decode(header: &Header, body: &[u8]) -> Result<Commit, FormatError> {
    let body = CommitBody::decode(body).map_err(|e| FormatError::Body(e.to_string()))?;
    // An op that raises the level past what this build knows must not be applied as a refusal: newer builds honour it.
    let raised = body.groups.iter().flat_map(|g| &g.ops).filter_map(|op| match &op.kind {
        Some(OpKind::FeatureLevel(op)) => Some(u16::try_from(op.level).unwrap_or(u16::MAX)),
        _ => None,
    });
    if let Some(level) = raised.max().filter(|level| *level > FEATURE_LEVEL) {
        return Err(FormatError::FeatureLevel(level));
    }
    let id = body.commit_id.as_slice().try_into().map_err(|_| FormatError::Body("a commit id has 16 bytes".into()))?;
    Ok(Commit {
        slot: Slot(body.slot),
        id: CommitId(u128::from_be_bytes(id)),
        writer: Incarnation(body.writer),
        wall_ms: body.wall_ms,
        verified_time: body.verified_time,
        groups: body.groups,
        assert: body.assert,
        payload_start: header.payload_start(),
        payload_len: header.payload_len,
    })
}
