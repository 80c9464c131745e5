//! The producing side of one connection: what is checked before a batch is queued, and in which order it is.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use lakebed_record::batch::{self, BatchError, BatchHeader, Codec, Limits, Validated};
use lakebed_record::ops::{BatchMeta, ProducerMeta};
use lakebed_record::{TopicPartition, crc, is_derived_producer};

use crate::Broker;
use crate::api::{Append, AppendError, Appended, TimestampType, TopicConfig, TopicInfo};
use crate::flush::assemble::Batch;
use crate::flush::connection::Connection;
use crate::flush::request::{Ended, Request};
use crate::memory::MemoryPermit;
use crate::metrics::Stage;
use crate::off_worker::Turn;

/// No timestamp was given for a record.
const NO_TIMESTAMP: i64 = -1;
/// To check a request of so many bytes of batches takes milliseconds, compressed or not.
const LARGE: usize = 8 << 20;
/// Compressed batches of one request are checked without a turn if they decompress to no more than so many bytes together,
/// and each to no more than so many times its size: what a client can make a worker do is bounded by what it sends.
const QUICK: u64 = 2 << 20;
const QUICK_RATIO: u64 = 16;
/// Up to this many bytes a CRC is cheaper to compute than to combine.
const COMBINE_FROM: usize = 4 << 10;
/// Bytes of a batch before those that its own CRC covers.
const BEFORE_CRC: usize = 21;

/// One per connection: batches are stored in the order of the calls.
pub struct Producer {
    broker: Broker,
    connection: Arc<Connection>,
    ids: Ids,
}

/// Which producer ids batches may bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    /// What the cluster grants ([`Broker::init_producer_id`]).
    Granted,
    /// What [`crate::keyed`] derives.
    Derived,
}

impl Producer {
    pub(crate) fn new(broker: Broker, connection: Connection, ids: Ids) -> Producer {
        Producer { broker, connection: Arc::new(connection), ids }
    }

    /// As [`Producer::append_from`], for batches that are not part of a larger piece of memory.
    pub fn append(
        &mut self,
        appends: Vec<Append>,
        timeout: Duration,
    ) -> impl Future<Output = Vec<Result<Appended, AppendError>>> + Send + use<> {
        self.append_from(Frame::default(), appends, timeout)
    }

    /// Checks the batches, slices of `frame`, however long that takes, and queues them, inside this call: for those who hold
    /// up nobody by it. Who serves others goes by [`Producer::check`].
    pub fn append_from(
        &mut self,
        frame: Frame,
        appends: Vec<Append>,
        timeout: Duration,
    ) -> impl Future<Output = Vec<Result<Appended, AppendError>>> + Send + use<> {
        let checked = self.check_all(appends, Decompression::patient);
        let checked = checked.expect("nothing takes longer than there is patience");
        self.append_checked(frame, checked, timeout)
    }

    /// Checks batches inside this call. What takes long is only done with a turn ([`Broker::turn`]): without one it is given
    /// up soon, to be asked for again.
    pub fn check(&self, appends: Vec<Append>, turn: Option<Turn>) -> Result<Checked, TakesLong> {
        match turn {
            Some(turn) => turn.run(|| self.check_all(appends, Decompression::patient)),
            None => self.check_all(appends, Decompression::quick),
        }
    }

    /// Queues batches, slices of `frame`, inside this call. The future gives one result per batch, in their order, as soon as
    /// all are stored and applied, or `timeout` after their check began. Dropping it does not take the batches back; those
    /// not in a group at the end of `timeout`, or a minute after this producer is dropped, will never be stored.
    pub fn append_checked(
        &mut self,
        frame: Frame,
        checked: Checked,
        timeout: Duration,
    ) -> impl Future<Output = Vec<Result<Appended, AppendError>>> + Send + use<> {
        let broker = self.broker.clone();
        let Checked { began: now, batches: checked } = checked;
        if self.connection.request_came(now) {
            self.report_window();
        }
        let queued = broker.env().clock.monotonic();
        broker.metrics().stage(Stage::Validate, queued.saturating_sub(now));
        let accepted: usize = checked.iter().flatten().map(|c| c.bytes.len()).sum();
        let refusals = checked.iter().map(|c| c.as_ref().err().cloned());
        let (request, answer) = Request::new(refusals, now.saturating_add(timeout), frame.memory);
        let batch = |(index, checked): (usize, Result<Accepted, _>)| {
            let Accepted { partition, bytes, crc, meta, log_append_time } = checked.ok()?;
            let bytes = if accepted < frame.len / 2 { Bytes::copy_from_slice(&bytes) } else { bytes };
            let (request, connection) = (Arc::clone(&request), Arc::clone(&self.connection));
            Some(Batch { request, index, connection, partition, bytes, crc, meta, log_append_time, queued })
        };
        let batches: Vec<_> = checked.into_iter().enumerate().filter_map(batch).collect();
        drop(request);
        if !batches.is_empty() {
            broker.stream().push(batches);
        }
        let under_way = UnderWay { connection: Arc::clone(&self.connection), broker: broker.clone() };
        async move {
            let _under_way = under_way;
            let (outcomes, ended) = answer.wait(broker.env()).await;
            if ended == Ended::Expired {
                broker.stream().some_expired();
            }
            broker.metrics().stage(Stage::Total, broker.env().clock.monotonic().saturating_sub(now));
            outcomes
        }
    }

