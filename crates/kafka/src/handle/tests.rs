//! What happens while the memory for replies is held by others.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, Request as TheirRequest, StrBytes};
use lakebed_broker::BrokerConfig;
use lakebed_broker::api::{Append, NewTopic};
use lakebed_record::batch::BatchBuilder;
use lakebed_record::{Partition, TopicName};
use lakebed_store::env::Env;
use lakebed_store::memory::MemoryStore;

use super::*;

struct Node {
    front: Front,
    session: Session,
    stop: watch::Sender<bool>,
}

/// The memory for replies has 128 KiB a sixteenth.
async fn node() -> Node {
    let env = Env::system();
    let config = BrokerConfig::new("broker.example", 4711, 64 << 20);
    let broker = Broker::open(Arc::new(MemoryStore::new(&env)), env, config).await.unwrap();
    let (stop, shutdown) = watch::channel(false);
    let replies = Replies::new(16 * (128 << 10));
    let front = Front { broker, metrics: KafkaMetrics::default(), replies, shutdown };
    let session = Session::new(front.clone(), "127.0.0.1:9".parse().unwrap());
    Node { front, session, stop }
}

fn admitted<R: TheirRequest>(version: i16, request: &R) -> Admitted {
    let header = theirs::RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_client_id(Some("test".into()));
    let mut frame = BytesMut::new();
    header.encode(&mut frame, R::header_version(version)).unwrap();
    request.encode(&mut frame, version).unwrap();
    let (permit, arrived) = (None, Instant::now());
    Admitted { frame: frame.freeze(), permit, arrived, looked_up: LookedUp::NotYet, room: Room::NotAsked, turn: None }
}

impl Node {
    /// As a connection does it.
    async fn run<R: TheirRequest>(&mut self, version: i16, request: &R) -> Result<Outcome, Closed> {
        let mut request = admitted(version, request);
        loop {
            match self.session.start(request) {
                Started::Running { outcome, .. } => return Ok(outcome.await),
                Started::Later(later) | Started::InTurn(later) => request = later.await,
                Started::Refused(closed) => return Err(closed),
            }
        }
    }

    async fn ask<R: TheirRequest>(&mut self, version: i16, request: &R) -> (R::Response, Option<MemoryPermit>) {
        let Ok(Outcome::Reply(reply, permit)) = self.run(version, request).await else { panic!("no reply") };
        let mut bytes = Bytes::from(reply.pieces.concat()).split_off(4);
        let key = theirs::ApiKey::try_from(R::KEY).unwrap();
        theirs::ResponseHeader::decode(&mut bytes, key.response_header_version(version)).unwrap();
        (R::Response::decode(&mut bytes, version).unwrap(), permit)
    }

    async fn create(&self, name: &str, partitions: i32) -> lakebed_record::TopicId {
        let new = NewTopic { name: TopicName::new(name).unwrap(), partitions, configs: Vec::new() };
        self.front.broker.create_topic(new, false).await.unwrap().id
    }

    /// A topic with batches of 30 kB.
    async fn filled(&self, batches: usize) {
        let topic = self.create("t", 1).await;
        let mut producer = self.front.broker.producer_of("test");
        for _ in 0..batches {
            let mut batch = BatchBuilder::new();
            batch.push(Env::system().clock.wall_ms(), None, Some(&[7; 30_000]), []);
            let append = Append { topic, partition: Partition(0), batch: batch.build() };
            let frame = lakebed_broker::Frame { len: 30_000, memory: None };
            producer.append_from(frame, vec![append], Duration::from_secs(10)).await.remove(0).unwrap();
        }
    }
}

async fn all_of(budget: &lakebed_broker::MemoryBudget) -> MemoryPermit {
    budget.acquire(budget.total()).await
}

fn name(name: &str) -> theirs::TopicName {
    theirs::TopicName(StrBytes::from_string(name.to_owned()))
}

fn metadata(topics: &[&str]) -> theirs::MetadataRequest {
    let named = |topic: &&str| theirs::metadata_request::MetadataRequestTopic::default().with_name(Some(name(topic)));
    theirs::MetadataRequest::default()
        .with_topics(Some(topics.iter().map(named).collect()))
        .with_allow_auto_topic_creation(false)
}

fn fetch(min_bytes: i32, max_wait_ms: i32) -> theirs::FetchRequest {
    let partition = theirs::fetch_request::FetchPartition::default().with_partition_max_bytes(1 << 30);
    let topic = theirs::fetch_request::FetchTopic::default().with_topic(name("t")).with_partitions(vec![partition]);
    let request = theirs::FetchRequest::default().with_topics(vec![topic]);
    request.with_max_bytes(1 << 30).with_min_bytes(min_bytes).with_max_wait_ms(max_wait_ms)
}

fn records(answer: &theirs::FetchResponse) -> usize {
    answer.responses[0].partitions[0].records.as_ref().map_or(0, Bytes::len)
}

fn create_topics(n: usize, timeout_ms: i32) -> theirs::CreateTopicsRequest {
    let topic = |n| {
        let topic = theirs::create_topics_request::CreatableTopic::default().with_name(name(&format!("t{n}")));
        topic.with_num_partitions(1).with_replication_factor(-1)
    };
    theirs::CreateTopicsRequest::default().with_topics((0..n).map(topic).collect()).with_timeout_ms(timeout_ms)
}

