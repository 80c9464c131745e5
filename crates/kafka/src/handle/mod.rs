//! Answers requests: what they ask is put to the broker, what it says is put into Kafka's words.

mod admin;
mod cluster;
mod fetch;
mod groups;
mod list_offsets;
mod metadata;
mod produce;
mod producer_id;
mod topics;

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use lakebed_broker::{Broker, MemoryPermit, Producer};
use tokio::sync::watch;
use tokio::time::Instant;

use self::admin::{
    alter_configs, config_resources, create_partitions, delete_records, describe_configs, epochs, leaders, log_dirs,
    producers, topic_partitions,
};
use crate::connection::{Admitted, Closed, Handler, Kind, LookedUp, Outcome, Room, Started};
use crate::metrics::KafkaMetrics;
use crate::replies::{self, FREE_BYTES, Replies};
use crate::wire::{ApiKey, DecodeError, ErrorCode, Request, RequestHeader, Writer, api_versions};

/// What one connection needs to have its requests answered.
pub(crate) struct Session {
    /// From the first Produce on.
    producer: Option<Producer>,
    connection: Arc<Connected>,
    front: Front,
}

/// What requests of one connection share.
struct Connected {
    peer: SocketAddr,
    fetches: fetch::Sessions,
}

/// What all connections share.
#[derive(Clone)]
pub(crate) struct Front {
    pub broker: Broker,
    pub metrics: KafkaMetrics,
    /// What replies may take together: apart from what requests may, so that readers do not hold up producers.
    pub replies: Replies,
    pub shutdown: watch::Receiver<bool>,
}

impl Session {
    pub fn new(front: Front, peer: SocketAddr) -> Self {
        Self { producer: None, connection: Arc::new(Connected { peer, fetches: Default::default() }), front }
    }

    fn producer(&mut self, client_id: Option<&str>) -> &mut Producer {
        self.producer.get_or_insert_with(|| {
            let client_id = client_id.unwrap_or_default();
            self.front.broker.producer_of(format!("{client_id} {}", self.connection.peer).trim_start())
        })
    }
}

/// What the header said of a request that is served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub api: ApiKey,
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: Option<&'a str>,
}

impl Call<'_> {
    fn reply(&self) -> Writer {
        let served = self.api.served();
        let (flexible, tags) = (served.is_flexible(self.version), served.response_header_has_tags(self.version));
        Writer::new(self.correlation_id, self.version, flexible, tags)
    }

    fn malformed(&self, error: DecodeError) -> Closed {
        Closed::Malformed(format!("{} version {}: {error}", self.api, self.version))
    }
}