    /// The front end has read all that the client sent: nothing more is to come before we answer. Or no more so.
    pub fn set_waiting(&mut self, waiting: bool) {
        self.broker.stream().set_drained(self.connection.id, waiting);
    }

    fn check_all(&self, appends: Vec<Append>, budget: fn(usize) -> Decompression) -> Result<Checked, TakesLong> {
        let began = self.broker.env().clock.monotonic();
        let mut budget = budget(appends.iter().map(|a| a.batch.len()).sum());
        let batches = appends.into_iter().map(|a| self.check_one(a, &mut budget)).collect::<Result<_, _>>()?;
        Ok(Checked { began, batches })
    }

    fn check_one(
        &self,
        append: Append,
        budget: &mut Decompression,
    ) -> Result<Result<Accepted, AppendError>, TakesLong> {
        let partition = TopicPartition { topic: append.topic, partition: append.partition };
        match self.broker.local_topic(append.topic) {
            Some(topic) => {
                let checked = check(append.batch, partition, &topic, budget, self.broker.env().clock.wall_ms())?;
                Ok(checked.and_then(|accepted| self.check_id(accepted)))
            }
            None => Ok(Err(AppendError::UnknownPartition)),
        }
    }

    /// Nobody else gets at ids that keys of requests may have.
    fn check_id(&self, accepted: Accepted) -> Result<Accepted, AppendError> {
        let derived = accepted.meta.producer.is_some_and(|producer| is_derived_producer(producer.id));
        if derived && self.ids == Ids::Granted { Err(AppendError::UnknownProducerId) } else { Ok(accepted) }
    }

    fn report_window(&self) {
        self.broker.metrics().window_limited();
        tracing::info!(
            client = %self.connection.client,
            "this producer waits for answers most of the time; larger batch.size and linger.ms, or more \
             max.in.flight.requests.per.connection, would free it"
        );
    }
}

/// The piece of memory that the batches of one call are slices of: a slice that is kept keeps all of it.
#[derive(Debug, Default)]
pub struct Frame {
    /// Its bytes. Where the accepted batches are less than half of them, they are copied.
    pub len: usize,
    /// What was taken of the budget for it: given back when no batch is on its way any more, which may be long after the
    /// answer.
    pub memory: Option<MemoryPermit>,
}

/// A request without an answer.
struct UnderWay {
    connection: Arc<Connection>,
    broker: Broker,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.connection.request_ended(self.broker.env().clock.monotonic());
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.broker.stream().forget(&self.connection);
    }
}

/// What was said of each batch of a request.
#[derive(Debug)]
pub struct Checked {
    /// Monotonic.
    began: Duration,
    batches: Vec<Result<Accepted, AppendError>>,
}

/// The batches are many or decompress to much: whoever checks them needs a [`Turn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakesLong;

#[derive(Debug)]
struct Accepted {
    partition: TopicPartition,
    bytes: Bytes,
    crc: u32,
    meta: BatchMeta,
    log_append_time: i64,
}

/// What all batches of one request may decompress to together while they are checked, in bytes: this runs between the
/// connection's reads, and must not hold them up for long whatever is sent.
#[derive(Debug)]
struct Decompression {
    left: u64,
    pace: Pace,
}

#[derive(Debug, PartialEq)]
enum Pace {
    /// What does not fit takes long.
    Quick { came: usize },
    /// What does not fit is too large.
    Patient,
}

impl Decompression {
    fn quick(came: usize) -> Decompression {
        Decompression { left: QUICK, pace: Pace::Quick { came } }
    }

    /// Sixteen times what came, at least what one batch may, at most four times that.
    fn patient(came: usize) -> Decompression {
        let one = Limits::default().max_decompressed;
        Decompression { left: (came as u64).saturating_mul(16).clamp(one, 4 * one), pace: Pace::Patient }
    }

    fn validate(&mut self, bytes: &[u8]) -> Result<Result<Validated, BatchError>, TakesLong> {
        let compressed = is_compressed(bytes);
        let most = match self.pace {
            Pace::Patient => Limits::default().max_decompressed,
            Pace::Quick { came } if came >= LARGE => return Err(TakesLong),
            Pace::Quick { .. } => QUICK_RATIO * bytes.len() as u64,
        };
        if compressed && self.pace != Pace::Patient && most > QUICK {
            return Err(TakesLong);
        }
        let mut used = 0;
        let limits = Limits { max_decompressed: most.min(self.left) };
        let valid = batch::validate_counting(bytes, limits, &mut used);
        self.left = self.left.saturating_sub(used);
        match valid {
            Err(BatchError::TooLarge(_)) if self.pace != Pace::Patient => Err(TakesLong),
            valid => Ok(valid),
        }
    }
}

