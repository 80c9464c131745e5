//! Produce: batches go to the broker in the order in which they were sent, and all pipelined ones at once.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::Either;
use lakebed_broker::api::{Append, AppendError, Appended, Unavailable};
use lakebed_broker::{Broker, Frame};
use lakebed_record::{Partition, TopicId, TopicName};

use super::{Call, Session, open};
use crate::connection::{Admitted, Closed, Kind, LookedUp, Outcome, Started};
use crate::errors;
use crate::metrics::KafkaMetrics;
use crate::wire::produce::{
    ProducePartition, ProduceRequest, ProduceResponsePartition, ProduceResponseTopic, ProduceTopic, TopicRef,
    encode_response,
};
use crate::wire::reader::Reader;
use crate::wire::{DecodeError, ErrorCode, RequestHeader};

/// Where a client gives no time, or none that makes sense.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// From this version on a client may use zstd.
const ZSTD_FROM: i16 = 7;

/// What is to be said of one partition.
enum Verdict {
    Refused(Refused),
    /// What the broker says: its results come in the order of these.
    Given,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Refused {
    code: ErrorCode,
    message: Option<String>,
}

/// A topic as a request names it, that this node does not know.
enum Unknown {
    Name(TopicName),
    Id(TopicId),
}

impl Session {
    pub(super) fn start_produce(&mut self, mut request: Admitted) -> Started {
        let (call, produce) = match decode(&request.frame) {
            Ok(decoded) => decoded,
            Err(closed) => return Started::Refused(closed),
        };
        let unknown = if request.may_look_up() { self.unknown(&produce) } else { Vec::new() };
        if !unknown.is_empty() {
            request.turn = None;
            return Started::Later(look_up(self.front.broker.clone(), unknown, request).boxed());
        }
        let timeout = u64::try_from(produce.timeout_ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis);
        let acks = produce.acks;
        let (verdicts, appends) = self.plan(call, &produce, &request);
        let stored = match appends.is_empty() {
            true => Either::Left(std::future::ready(Vec::new())),
            false => {
                let client_id = RequestHeader::decode(&request.frame).ok().and_then(|(header, _)| header.client_id);
                let producer = self.producer(client_id);
                let Ok(checked) = producer.check(appends, request.turn.take()) else {
                    return Started::Later(await_turn(self.front.broker.clone(), request).boxed());
                };
                let frame = Frame { len: request.frame.len(), memory: request.permit.take() };
                Either::Right(producer.append_checked(frame, checked, timeout.unwrap_or(DEFAULT_TIMEOUT)))
            }
        };
        let metrics = self.front.metrics.clone();
        let outcome = async move { finish(&request, verdicts, stored.await, acks, &metrics) };
        Started::Running { kind: Kind::Produce, outcome: outcome.boxed() }
    }

    fn find(&self, topic: TopicRef<'_>) -> Result<TopicId, Option<Unknown>> {
        match topic {
            TopicRef::Name(name) => {
                let name = TopicName::new(name).map_err(|_| None)?;
                self.front.broker.find_topic(&name).map(|topic| topic.id).ok_or(Some(Unknown::Name(name)))
            }
            TopicRef::Id(id) => self.front.broker.local_topic(id).map(|topic| topic.id).ok_or(Some(Unknown::Id(id))),
        }
    }

    fn unknown(&self, produce: &ProduceRequest<'_>) -> Vec<Unknown> {
        produce.topics.iter().filter_map(|topic| self.find(topic.topic).err().flatten()).collect()
    }

