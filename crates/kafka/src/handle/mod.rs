//! Answers requests: what they ask is put to the broker, what it says is put into Kafka's words.

mod cluster;
mod fetch;
mod list_offsets;
mod metadata;
mod produce;
mod producer_id;
mod topics;

use std::net::SocketAddr;

use futures_util::FutureExt;
use lakebed_broker::{Broker, MemoryBudget, MemoryPermit, Producer};
use tokio::sync::watch;

use crate::connection::{Admitted, Closed, Handler, Kind, LookedUp, Outcome, Started};
use crate::metrics::KafkaMetrics;
use crate::wire::{ApiKey, DecodeError, ErrorCode, Request, RequestHeader, Writer, api_versions};

/// A reply of so many bytes needs no permit, and one to Fetch may have as many when the memory for replies is used up.
const FREE_BYTES: usize = 64 << 10;

/// What one connection needs to have its requests answered.
pub(crate) struct Session {
    /// From the first Produce on.
    producer: Option<Producer>,
    peer: SocketAddr,
    front: Front,
}

/// What all connections share.
#[derive(Clone)]
pub(crate) struct Front {
    pub broker: Broker,
    pub metrics: KafkaMetrics,
    /// What replies may take together: apart from what requests may, so that readers do not hold up producers.
    pub replies: MemoryBudget,
    pub shutdown: watch::Receiver<bool>,
}

impl Front {
    /// Memory for a reply and what it is made of, to be held until it is written. Replies are written or their connection
    /// ends, so this comes to an end; nobody who waits here holds memory of this budget.
    async fn room_for(&self, bytes: usize) -> Option<MemoryPermit> {
        if bytes > FREE_BYTES { Some(self.replies.acquire(bytes).await) } else { None }
    }
}

impl Session {
    pub fn new(front: Front, peer: SocketAddr) -> Self {
        Self { producer: None, peer, front }
    }

    fn producer(&mut self, client_id: Option<&str>) -> &mut Producer {
        self.producer.get_or_insert_with(|| {
            let client_id = client_id.unwrap_or_default();
            self.front.broker.producer_of(format!("{client_id} {}", self.peer).trim_start())
        })
    }
}

/// What the header said of a request that is served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub api: ApiKey,
    pub version: i16,
    pub correlation_id: i32,
}

impl Call {
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
pub(crate) fn open(frame: &[u8]) -> Result<(Call, &[u8]), Refusal> {
    let (header, body) = RequestHeader::decode(frame).map_err(Refusal::Malformed)?;
    let (version, correlation_id) = (header.api_version, header.correlation_id);
    let not_served = Refusal::NotServed { api: header.api_key, version };
    let Some(api) = ApiKey::from_wire(header.api_key) else { return Err(not_served) };
    match api {
        _ if api.served().serves(version) => Ok((Call { api, version, correlation_id }, body)),
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
            Ok(_) => {
                let answer = answer(self.front.clone(), request);
                Started::Running { kind: Kind::Query, outcome: answer.boxed() }
            }
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

/// Everything but Produce: such requests of one connection may run side by side.
async fn answer(front: Front, request: Admitted) -> Outcome {
    let Ok((call, body)) = open(&request.frame) else { return Outcome::NoReply };
    let (w, permit) = match Request::decode(call.api, call.version, body) {
        Ok(Request::Fetch(r)) => {
            let (response, permit) = fetch::answer(&front, call.version, &r).await;
            let mut w = call.reply();
            response.encode(&mut w);
            (w, permit)
        }
        Ok(request) => answer_decoded(&front, call, request, body.len()).await,
        Err(e) => return Outcome::Close(call.malformed(e)),
    };
    let reply = w.finish();
    front.metrics.answered(call.api, request.frame.len(), reply.len, request.arrived.elapsed());
    front.metrics.errors(call.api, &reply.errors);
    Outcome::Reply(reply, permit)
}

async fn answer_decoded(
    front: &Front,
    call: Call,
    request: Request<'_>,
    size: usize,
) -> (Writer, Option<MemoryPermit>) {
    let (broker, mut w, mut permit) = (&front.broker, call.reply(), None);
    match request {
        Request::ApiVersions(r) => {
            tracing::debug!(name = r.client_software_name, version = r.client_software_version, "client software");
            api_versions::encode_response(&mut w, ErrorCode::None);
        }
        Request::ListOffsets(r) => {
            permit = front.room_for(list_offsets::most_bytes(&r, size)).await;
            list_offsets::answer(broker, &r, call.version, &mut w).await;
        }
        Request::Metadata(r) => permit = metadata::answer(front, &r, &mut w).await,
        Request::CreateTopics(r) => {
            permit = front.room_for(topics::most_bytes(r.topics.len(), size)).await;
            topics::create(broker, &r, &mut w).await;
        }
        Request::DeleteTopics(r) => {
            permit = front.room_for(topics::most_bytes(r.topics.len(), size)).await;
            topics::delete(broker, &r, &mut w).await;
        }
        Request::InitProducerId(r) => producer_id::answer(broker, &r).await.encode(&mut w),
        Request::DescribeCluster(r) => cluster::answer(broker, &r, &mut w),
        Request::Fetch(_) | Request::Produce(_) => unreachable!("they are answered elsewhere"),
    }
    (w, permit)
}

impl Admitted {
    /// It did not wait for look-ups yet.
    fn may_look_up(&self) -> bool {
        self.looked_up == LookedUp::NotYet
    }
}
