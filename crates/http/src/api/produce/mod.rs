//! `POST /v1/topics/{topic}/records`: records in JSON, line by line, or one as it is. Answered when they are in the log.

mod gather;
mod json;
mod lines;
mod store;

use std::borrow::Cow;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use lakebed_broker::Broker;
use lakebed_broker::api::TopicInfo;
use lakebed_broker::keyed::RequestKey;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use self::gather::Gathering;
use self::store::{Writer, random};
use super::decimal::{AnyDecimal, Decimal};
use super::extract::{Came, Params, TopicPath, Up, media_type};
use super::record::{NewRecord, RecordIn};
use super::{Front, TopicParam};
use crate::body::{Arriving, take};
use crate::problem::{Kind, Problem, ProduceProblems};

/// Largest body but NDJSON, and longest line of that, in bytes.
const MOST_BYTES: usize = 16 << 20;
const MOST_KEY: usize = 255;

/// What holds for records that say nothing else of themselves: all there is for a record that is sent as it is.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ProduceParams {
    key: Option<String>,
    #[param(minimum = 0)]
    partition: Option<i32>,
    /// ms since the epoch.
    #[param(value_type = Option<AnyDecimal>)]
    timestamp: Option<AnyDecimal>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes what request_key and record_headers read")]
pub struct ProduceHeaders {
    /// Names this request.
    #[param(rename = "Idempotency-Key", required = false, min_length = 1, max_length = 255, pattern = "^[!-~]+$")]
    idempotency_key: String,
    /// A header of the record, `name=value`, or `name` for one without a value, for records without `headers`; may be there several times.
    #[param(rename = "Lakebed-Header", required = false, pattern = "^[!-<>-~]+(=[!-~]*)?$")]
    lakebed_header: String,
}

/// Records to be stored: all of them, or none if one of them cannot be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it describes what json::read reads")]
pub struct NewRecords {
    #[schema(value_type = Vec<RecordIn>, min_items = 1, max_items = 10000)]
    records: Vec<()>,
}

/// The value of one record.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "it describes any bytes")]
pub struct RawValue(Vec<u8>);