#[tokio::test]
async fn what_waits_for_a_large_reply_is_told_so_in_the_end() {
    let mut node = node().await;
    node.create("wide", 10_000).await;
    let held = all_of(&node.front.replies.other).await;
    assert_eq!(node.ask(12, &metadata(&["unknown"])).await.0.topics[0].error_code, 3, "what is small does not wait");
    let begun = Instant::now();
    assert!(matches!(node.run(12, &metadata(&["wide"])).await, Err(Closed::NoRoom(_))));
    assert!(begun.elapsed() >= replies::WAIT);
    drop(held);
    let (answer, permit) = node.ask(12, &metadata(&["wide"])).await;
    assert_eq!(answer.topics[0].partitions.len(), 10_000);
    assert!(permit.is_some());
}

#[tokio::test]
async fn nobody_waits_on_a_node_that_stops() {
    let mut node = node().await;
    node.create("wide", 10_000).await;
    let _held = all_of(&node.front.replies.other).await;
    let begun = Instant::now();
    let stop = node.stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        stop.send(true)
    });
    assert!(matches!(node.run(12, &metadata(&["wide"])).await, Err(Closed::NoRoom(_))));
    assert!(begun.elapsed() < replies::WAIT);
}

#[tokio::test]
async fn admin_requests_wait_for_memory_within_their_time_out() {
    let mut node = node().await;
    let held = all_of(&node.front.replies.other).await;
    let begun = Instant::now();
    let (answer, permit) = node.ask(7, &create_topics(100, 100)).await;
    assert!(answer.topics.len() == 100 && answer.topics.iter().all(|topic| topic.error_code == 7));
    assert!(begun.elapsed() < replies::WAIT && permit.is_none());
    let names = (0..100).map(|n| name(&format!("t{n}"))).collect();
    let delete = theirs::DeleteTopicsRequest::default().with_topic_names(names).with_timeout_ms(100);
    let (answer, _) = node.ask(5, &delete).await;
    assert!(answer.responses.len() == 100 && answer.responses.iter().all(|topic| topic.error_code == 7));
    assert!(node.front.broker.topics().is_empty(), "nothing was begun");
    drop(held);
    let (answer, _) = node.ask(7, &create_topics(100, 30_000)).await;
    assert!(answer.topics.iter().all(|topic| topic.error_code == 0));
}

#[tokio::test]
async fn readers_have_their_memory_while_others_wait_for_theirs() {
    let mut node = node().await;
    node.filled(10).await;
    let other = node.front.replies.other.clone();
    let _held = all_of(&other).await;
    let waiting = tokio::spawn(async move { other.acquire(1 << 20).await });
    tokio::task::yield_now().await;
    let (answer, permit) = node.ask(12, &fetch(1, 0)).await;
    assert_eq!((records(&answer) > 300_000, permit.is_some()), (true, true));
    waiting.abort();
}

#[tokio::test]
async fn a_fetch_that_waits_for_much_is_charged_for_it() {
    let mut node = node().await;
    node.filled(10).await;
    let Replies { fetch: at_hand, long_poll, .. } = node.front.replies.clone();
    let _held = all_of(&at_hand).await;
    let (answer, permit) = node.ask(12, &fetch(65_000, 60_000)).await;
    assert!(records(&answer) <= 65_536 && permit.is_none());
    let held = long_poll.acquire(long_poll.total() / 2 + 1).await;
    let (answer, permit) = node.ask(12, &fetch(250_000, 60_000)).await;
    assert!(records(&answer) > 0 && records(&answer) <= 65_536, "{}", records(&answer));
    assert!(permit.is_none());
    drop(held);
}

#[tokio::test]
async fn those_who_wait_for_much_share_a_memory_of_their_own() {
    let mut node = node().await;
    node.front.replies = Replies::new(16 << 20);
    node.session = Session::new(node.front.clone(), "127.0.0.1:9".parse().unwrap());
    node.filled(10).await;
    let long_poll = node.front.replies.long_poll.clone();
    let (answer, permit) = node.ask(12, &fetch(400_000, 50)).await;
    let kept = permit.unwrap().bytes();
    assert_eq!((records(&answer), kept), (kept, records(&answer)), "what is there when time is up, and charged");
    assert!(kept > 300_000);
    let _held = all_of(&long_poll).await;
    let begun = Instant::now();
    let (answer, _) = node.ask(12, &fetch(400_000, 60_000)).await;
    assert!(records(&answer) > 300_000, "what was read already");
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn look_ups_by_time_are_charged_only_while_they_read() {
    let mut node = node().await;
    node.filled(1).await;
    let _held = all_of(&node.front.replies.other).await;
    let partition = theirs::list_offsets_request::ListOffsetsPartition::default().with_timestamp(0);
    let topic = theirs::list_offsets_request::ListOffsetsTopic::default().with_name(name("t"));
    let topic = topic.with_partitions(vec![partition]);
    let request = theirs::ListOffsetsRequest::default().with_topics(vec![topic]);
    let (answer, permit) = node.ask(7, &request).await;
    assert_eq!((answer.topics[0].partitions[0].error_code, answer.topics[0].partitions[0].offset), (0, 0));
    assert!(permit.is_none() && node.front.replies.look_up.used() == 0);
}
