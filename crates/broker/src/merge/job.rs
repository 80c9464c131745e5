//! One merge: reads every input once, checks every batch, writes the segment, submits the move.
//!
//! Nothing is changed until the op applies, and then everything at once. A crash before leaves an orphan at most; inputs are
//! named by identity, so of several nodes that merge the same entries one succeeds. Runs that went meanwhile (a topic was deleted,
//! somebody else was faster) are left out, unless they are most of it. A batch that is not what was stored is never copied: it
//! raises an alarm, and its entry stays where it is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lakebed_manifest::state::Located;
use lakebed_manifest::{Entry, Manifest, State};
use lakebed_record::entries::{ObjectTable, Place};
use lakebed_record::ops::{MoveEntries, OpKind, PartitionMove, SegmentPlace};
use lakebed_record::{DataObject, TopicPartition, crc, keys, segment};
use lakebed_store::env::Env;
use lakebed_store::{ReadError, Store};

use super::join::{Input, Part, Read, join, reads};
use super::output::{Output, OutputError};
use super::plan::{Merge, Run};
use crate::fetch::ring::Ring;
use crate::fetch::{Rope, StoredBatch, WalkError, batches_of, verify};
use crate::metrics::{Alarm, Metrics};
use crate::off_worker::Turns;

/// What is read at once, in requests and bytes.
const WAVE: usize = 16;
pub const WAVE_BYTES: u64 = 16 << 20;
/// Copying more bytes than this takes a turn.
const LONG: u64 = 2 << 20;
const TRIES: u32 = 4;
/// How often an op is submitted with what is left of its runs.
const NAME_TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// A batch's own CRC covers what follows here.
const CRC_START: u64 = 21;

#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    #[error("the object store does not answer: {1}")]
    Store(DataObject, String),
    #[error("an object is missing")]
    Lost(DataObject),
    #[error("an entry is damaged")]
    Damaged(TopicPartition, i64),
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// What a merge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    pub read: u64,
    pub written: u64,
    pub before: usize,
    pub after: usize,
}

#[derive(Clone)]
pub struct Inputs {
    pub manifest: Manifest,
    pub store: Arc<dyn Store>,
    pub env: Env,
    pub ring: Arc<Ring>,
    pub metrics: Metrics,
    pub turns: Turns,
}

/// The output's payload, as it fills, and what is known of it.
struct Payload {
    bytes: Vec<u8>,
    /// Of each input in its order: CRC-32C and length.
    sums: Vec<(u32, u64)>,
    /// Of each input in its order: its batches.
    batches: Vec<Vec<Part>>,
    read: u64,
}

pub async fn run(inputs: &Inputs, output: &mut Output, merge: &Merge) -> Result<Merged, MergeError> {
    let payload = inputs.read_all(output, merge).await?;
    let sum = payload.sums.iter().fold(crc::crc32c(&[]), |sum, (crc, len)| crc::combine(sum, *crc, *len));
    let feature_level = inputs.manifest.read(|s| s.feature_level());
    let written = payload.bytes.len() as u64;
    let (header, crc) = segment::header(feature_level, written, sum);
    let mut moves = moves(merge, &payload.batches);
    let place = output.store(vec![header, payload.bytes.into()], crc).await?;
    let named = name(inputs, output, &mut moves, written, place).await;
    if let Err(error) = named {
        output.discard(&place, &error).await;
        return Err(error.into());
    }
    let before = moves.iter().map(|m| m.run.entries.len()).sum();
    let after = moves.iter().map(|m| m.outputs.len()).sum();
    Ok(Merged { read: payload.read, written, before, after })
}

