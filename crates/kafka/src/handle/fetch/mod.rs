//! Fetch, in full or within a session.

mod session;

use std::collections::HashMap;
use std::time::Duration;

use futures_util::FutureExt;
use lakebed_broker::api::{self, FetchError, Fetched};
use lakebed_broker::{Broker, MemoryBudget, MemoryPermit};
use lakebed_record::{Partition, TopicId, TopicName};
use parking_lot::Mutex;

use self::session::{Topic, Wish};
use super::Front;
use crate::connection::stopping;
use crate::errors;
use crate::replies::{FREE_BYTES, Replies};
use crate::wire::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchResponsePartition, FetchResponseTopic};
use crate::wire::produce::TopicRef;
use crate::wire::{ErrorCode, Writer};

/// A reply has at most so many bytes of records, whatever is asked for (Apache Kafka's `fetch.max.bytes`).
const MAX_BYTES: usize = 55 << 20;
/// Nobody waits longer for records, whatever is asked for: a client that is gone has to be noticed some time.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// Of one connection.
pub(super) type Sessions = Mutex<session::Sessions>;

pub(super) async fn answer(
    front: &Front,
    sessions: &Sessions,
    version: i16,
    request: &FetchRequest<'_>,
    w: &mut Writer,
) -> Option<MemoryPermit> {
    let opened = sessions.lock().open(request, &front.replies.sessions);
    let (answer, wishes) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            FetchResponse { error, session_id: session::NONE, topics: Vec::new() }.encode(w);
            return None;
        }
    };
    let (asked, refused) = plan(&front.broker, version, &wishes).await;
    // Bad news does not wait for good ones.
    let max_wait = if refused.iter().any(Option::is_some) { 0 } else { request.max_wait_ms.max(0) as u64 };
    let wanted = asked.iter().map(|partition| partition.max_bytes).fold(0, usize::saturating_add);
    let (results, permit) = read(
        front,
        api::FetchRequest {
            partitions: asked,
            min_bytes: request.min_bytes.max(0) as usize,
            max_bytes: wanted
                .min(request.max_bytes.max(0) as usize)
                .min(MAX_BYTES)
                .min(front.replies.fetch.total() / 2),
            max_wait: MAX_WAIT.min(Duration::from_millis(max_wait)),
        },
    )
    .await;
    let told = sessions.lock().close(answer, describe(&wishes, refused, results, version));
    let topics = by_topic(wishes.iter().map(|(topic, _)| topic).zip(told));
    FetchResponse { error: ErrorCode::None, session_id: answer.session_id(), topics }.encode(w);
    permit
}

/// Each topic once, where its first partition is.
fn by_topic<'a>(
    parts: impl Iterator<Item = (&'a Topic, Option<FetchResponsePartition>)>,
) -> Vec<FetchResponseTopic<'a>> {
    let (mut topics, mut places) = (Vec::<FetchResponseTopic<'a>>::new(), HashMap::new());
    for (topic, part) in parts {
        let Some(part) = part else { continue };
        let place = *places.entry(topic).or_insert_with(|| {
            topics.push(FetchResponseTopic { topic: topic.as_ref(), partitions: Vec::new() });
            topics.len() - 1
        });
        topics[place].partitions.push(part);
    }
    topics
}

type Results = Vec<Result<Fetched, FetchError>>;

/// What is there, as much as there is memory for; else what comes, but little of it, since memory is not for those who
/// wait. There is always some, at once: what readers find used up costs them throughput, and nobody waits for a client
/// that does not take its replies. Those who wait for much share a memory of their own; without it they get less.
async fn read(front: &Front, request: api::FetchRequest) -> (Results, Option<MemoryPermit>) {
    let Replies { fetch, long_poll, .. } = &front.replies;
    let least = request.min_bytes.min(request.max_bytes);
    let take_to_wait = || try_take(long_poll, least.min(long_poll.total() / 2));
    let room = |much: &Option<MemoryPermit>| much.as_ref().map_or(FREE_BYTES, MemoryPermit::bytes);
    let much = match try_take(fetch, request.max_bytes) {
        Some(permit) => {
            let at_once = api::FetchRequest { max_wait: Duration::ZERO, ..request.clone() };
            let results = front.broker.fetch(at_once).await;
            let len = len(&results);
            let done = request.max_wait.is_zero() || results.iter().any(Result::is_err) || len >= least;
            let much = if done { None } else { take_to_wait() };
            if done || len >= room(&much) {
                return (results, keep(fetch, Some(permit), len));
            }
            much
        }
        None => take_to_wait(),
    };
    let max_bytes = room(&much).min(request.max_bytes);
    let results = wait(front, api::FetchRequest { max_bytes, ..request }).await;
    let len = len(&results);
    let budget = if much.is_some() { long_poll } else { fetch };
    (results, keep(budget, much, len))
}