/// The call and its body, if it is served at all.
pub(crate) fn open(frame: &[u8]) -> Result<(Call<'_>, &[u8]), Refusal> {
    let (header, body) = RequestHeader::decode(frame).map_err(Refusal::Malformed)?;
    let (version, correlation_id) = (header.api_version, header.correlation_id);
    let not_served = Refusal::NotServed { api: header.api_key, version };
    let Some(api) = ApiKey::from_wire(header.api_key) else { return Err(not_served) };
    match api {
        _ if api.served().serves(version) => {
            Ok((Call { api, version, correlation_id, client_id: header.client_id }, body))
        }
        // The client cannot know better yet: it is told which versions there are (KIP-511).
        ApiKey::ApiVersions => Err(Refusal::UnknownApiVersions { correlation_id }),
        _ => Err(not_served),
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Refusal {
    Malformed(DecodeError),
    NotServed { api: i16, version: i16 },
    UnknownApiVersions { correlation_id: i32 },
}

impl Handler for Session {
    fn start(&mut self, request: Admitted) -> Started {
        match open(&request.frame) {
            Ok((Call { api: ApiKey::Produce, .. }, _)) => self.start_produce(request),
            Ok((call, body)) => match Request::decode(call.api, call.version, body) {
                Ok(decoded) => {
                    let (wait, kind) = (memory_wait(&self.front, &decoded, &request), kind(call.api));
                    start_query(self.front.clone(), Arc::clone(&self.connection), request, kind, wait)
                }
                Err(e) => Started::Refused(call.malformed(e)),
            },
            Err(Refusal::UnknownApiVersions { correlation_id }) => {
                let mut w = Writer::new(correlation_id, 0, false, false);
                api_versions::encode_response(&mut w, ErrorCode::UnsupportedVersion);
                let outcome = std::future::ready(Outcome::Reply(w.finish(), None)).boxed();
                Started::Running { kind: Kind::Query, outcome }
            }
            Err(Refusal::NotServed { api, version }) => Started::Refused(Closed::NotServed { api, version }),
            Err(Refusal::Malformed(e)) => Started::Refused(Closed::Malformed(format!("request header: {e}"))),
        }
    }

    fn set_waiting(&mut self, waiting: bool) {
        if let Some(producer) = &mut self.producer {
            producer.set_waiting(waiting);
        }
    }
}

fn kind(api: ApiKey) -> Kind {
    match api {
        ApiKey::CreateTopics
        | ApiKey::DeleteTopics
        | ApiKey::CreatePartitions
        | ApiKey::DeleteRecords
        | ApiKey::AlterConfigs
        | ApiKey::IncrementalAlterConfigs
        | ApiKey::LeaveGroup
        | ApiKey::OffsetCommit
        | ApiKey::OffsetDelete
        | ApiKey::DeleteGroups => Kind::Change,
        _ => Kind::Query,
    }
}

/// Memory to wait for.
#[derive(Clone, Copy, Debug)]
struct MemoryWait {
    bytes: usize,
    until: Option<Instant>,
}

/// What a request needs for its reply before it is started, if that may be large.
fn memory_wait(front: &Front, decoded: &Request<'_>, request: &Admitted) -> Option<MemoryWait> {
    let size = request.frame.len();
    let deadline = |timeout_ms| topics::Deadline::of(timeout_ms, request.arrived).0;
    let (bytes, until) = match decoded {
        Request::ListOffsets(r) => (list_offsets::most_bytes(r, size), None),
        Request::Metadata(r) => (metadata::expected_bytes(&front.broker, r), None),
        Request::CreateTopics(r) => (topics::most_bytes(r.topics.len(), size), deadline(r.timeout_ms)),
        Request::DeleteTopics(r) => (topics::most_bytes(r.topics.len(), size), deadline(r.timeout_ms)),
        Request::CreatePartitions(r) => (topics::most_bytes(r.topics.len(), size), deadline(r.timeout_ms)),
        Request::DeleteRecords(r) => (delete_records::most_bytes(r, size), deadline(r.timeout_ms)),
        Request::AlterConfigs(r) => (topics::most_bytes(r.resources.len(), size), None),
        Request::IncrementalAlterConfigs(r) => (topics::most_bytes(r.resources.len(), size), None),
        Request::DescribeConfigs(r) => (describe_configs::expected_bytes(&front.broker, r), None),
        Request::OffsetForLeaderEpoch(r) => (epochs::most_bytes(r, size), None),
        Request::DescribeTopicPartitions(r) => (topic_partitions::most_bytes(&front.broker, r, size), None),
        Request::DescribeLogDirs(r) => (log_dirs::most_bytes(&front.broker, r, size), None),
        Request::DescribeProducers(r) => (producers::expected_bytes(&front.broker, r), None),
        Request::ElectLeaders(r) => (leaders::most_elected(r, size), None),
        Request::AlterPartitionReassignments(r) => (leaders::most_reassigned(r, size), None),
        Request::ListConfigResources(r) => (config_resources::most_bytes(&front.broker, r), None),
        Request::OffsetFetch(r) => (groups::offset_fetch::expected_bytes(&front.broker, r, size), None),
        Request::DescribeGroups(r) => (groups::describe::expected_bytes(&front.broker, r.groups), None),
        Request::ConsumerGroupDescribe(r) => (groups::describe::expected_bytes(&front.broker, r.groups), None),
        Request::ListGroups(_) => (groups::admin::expected_bytes(&front.broker), None),
        _ => return None,
    };
    (bytes > FREE_BYTES).then_some(MemoryWait { bytes, until })
}

fn start_query(
    front: Front,
    connection: Arc<Connected>,
    mut request: Admitted,
    kind: Kind,
    wait: Option<MemoryWait>,
) -> Started {
    match (&request.room, wait) {
        (Room::NotAsked, Some(MemoryWait { bytes, until })) => {
            let in_turn = async move {
                request.room = front.replies.in_turn(bytes, until, front.shutdown.clone()).await;
                request
            };
            Started::InTurn(in_turn.boxed())
        }
        // What changes something has a time-out, and is answered that it is over.
        (Room::Refused, _) if kind == Kind::Query => Started::Refused(Closed::NoRoom(replies::WAIT)),
        _ => Started::Running { kind, outcome: answer(front, connection, request).boxed() },
    }
}

/// Everything but Produce: such requests of one connection may run side by side.
async fn answer(front: Front, connection: Arc<Connected>, mut request: Admitted) -> Outcome {
    let room = std::mem::replace(&mut request.room, Room::NotAsked);
    let Ok((call, body)) = open(&request.frame) else { return Outcome::NoReply };
    let (w, permit) = match Request::decode(call.api, call.version, body) {
        Ok(Request::Fetch(r)) => {
            let mut w = call.reply();
            let permit = fetch::answer(&front, &connection.fetches, call.version, &r, &mut w).await;
            (w, permit)
        }
        Ok(Request::JoinGroup(r)) => {
            let mut w = call.reply();
            groups::classic::join(
                &front.broker,
                &r,
                call.version,
                groups::client(call.client_id, connection.peer),
                &mut w,
            )
            .await;
            (w, None)
        }
        Ok(Request::ConsumerGroupHeartbeat(r)) => {
            let mut w = call.reply();
            let client = groups::client(call.client_id, connection.peer);
            groups::consumer::heartbeat(&front.broker, &r, call.version, client, &mut w).await;
            (w, None)
        }
        Ok(decoded) => answer_decoded(&front, call, decoded, room, request.arrived).await,
        Err(e) => return Outcome::Close(call.malformed(e)),
    };
    let reply = w.finish();
    front.metrics.answered(call.api, request.frame.len(), reply.len, request.arrived.elapsed());
    front.metrics.errors(call.api, &reply.errors);
    // What it was made of is gone.
    let permit = permit.filter(|_| reply.len > FREE_BYTES).map(|mut permit| {
        permit.shrink_to(reply.len);
        permit
    });
    Outcome::Reply(reply, permit)
}

async fn answer_decoded(
    front: &Front,
    call: Call<'_>,
    request: Request<'_>,
    room: Room,
    arrived: Instant,
) -> (Writer, Option<MemoryPermit>) {
    let (broker, mut w) = (&front.broker, call.reply());
    let (mut permit, refused) = match room {
        Room::NotAsked => (None, false),
        Room::Given(permit) => (Some(permit), false),
        Room::Refused => (None, true),
    };
    match request {
        Request::ApiVersions(r) => {
            tracing::debug!(name = r.client_software_name, version = r.client_software_version, "client software");
            api_versions::encode_response(&mut w, ErrorCode::None);
        }
        Request::ListOffsets(r) => list_offsets::answer(front, &r, call.version, &mut w).await,
        Request::Metadata(r) => permit = metadata::answer(front, &r, permit, &mut w).await,
        Request::CreateTopics(r) if refused => topics::create_none(&r, &mut w),
        Request::CreateTopics(r) => topics::create(broker, &r, arrived, &mut w).await,
        Request::DeleteTopics(r) if refused => topics::delete_none(&r, &mut w),
        Request::DeleteTopics(r) => topics::delete(broker, &r, arrived, &mut w).await,
        Request::InitProducerId(r) => producer_id::answer(broker, &r).await.encode(&mut w),
        Request::DescribeCluster(r) => cluster::answer(broker, &r, &mut w).await,
        Request::CreatePartitions(r) if refused => create_partitions::none(&r, &mut w),
        Request::CreatePartitions(r) => create_partitions::answer(broker, &r, arrived, &mut w).await,
        Request::DeleteRecords(r) if refused => delete_records::none(&r, &mut w),
        Request::DeleteRecords(r) => delete_records::answer(broker, &r, arrived, &mut w).await,
        Request::AlterConfigs(r) if refused => alter_configs::replace_none(&r, &mut w),
        Request::AlterConfigs(r) => alter_configs::replace(broker, &r, &mut w).await,
        Request::IncrementalAlterConfigs(r) if refused => alter_configs::change_none(&r, &mut w),
        Request::IncrementalAlterConfigs(r) => alter_configs::change(broker, &r, &mut w).await,
        Request::DescribeConfigs(r) => describe_configs::answer(broker, &r, room_in(front, &permit), &mut w).await,
        Request::OffsetForLeaderEpoch(r) => epochs::answer(broker, &r, &mut w).await,
        Request::DescribeTopicPartitions(r) => topic_partitions::answer(broker, &r, &mut w).await,
        Request::DescribeLogDirs(r) => log_dirs::answer(broker, &r, &mut w).await,
        Request::DescribeProducers(r) => producers::answer(broker, &r, room_in(front, &permit), &mut w).await,
        Request::ElectLeaders(r) => leaders::elect(broker, &r, &mut w).await,
        Request::AlterPartitionReassignments(r) => leaders::reassign(broker, &r, &mut w).await,
        Request::ListPartitionReassignments(r) => leaders::list_reassignments(&r, &mut w),
        Request::ListConfigResources(r) => config_resources::answer(broker, &r, &mut w),
        Request::FindCoordinator(r) => groups::coordinator::find(broker, &r, &mut w),
        Request::SyncGroup(r) => groups::classic::sync(broker, &r, &mut w).await,
        Request::Heartbeat(r) => groups::classic::heartbeat(broker, &r, &mut w).await,
        Request::LeaveGroup(r) => groups::classic::leave(broker, &r, &mut w).await,
        Request::OffsetCommit(r) => groups::offset_commit::answer(broker, &r, call.version, &mut w).await,
        Request::OffsetFetch(r) => groups::offset_fetch::answer(broker, &r, call.version, &mut w).await,
        Request::OffsetDelete(r) => groups::admin::delete_offsets(broker, &r, &mut w).await,
        Request::DescribeGroups(r) => groups::describe::classic(broker, &r, call.version, &mut w).await,
        Request::ConsumerGroupDescribe(r) => groups::describe::consumer(broker, &r, &mut w).await,
        Request::ListGroups(r) => groups::admin::list(broker, &r, &mut w).await,
        Request::DeleteGroups(r) => groups::admin::delete(broker, &r, &mut w).await,
        Request::Fetch(_) | Request::Produce(_) | Request::JoinGroup(_) | Request::ConsumerGroupHeartbeat(_) => {
            unreachable!("they are answered elsewhere")
        }
    }
    (w, permit)
}

/// Bytes that an answer may take with what was granted for it.
fn room_in(front: &Front, permit: &Option<MemoryPermit>) -> usize {
    match permit.as_ref().map_or(0, MemoryPermit::bytes) {
        // With all that there is it runs alone.
        held if held == front.replies.other.total() => usize::MAX,
        held => held.max(FREE_BYTES),
    }
}

impl Admitted {
    /// It did not wait for look-ups yet.
    fn may_look_up(&self) -> bool {
        self.looked_up == LookedUp::NotYet
    }
}

#[cfg(test)]
mod tests;