/// Submits the op with the runs that are still there, which `moves` has afterwards.
async fn name(
    inputs: &Inputs,
    output: &Output,
    moves: &mut Vec<Move<'_>>,
    written: u64,
    place: SegmentPlace,
) -> Result<(), OutputError> {
    let mut tries = 0;
    loop {
        inputs.manifest.read(|s| moves.retain(|m| is_live(s, m.run)));
        let left: u64 = moves.iter().map(Move::len).sum();
        if moves.is_empty() || left < written / 2 {
            return Err(OutputError::InputGone);
        }
        tries += 1;
        match output.submit(op(moves, place)).await {
            Err(OutputError::InputGone) if tries < NAME_TRIES => {}
            named => return named,
        }
    }
}

fn is_live(state: &State, run: &Run) -> bool {
    let base_offset = run.entries[0].base_offset;
    let there = state.partition(run.partition).map(|p| p.entries_from(base_offset).take(run.entries.len()));
    there.is_some_and(|there| there.eq(&run.entries))
}

/// A run, where its bytes are in the output's payload, and the entries that come of it.
pub(super) struct Move<'a> {
    run: &'a Run,
    start: u64,
    outputs: Vec<Part>,
}

impl Move<'_> {
    fn len(&self) -> u64 {
        self.outputs.iter().map(|o| o.len).sum()
    }
}

/// `batches`: of each input entry.
pub(super) fn moves<'a>(merge: &'a Merge, batches: &[Vec<Part>]) -> Vec<Move<'a>> {
    let (mut left, mut start) = (batches, segment::PAYLOAD_START);
    let moves = merge.runs.iter().map(|run| {
        let (these, rest) = left.split_at(run.entries.len());
        left = rest;
        let m = Move { run, start, outputs: join(&these.concat()) };
        start += m.len();
        m
    });
    moves.collect()
}