/// What is in the log.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Stored {
    /// How many records.
    pub stored: u64,
    /// By partition.
    pub partitions: Vec<StoredPartition>,
    /// Where each record is, in the order in which they came; not after NDJSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, value_type = Vec<StoredRecord>)]
    pub records: Option<Vec<StoredRecord>>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct StoredPartition {
    pub partition: i32,
    pub records: u64,
    /// Records of others may lie between them.
    pub first_offset: Decimal,
    pub last_offset: Decimal,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct StoredRecord {
    pub partition: i32,
    pub offset: Decimal,
}

/// One produce request.
struct Call {
    broker: Broker,
    topic: TopicInfo,
    key: Option<RequestKey>,
    params: ProduceParams,
    headers: Vec<RecordHeader>,
    came: Came,
}

type RecordHeader = (String, Option<Vec<u8>>);

/// Store records
///
/// Answered once they are in the log. With an `Idempotency-Key` the same request may be sent again, to any node, for 24 h: what is stored is not
/// stored twice, and the answer is the same.
#[utoipa::path(
    post,
    path = "/v1/topics/{topic}/records",
    tag = "records",
    params(
        TopicParam,
        ProduceParams,
        ProduceHeaders,
    ),
    request_body(
        description = "Records in JSON; or one record a line (NDJSON), without bound, of which the lines before a bad one are stored; or the value of one record as it is",
        content((NewRecords = "application/json"), (String = "application/x-ndjson"), (String = "text/plain"), (RawValue = "application/octet-stream")),
    ),
    responses((status = 200, description = "All are stored", body = Stored), ProduceProblems)
)]
pub async fn produce(
    State(front): State<Front>,
    Up(broker): Up,
    topic: TopicPath,
    Params(params): Params<ProduceParams>,
    came: Came,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Stored>, Problem> {
    let form = Form::of(&headers)?;
    let key = request_key(&headers)?;
    let record_headers = record_headers(&headers)?;
    let topic = topic.find(&broker).await?;
    let memory = broker.memory().clone();
    let arriving = Arriving::new(body, came.patience.clone(), &memory);
    let call = Call { broker, topic, key, params, headers: record_headers, came };
    let stored = match form {
        Form::Lines => call.lines(arriving, front.stopping.clone()).await?,
        form => call.at_once(form, arriving).await?,
    };
    Ok(Json(stored))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Lines,
    Raw,
}

impl Form {
    fn of(headers: &HeaderMap) -> Result<Form, Problem> {
        // RFC 9110, section 8.3: what says nothing may be taken for an octet stream.
        match media_type(headers).as_deref().unwrap_or("application/octet-stream") {
            "application/json" => Ok(Form::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Form::Lines),
            "application/octet-stream" | "text/plain" => Ok(Form::Raw),
            other => Err(Problem::new(
                Kind::MEDIA_TYPE,
                format!(
                    "{other} is none of application/json, application/x-ndjson, and application/octet-stream or text/plain for the \
                     value of one record (curl: -H 'content-type: …')"
                ),
            )),
        }
    }
}

fn request_key(headers: &HeaderMap) -> Result<Option<RequestKey>, Problem> {
    let mut keys = headers.get_all("idempotency-key").iter();
    match (keys.next(), keys.next()) {
        (None, _) => Ok(None),
        (Some(key), None) if (1..=MOST_KEY).contains(&key.len()) && key.as_bytes().iter().all(u8::is_ascii_graphic) => {
            Ok(Some(RequestKey::new(key.as_bytes())))
        }
        _ => Err(Problem::bad_request(
            "an Idempotency-Key has 1 to 255 visible ASCII characters, and there is one at most",
        )),
    }
}

fn record_headers(headers: &HeaderMap) -> Result<Vec<RecordHeader>, Problem> {
    let each = headers.get_all("lakebed-header").iter().map(|header| {
        let mut parts = header.as_bytes().splitn(2, |b| *b == b'=');
        let name = std::str::from_utf8(parts.next().unwrap_or_default()).ok().filter(|name| !name.is_empty())?;
        Some((name.to_owned(), parts.next().map(<[u8]>::to_vec)))
    });
    let wrong = || Problem::bad_request("a Lakebed-Header is NAME=VALUE or NAME, its name in UTF-8");
    each.collect::<Option<Vec<_>>>().ok_or_else(wrong)
}

impl Call {
    /// Fills in what the request says of records that say nothing of it themselves.
    fn complete<'a>(&'a self, mut record: NewRecord<'a>) -> NewRecord<'a> {
        if record.key.is_none() {
            record.key = self.params.key.as_ref().map(|key| key.as_bytes().into());
        }
        if record.headers.is_empty() {
            let headers = self.headers.iter().map(|(name, value)| (Cow::from(name), value.as_deref().map(Cow::from)));
            record.headers = headers.collect();
        }
        record.partition = record.partition.or(self.params.partition);
        record.timestamp = record.timestamp.or(self.params.timestamp.map(|t| t.0));
        record
    }

    fn gathering(&self) -> Gathering {
        Gathering::new(self.topic.clone(), self.key.clone(), random(&self.broker))
    }

    fn writer(&self) -> Writer {
        let client = self.came.client.clone();
        let producer = match self.key {
            Some(_) => self.broker.keyed_producer_of(client),
            None => self.broker.producer_of(client),
        };
        Writer::new(self.broker.clone(), producer)
    }

    async fn at_once(self, form: Form, arriving: Arriving<'_>) -> Result<Stored, Problem> {
        let (body, patience, memory) = arriving.whole(MOST_BYTES).await?;
        patience.work(store::LONGEST);
        let mut gathering = self.gathering();
        let placed = match form {
            Form::Raw => {
                let record = NewRecord { value: Some(body[..].into()), ..NewRecord::default() };
                vec![gathering.push(&self.complete(record), self.broker.wall_ms())?]
            }
            _ => self.gather_json(&body, &mut gathering)?,
        };
        let mut writer = self.writer();
        // What the body had is for the batches now, which are about as large.
        let memory = match memory {
            Some(memory) => memory,
            None => take(self.broker.memory(), gathering.bytes()).await?,
        };
        drop(body);
        let batches = gathering.take(0);
        let partitions: Vec<i32> = batches.iter().map(|b| b.append.partition.0).collect();
        writer.send(batches, memory).await;
        writer.wait_for_all().await;
        let (summary, outcomes) = (writer.summary(), writer.outcomes);
        if let Some(problem) = writer.problem {
            let records = placed.iter().map(|placed| match outcomes.get(placed.batch as usize) {
                Some(Ok(base)) => json!({"offset": (base + i64::from(placed.delta)).to_string()}),
                Some(Err(error)) => json!({"error": error.to_string()}),
                None => Value::Null,
            });
            return Err(store::with_summary(problem, &summary).with("records", records.collect::<Vec<_>>()));
        }
        let records = placed.iter().filter_map(|placed| {
            let base = outcomes.get(placed.batch as usize)?.as_ref().ok()?;
            let partition = *partitions.get(placed.batch as usize)?;
            Some(StoredRecord { partition, offset: Decimal(base + i64::from(placed.delta)) })
        });
        Ok(Stored { records: Some(records.collect()), ..summary })
    }

    fn gather_json(&self, body: &[u8], gathering: &mut Gathering) -> Result<Vec<gather::Placed>, Problem> {
        let (now, mut placed, mut problem) = (self.broker.wall_ms(), Vec::new(), None);
        let read = json::read(body, |record: RecordIn<'_>| {
            let opened = record.open().map_err(Problem::invalid);
            let pushed = opened.and_then(|record| gathering.push(&self.complete(record), now));
            pushed.map(|at| placed.push(at)).map_err(|p| problem = Some(p.with("record", placed.len())))
        });
        match (problem, read) {
            (Some(problem), _) => Err(problem),
            (None, Err(e)) => Err(Problem::bad_request(e)),
            (None, Ok(())) => Ok(placed),
        }
    }
}
