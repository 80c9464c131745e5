//! `GET /v1/topics/{topic}/tail`: records as they come, as server-sent events (the HTML standard's `EventSource`).
//!
//! Every event's id names the position of every partition behind it, so that a client that comes back with `Last-Event-ID` misses nothing and gets nothing
//! twice. Records are read only when the client has taken those before: a slow one holds one lot, whatever comes meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use lakebed_broker::api::{OffsetSpec, TopicInfo};
use lakebed_broker::{Broker, MemoryPermit};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::{IntoParams, ToSchema};

use super::extract::{Params, TopicPath, Up};
use super::fetch::position::{From, MAX_PARTITIONS, Positions, look_up, partitions, resolve};
use super::fetch::read::{Bounds, read, wait};
use super::fetch::start;
use super::record::Encoding;
use super::{Front, Stopping, TopicParam};
use crate::problem::{Kind, Problem, ReadProblems};

/// A comment goes so often while nothing comes.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// So often it is looked whether the topic has more partitions, or is gone.
const LOOK: Duration = Duration::from_secs(5);
/// Bytes of JSON that are read at once.
const LOT: usize = 64 << 10;
/// Topics that are followed at once over one node.
pub const TAILS: usize = 256;

/// What is to be followed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TailParams {
    /// One partition, or several separated by commas, at most 256; all if it is absent, and those that are added.
    #[param(pattern = "^[0-9]{1,9}(,[0-9]{1,9}){0,255}$")]
    partition: Option<String>,
    /// As of a fetch; `latest` if it is absent.
    #[param(
        pattern = "^(earliest|latest|time:[0-9]{1,18}|[0-9]{1,18}|[0-9]{1,9}:[0-9]{1,18}(,[0-9]{1,9}:[0-9]{1,18}){0,255})$"
    )]
    from: Option<String>,
    #[param(inline)]
    encoding: Option<Encoding>,
}

/// An event.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what Tail sends")]
pub struct TailEvent {
    /// `start` or `problem`; absent: a record.
    #[schema(required = false, value_type = String)]
    event: String,
    /// The position behind it; the problem has none.
    #[schema(required = false, value_type = String)]
    id: String,
    /// In JSON.
    data: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes what tail reads")]
pub struct TailHeaders {
    /// The id of the last event that came; it has the forms of `from`, and counts more.
    #[param(
        rename = "Last-Event-ID",
        required = false,
        pattern = "^(earliest|latest|time:[0-9]{1,18}|[0-9]{1,18}|[0-9]{1,9}:[0-9]{1,18}(,[0-9]{1,9}:[0-9]{1,18}){0,255})$"
    )]
    last_event_id: String,
}

/// Follow a topic
///
/// The first event, `start`, says where it starts. Every record is an event without a name, whose data are those of a fetch. The event `problem` is the last one:
/// its data say why it ends.
#[utoipa::path(
    get,
    path = "/v1/topics/{topic}/tail",
    tag = "records",
    params(TopicParam, TailParams, TailHeaders),
    responses((status = 200, description = "Events, without end", body = TailEvent, content_type = "text/event-stream"), ReadProblems)
)]
pub async fn tail(
    State(front): State<Front>,
    Up(broker): Up,
    topic: TopicPath,
    Params(params): Params<TailParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let full = |_| Problem::new(Kind::UNAVAILABLE, format!("{TAILS} clients follow topics on this node already"));
    let place = Arc::clone(&front.tails).try_acquire_owned().map_err(full)?;
    let topic = topic.find(&broker).await?;
    let last = headers.get("last-event-id").map(|id| id.to_str().ok().and_then(From::parse));
    let from = start(params.from.as_deref(), From::Latest)?;
    let from = match last {
        Some(last) => last.ok_or_else(|| Problem::bad_request("the Last-Event-ID is none that was sent here"))?,
        None => from,
    };
    let follow = partitions(params.partition.as_deref(), &topic)?;
    let positions = resolve(&broker, &topic, &follow, &from).await?;
    // Every event names every partition.
    let max_records = (20_000 / follow.len().max(20)).max(50);
    let bounds = Bounds { max_bytes: LOT, max_records, encoding: params.encoding.unwrap_or_default() };
    // What is wrong with the start is said before the stream begins.
    read(&broker, front.replies(&broker), &topic, &positions, Bounds { max_records: 1, ..bounds }).await?;
    let begins = Event::default()
        .event("start")
        .id(positions.to_string())
        .data(json!({"next": positions.to_string()}).to_string());
    let lot = Lot { events: VecDeque::from([begins]), _permit: None };
    let every = params.partition.is_none();
    let stopping = front.stopping.clone();
    let tail = Tail { front, broker, topic, positions, bounds, every, lot, stopping, ended: false, _place: place };
    let events = stream::unfold(tail, Tail::next);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("heartbeat")).into_response())
}

/// Events that the client has not taken yet.
struct Lot {
    events: VecDeque<Event>,
    _permit: Option<MemoryPermit>,
}

struct Tail {
    front: Front,
    broker: Broker,
    topic: TopicInfo,
    positions: Positions,
    bounds: Bounds,
    /// All partitions are followed, so those as well that come to be.
    every: bool,
    lot: Lot,
    stopping: Stopping,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

impl Tail {
    async fn next(mut self) -> Option<(Result<Event, std::convert::Infallible>, Tail)> {
        loop {
            if let Some(event) = self.lot.events.pop_front() {
                return Some((Ok(event), self));
            }
            self.lot = Lot { events: VecDeque::new(), _permit: None };
            if self.ended {
                return None;
            }
            if let Err(problem) = self.more().await {
                self.ended = true;
                self.lot.events.push_back(Event::default().event("problem").data(problem.to_json().to_string()));
            }
        }
    }

    /// The next lot, or none for now.
    async fn more(&mut self) -> Result<(), Problem> {
        self.grow().await?;
        let shown =
            read(&self.broker, self.front.replies(&self.broker), &self.topic, &self.positions, self.bounds).await?;
        if shown.ends.is_empty() {
            drop(shown);
            tokio::select! {
                biased;
                () = self.stopping.come() => self.ended = true,
                () = wait(&self.broker, &self.topic, &self.positions, LOOK) => {}
            }
            return Ok(());
        }
        if *self.stopping.0.borrow() {
            self.ended = true;
        }
        let mut start = 0;
        for (end, partition, behind) in shown.ends {
            self.positions.0.insert(partition, behind);
            let json = String::from_utf8_lossy(&shown.json[start..end]);
            self.lot.events.push_back(Event::default().id(self.positions.to_string()).data(json));
            start = end;
        }
        // What is small goes without: there are only so many tails.
        self.lot._permit = Some(shown.permit).filter(|_| shown.json.len() > 2 * LOT);
        Ok(())
    }

    /// Partitions that were added since are read from their beginning.
    async fn grow(&mut self) -> Result<(), Problem> {
        let present = self.broker.local_topic(self.topic.id);
        let Some(present) = present else { return Err(Problem::no_topic(self.topic.name.as_str())) };
        if self.every {
            for partition in self.topic.partitions..present.partitions.min(MAX_PARTITIONS as i32) {
                let earliest = look_up(&self.broker, &present, partition, OffsetSpec::Earliest).await?;
                self.positions.0.insert(partition, earliest);
            }
        }
        self.topic = present;
        Ok(())
    }
}