fn is_compressed(bytes: &[u8]) -> bool {
    let codec = BatchHeader::parse(bytes).and_then(|header| header.codec());
    codec.is_ok_and(|codec| codec != Codec::None)
}

fn check(
    bytes: Bytes,
    partition: TopicPartition,
    topic: &TopicInfo,
    budget: &mut Decompression,
    wall_ms: i64,
) -> Result<Result<Accepted, AppendError>, TakesLong> {
    if !topic.has_partition(partition.partition.0) {
        return Ok(Err(AppendError::UnknownPartition));
    }
    let max = topic.config.max_message_bytes;
    if bytes.len() > max as usize {
        return Ok(Err(AppendError::TooLarge(bytes.len(), max)));
    }
    let valid = budget.validate(&bytes)?;
    Ok(valid.map_err(refusal).and_then(|valid| accept(bytes, partition, &valid, &topic.config, wall_ms)))
}

fn accept(
    bytes: Bytes,
    partition: TopicPartition,
    valid: &Validated,
    config: &TopicConfig,
    wall_ms: i64,
) -> Result<Accepted, AppendError> {
    if valid.header.is_transactional() {
        return Err(AppendError::Transactional);
    }
    let (bytes, crc, max_timestamp) = stamp(bytes, valid, config, wall_ms)?;
    let meta = BatchMeta {
        len: bytes.len() as u32,
        offsets: valid.header.last_offset_delta as u32 + 1,
        max_timestamp,
        producer: producer(&valid.header),
    };
    let stamped = config.timestamp_type == TimestampType::LogAppendTime;
    let log_append_time = if stamped { wall_ms } else { NO_TIMESTAMP };
    Ok(Accepted { partition, bytes, crc, meta, log_append_time })
}

/// Sets or checks the timestamps as the topic wants it; returns the batch as it will be stored, its CRC-32C (all of it)
/// and its largest timestamp.
fn stamp(
    bytes: Bytes,
    valid: &Validated,
    config: &TopicConfig,
    wall_ms: i64,
) -> Result<(Bytes, u32, i64), AppendError> {
    match config.timestamp_type {
        TimestampType::LogAppendTime => {
            let mut own = BytesMut::from(&bytes[..]);
            batch::stamp_log_append_time(&mut own, wall_ms);
            let crc = crc::crc32c(&own);
            Ok((own.freeze(), crc, wall_ms))
        }
        TimestampType::CreateTime => {
            check_range(valid, config, wall_ms)?;
            if valid.max_timestamp == valid.header.max_timestamp {
                let crc = whole_crc(&bytes, valid.header.crc);
                return Ok((bytes, crc, valid.max_timestamp));
            }
            let mut own = BytesMut::from(&bytes[..]);
            batch::set_max_timestamp(&mut own, valid.max_timestamp);
            let crc = crc::crc32c(&own);
            Ok((own.freeze(), crc, valid.max_timestamp))
        }
    }
}

fn check_range(valid: &Validated, config: &TopicConfig, wall_ms: i64) -> Result<(), AppendError> {
    let latest = wall_ms.saturating_add(config.timestamp_after_max_ms);
    if valid.max_timestamp > latest {
        return Err(AppendError::InvalidTimestamp(valid.max_timestamp));
    }
    let earliest = wall_ms.saturating_sub(config.timestamp_before_max_ms);
    if valid.min_timestamp < earliest && valid.min_timestamp != NO_TIMESTAMP {
        return Err(AppendError::InvalidTimestamp(valid.min_timestamp));
    }
    Ok(())
}

/// The batch's own CRC was just checked, so only the bytes before it have to be read again.
fn whole_crc(bytes: &[u8], own: u32) -> u32 {
    if bytes.len() < COMBINE_FROM {
        return crc::crc32c(bytes);
    }
    let (before, covered) = bytes.split_at(BEFORE_CRC);
    crc::combine(crc::crc32c(before), own, covered.len() as u64)
}

fn producer(header: &BatchHeader) -> Option<ProducerMeta> {
    header.is_idempotent().then(|| ProducerMeta {
        id: header.producer_id,
        epoch: header.producer_epoch.into(),
        sequence: header.base_sequence,
        transactional: header.is_transactional(),
    })
}

fn refusal(error: BatchError) -> AppendError {
    match error {
        BatchError::Corrupt(_) => AppendError::Corrupt(error.to_string()),
        BatchError::Magic(_) => AppendError::UnsupportedFormat,
        BatchError::Codec(codec) => AppendError::UnsupportedCompression(codec),
        BatchError::Invalid(_) | BatchError::TooLarge(_) => AppendError::InvalidRecord(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