pub(super) fn op(moves: &[Move<'_>], place: SegmentPlace) -> OpKind {
    let mut objects = ObjectTable::default();
    let moves = moves.iter().map(|Move { run, start, outputs }| {
        let base_offset = run.entries[0].base_offset;
        PartitionMove {
            inputs: Some(objects.run(run.partition, base_offset, run.entries.iter().map(place_of))),
            offsets: outputs.iter().map(|o| o.offsets).collect(),
            len: outputs.iter().map(|o| o.len).collect(),
            max_timestamp: outputs.iter().map(|o| o.max_timestamp).collect(),
            start: *start,
        }
    });
    let moves = moves.collect();
    OpKind::MoveEntries(MoveEntries { output: Some(place), objects: objects.into_refs(), moves })
}

pub fn place_of(e: &Entry) -> Place {
    Place { offsets: e.offsets, object: e.object, start: e.start, len: e.len }
}

impl Inputs {
    async fn read_all(&self, output: &Output, merge: &Merge) -> Result<Payload, MergeError> {
        let count = merge.entries();
        let mut payload = Payload {
            bytes: vec![0; merge.bytes() as usize],
            sums: vec![(0, 0); count],
            batches: vec![Vec::new(); count],
            read: 0,
        };
        let reads = reads(merge);
        let mut left = reads.as_slice();
        while !left.is_empty() {
            let (wave, rest) = left.split_at(wave(left));
            left = rest;
            let (started, before) = (self.env.clock.monotonic(), payload.read);
            let loaded = futures_util::future::join_all(wave.iter().map(|r| self.load(merge, r))).await;
            for (read, rope) in wave.iter().zip(loaded) {
                let (rope, from_store) = rope?;
                payload.read += from_store;
                for input in &read.inputs {
                    if input.entry.len > LONG {
                        self.turns.next().await.run(|| self.copy(merge, input, &rope, &mut payload))?;
                    } else {
                        self.copy(merge, input, &rope, &mut payload)?;
                        // A megabyte at a time: others go on in between.
                        tokio::task::yield_now().await;
                    }
                }
            }
            output.pace.moved(&self.env, started, payload.read - before).await;
        }
        Ok(payload)
    }

    /// The bytes, and how many of them came from the store.
    async fn load(&self, merge: &Merge, read: &Read) -> Result<(Rope, u64), MergeError> {
        if let Some(rope) = self.ring.get(&read.object).filter(|r| r.covers(&(read.start..read.end))) {
            return Ok(((*rope).clone(), 0));
        }
        let key = keys::data(&read.object);
        let (mut pause, mut tries) = (FIRST_PAUSE, 0);
        loop {
            match self.store.get(&key, Some(read.start..read.end)).await.value {
                Ok(object) => {
                    let len = object.bytes.len() as u64;
                    return Ok((Rope::new(read.start, [object.bytes]), len));
                }
                Err(ReadError::NotFound) => return Err(self.missing(merge, read).await),
                Err(ReadError::Fault(fault)) => {
                    tries += 1;
                    if tries == TRIES {
                        return Err(MergeError::Store(read.object, fault.to_string()));
                    }
                }
            }
            self.env.clock.sleep(pause).await;
            pause *= 2;
        }
    }

    /// Looks again behind a read barrier: what lay in it may have moved.
    async fn missing(&self, merge: &Merge, read: &Read) -> MergeError {
        if self.manifest.barrier().await.is_err() {
            return OutputError::Stopped.into();
        }
        let still = |s: &State, input: &Input| {
            let located = s.partition(merge.runs[input.run].partition).and_then(|p| p.locate(input.entry.base_offset));
            matches!(located, Some(Located::Entry(e)) if *e == input.entry)
        };
        let Some(input) = self.manifest.read(|s| read.inputs.iter().find(|i| still(s, i)).copied()) else {
            return OutputError::InputGone.into();
        };
        self.metrics.alarm(Alarm::DataMissing);
        let (tp, key) = (merge.runs[input.run].partition, keys::data(&read.object));
        let offset = input.entry.base_offset;
        tracing::error!(partition = %tp, offset, %key, "an object that holds records is not in the store");
        MergeError::Lost(read.object)
    }

    fn copy(&self, merge: &Merge, input: &Input, rope: &Rope, payload: &mut Payload) -> Result<(), MergeError> {
        copy(input, rope, payload).map_err(|error| {
            let (tp, offset) = (merge.runs[input.run].partition, input.entry.base_offset);
            self.metrics.alarm(Alarm::DataCorrupt);
            let key = keys::data(&input.entry.object);
            tracing::error!(partition = %tp, offset, %key, %error, "stored records are damaged");
            MergeError::Damaged(tp, offset)
        })
    }
}

/// How many of these are read at once.
fn wave(reads: &[Read]) -> usize {
    let mut bytes = 0;
    let fitting = reads.iter().take(WAVE).take_while(|r| {
        bytes += r.len();
        bytes <= WAVE_BYTES
    });
    fitting.count().max(1)
}

fn copy(input: &Input, rope: &Rope, payload: &mut Payload) -> Result<(), WalkError> {
    let mut to = input.to;
    let mut sum = crc::crc32c(&[]);
    for batch in batches_of(&input.entry, rope) {
        let batch = batch?;
        verify(&batch, rope)?;
        let all = batch.start..batch.start + batch.len();
        for piece in rope.slices(all) {
            payload.bytes[to..to + piece.len()].copy_from_slice(&piece);
            to += piece.len();
        }
        sum = crc::combine(sum, head_sum(&batch, rope), CRC_START);
        sum = crc::combine(sum, batch.header.crc, batch.len() - CRC_START);
        let offsets = (batch.next_offset() - batch.base_offset) as u64;
        let part = Part { offsets, len: batch.len(), max_timestamp: batch.header.max_timestamp };
        payload.batches[input.number].push(part);
    }
    payload.sums[input.number] = (sum, input.entry.len);
    Ok(())
}

/// CRC-32C of the bytes before those that the batch's own one covers.
fn head_sum(batch: &StoredBatch, rope: &Rope) -> u32 {
    let head: Vec<Bytes> = rope.slices(batch.start..batch.start + CRC_START).collect();
    head.iter().fold(crc::crc32c(&[]), |sum, p| crc::combine(sum, crc::crc32c(p), p.len() as u64))
}