    /// A verdict for every partition, in the order of the request, and what the broker is to store.
    fn plan(&self, call: Call, produce: &ProduceRequest<'_>, request: &Admitted) -> (Vec<Verdict>, Vec<Append>) {
        let (mut verdicts, mut appends) = (Vec::new(), Vec::new());
        for topic in produce.topics {
            let id = match check_request(produce) {
                Ok(()) => self.find(topic.topic).map_err(|_| not_found(topic.topic, request.looked_up)),
                Err(refused) => Err(refused),
            };
            for partition in topic.partitions {
                let batch = id.clone().and_then(|id| Ok((id, check_batch(partition, call.version)?)));
                verdicts.push(match batch {
                    Err(refused) => Verdict::Refused(refused),
                    Ok((topic, batch)) => {
                        let batch = request.frame.slice_ref(batch);
                        appends.push(Append { topic, partition: Partition(partition.index), batch });
                        Verdict::Given
                    }
                });
            }
        }
        (verdicts, appends)
    }
}

fn decode(frame: &Bytes) -> Result<(Call<'_>, ProduceRequest<'_>), Closed> {
    let malformed = |call: Call<'_>, e: DecodeError| call.malformed(e);
    let (call, body) = open(frame).map_err(|_| Closed::Malformed("request header".to_owned()))?;
    let mut reader = Reader::new(body, call.version, call.api.served().is_flexible(call.version));
    let produce = ProduceRequest::decode(&mut reader).map_err(|e| malformed(call, e))?;
    Ok((call, produce))
}

async fn look_up(broker: Broker, unknown: Vec<Unknown>, mut request: Admitted) -> Admitted {
    request.looked_up = LookedUp::Fully;
    for topic in unknown {
        let found = match topic {
            Unknown::Name(name) => broker.topic_by_name(&name).await,
            Unknown::Id(id) => broker.topic_by_id(id).await,
        };
        if let Err(unavailable) = found {
            request.looked_up = LookedUp::Failed(unavailable);
        }
    }
    request
}

async fn await_turn(broker: Broker, mut request: Admitted) -> Admitted {
    request.turn = Some(broker.turn().await);
    request
}

fn not_found(topic: TopicRef<'_>, looked_up: LookedUp) -> Refused {
    let code = match (looked_up, topic) {
        (LookedUp::Failed(Unavailable::Timeout), _) => ErrorCode::RequestTimedOut,
        (LookedUp::Failed(unavailable), _) => errors::read(unavailable),
        (_, TopicRef::Name(_)) => ErrorCode::UnknownTopicOrPartition,
        (_, TopicRef::Id(_)) => ErrorCode::UnknownTopicId,
    };
    Refused { code, message: None }
}

/// What is wrong with a request as a whole is said of each of its partitions.
fn check_request(produce: &ProduceRequest<'_>) -> Result<(), Refused> {
    if !matches!(produce.acks, -1..=1) {
        let message = format!("acks = {} is neither 0, 1 nor all (-1)", produce.acks);
        return Err(Refused { code: ErrorCode::InvalidRequiredAcks, message: Some(message) });
    }
    if produce.transactional_id.is_some() {
        return Err(refused(&AppendError::Transactional));
    }
    Ok(())
}

fn refused(error: &AppendError) -> Refused {
    Refused { code: errors::append(error), message: Some(error.to_string()) }
}

/// Exactly one batch of format 2, as Apache Kafka demands; what is in it the broker checks.
fn check_batch(partition: ProducePartition<'_>, version: i16) -> Result<&[u8], Refused> {
    const HEADER: usize = 61;
    let invalid = |message: &str| refused(&AppendError::InvalidRecord(message.to_owned()));
    let records = partition.records.unwrap_or_default();
    let magic = records.get(16).ok_or_else(|| invalid("there is no record batch for the partition"))?;
    if *magic != 2 {
        return Err(refused(&AppendError::UnsupportedFormat));
    }
    let header = records.first_chunk::<HEADER>().ok_or_else(|| invalid("the record batch is cut short"))?;
    let length = i32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    match usize::try_from(length).map(|length| (length + 12).cmp(&records.len())) {
        Ok(std::cmp::Ordering::Equal) => {}
        Ok(std::cmp::Ordering::Less) => return Err(invalid("there is more than one record batch for the partition")),
        Ok(std::cmp::Ordering::Greater) => return Err(invalid("the record batch is cut short")),
        Err(_) => return Err(refused(&AppendError::Corrupt(format!("a length of {length} bytes")))),
    }
    if header[22] & 7 == 4 && version < ZSTD_FROM {
        let message = "zstd needs version 7 of Produce, so a newer client".to_owned();
        return Err(Refused { code: ErrorCode::UnsupportedCompressionType, message: Some(message) });
    }
    Ok(records)
}

/// The reply, once everything has its verdict.
fn finish(
    request: &Admitted,
    verdicts: Vec<Verdict>,
    results: Vec<Result<Appended, AppendError>>,
    acks: i16,
    metrics: &KafkaMetrics,
) -> Outcome {
    let Ok((call, produce)) = decode(&request.frame) else { return Outcome::NoReply };
    let mut results = results.into_iter();
    let mut verdicts = verdicts.into_iter().map(|verdict| match verdict {
        Verdict::Refused(refused) => Err(refused),
        Verdict::Given => results.next().unwrap_or(Err(AppendError::Stopping)).map_err(|e| self::refused(&e)),
    });
    let topics: Vec<_> = produce.topics.iter().map(|topic| answer_topic(&topic, &mut verdicts)).collect();
    let size = request.frame.len();
    if acks == 0 {
        metrics.answered(call.api, size, 0, request.arrived.elapsed());
        let failed = topics.iter().flat_map(|topic| &topic.partitions).find(|p| p.error != ErrorCode::None);
        return failed.map_or(Outcome::NoReply, |p| {
            metrics.errors(call.api, &[(p.error, 1)]);
            let why = p.error_message.as_deref().unwrap_or_default();
            Outcome::Close(Closed::Unanswerable(format!("partition {}: {:?} {why}", p.index, p.error)))
        });
    }
    let mut w = call.reply();
    encode_response(&mut w, &topics);
    let reply = w.finish();
    metrics.answered(call.api, size, reply.len, request.arrived.elapsed());
    metrics.errors(call.api, &reply.errors);
    Outcome::Reply(reply, None)
}

fn answer_topic<'a>(
    asked: &ProduceTopic<'a>,
    verdicts: &mut impl Iterator<Item = Result<Appended, Refused>>,
) -> ProduceResponseTopic<'a> {
    let partitions = asked.partitions.iter().zip(verdicts).map(|(partition, verdict)| match verdict {
        Ok(done) => ProduceResponsePartition {
            index: partition.index,
            error: ErrorCode::None,
            error_message: None,
            base_offset: done.base_offset,
            log_append_time: done.log_append_time,
            log_start_offset: done.log_start_offset,
        },
        Err(refused) => ProduceResponsePartition {
            index: partition.index,
            error: refused.code,
            error_message: refused.message,
            base_offset: -1,
            log_append_time: -1,
            log_start_offset: -1,
        },
    });
    ProduceResponseTopic { topic: asked.topic, partitions: partitions.collect() }
}