/// What is small goes without; nobody waits.
fn try_take(budget: &MemoryBudget, bytes: usize) -> Option<MemoryPermit> {
    if bytes > FREE_BYTES { budget.acquire(bytes).now_or_never() } else { None }
}

/// Only what the reply really takes; a first batch may be larger than what was asked for.
fn keep(budget: &MemoryBudget, permit: Option<MemoryPermit>, len: usize) -> Option<MemoryPermit> {
    if len <= FREE_BYTES {
        return None;
    }
    let Some(mut permit) = permit else { return try_take(budget, len) };
    permit.shrink_to(len);
    if len > permit.bytes() {
        let missing = budget.acquire(len - permit.bytes());
        missing.now_or_never().into_iter().for_each(|more| permit.merge(more));
    }
    Some(permit)
}

fn len(results: &Results) -> usize {
    results.iter().flatten().map(|fetched| fetched.records_len).sum()
}

/// Waits for records as long as it may, but not while the node stops.
async fn wait(front: &Front, request: api::FetchRequest) -> Results {
    let mut shutdown = front.shutdown.clone();
    let at_once = api::FetchRequest { max_wait: Duration::ZERO, ..request.clone() };
    tokio::select! {
        biased;
        results = front.broker.fetch(request) => results,
        () = stopping(&mut shutdown) => front.broker.fetch(at_once).await,
    }
}

fn describe(
    wishes: &[Wish],
    refused: Vec<Option<ErrorCode>>,
    results: Results,
    version: i16,
) -> Vec<FetchResponsePartition> {
    let mut results = results.into_iter();
    let partitions = wishes.iter().zip(refused);
    let partition = |((_, asked), refused): (&Wish, Option<ErrorCode>)| match refused {
        Some(code) => failed(asked.index, code),
        None => fetched(asked.index, results.next(), version),
    };
    partitions.map(partition).collect()
}

/// What the broker is asked, and for every partition of the request why it is not.
async fn plan(broker: &Broker, version: i16, wishes: &[Wish]) -> (Vec<api::FetchPartition>, Vec<Option<ErrorCode>>) {
    let (mut asked, mut refused) = (Vec::new(), Vec::new());
    for of_topic in wishes.chunk_by(|a, b| a.0 == b.0) {
        let found = find(broker, version, of_topic[0].0.as_ref()).await;
        for (_, partition) in of_topic {
            let checked = found.and_then(|id| check_epoch(*partition).map(|()| id));
            refused.push(checked.err());
            if let Ok(topic) = checked {
                let max_bytes = partition.max_bytes.max(0) as usize;
                let FetchPartition { index, offset, .. } = *partition;
                asked.push(api::FetchPartition { topic, partition: Partition(index), offset, max_bytes });
            }
        }
    }
    (asked, refused)
}

async fn find(broker: &Broker, version: i16, topic: TopicRef<'_>) -> Result<TopicId, ErrorCode> {
    let (found, unknown) = match topic {
        TopicRef::Name(name) => {
            let name = TopicName::new(name).map_err(|_| ErrorCode::UnknownTopicOrPartition)?;
            (broker.topic_by_name(&name).await, ErrorCode::UnknownTopicOrPartition)
        }
        TopicRef::Id(id) => (broker.topic_by_id(id).await, ErrorCode::UnknownTopicId),
    };
    match found {
        Ok(Some(topic)) => Ok(topic.id),
        Ok(None) => Err(unknown),
        Err(e) => Err(errors::fetch(&FetchError::Unavailable(e), version)),
    }
}

/// Every partition is at leader epoch 0.
fn check_epoch(partition: FetchPartition) -> Result<(), ErrorCode> {
    if partition.current_leader_epoch > 0 { Err(ErrorCode::UnknownLeaderEpoch) } else { Ok(()) }
}

fn fetched(index: i32, result: Option<Result<Fetched, FetchError>>, version: i16) -> FetchResponsePartition {
    match result {
        Some(Ok(fetched)) => FetchResponsePartition {
            index,
            error: ErrorCode::None,
            high_watermark: fetched.high_watermark,
            last_stable_offset: fetched.last_stable_offset,
            log_start_offset: fetched.log_start_offset,
            records: fetched.records,
        },
        Some(Err(error)) => {
            tracing::debug!(partition = index, %error, "fetch failed");
            failed(index, errors::fetch(&error, version))
        }
        None => failed(index, ErrorCode::UnknownServerError),
    }
}

fn failed(index: i32, error: ErrorCode) -> FetchResponsePartition {
    FetchResponsePartition {
        index,
        error,
        high_watermark: -1,
        last_stable_offset: -1,
        log_start_offset: -1,
        records: Vec::new(),
    }
}
