//! `GET /v1/topics/{topic}/records`: records in JSON from an offset or a time on, at once or when there are some.

pub mod position;
pub mod read;

use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use self::position::{From, partitions, resolve};
use self::read::{Bounds, Shown, read, wait};
use super::decimal::Decimal;
use super::extract::{Came, Params, TopicPath, Up};
use super::record::{Encoding, RecordShown};
use super::{Front, TopicParam};
use crate::body::held;
use crate::problem::{Problem, ReadProblems};

/// Longest wait of a fetch.
const MAX_WAIT: u64 = 60_000;
/// In bytes.
const MAX_BYTES: usize = 8 << 20;
const MAX_RECORDS: usize = 10_000;

/// What is to be read.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FetchParams {
    /// One partition, or several separated by commas, at most 256; all if it is absent.
    #[param(pattern = "^[0-9]{1,9}(,[0-9]{1,9}){0,255}$")]
    partition: Option<String>,
    /// Where to start: `earliest` (default), `latest`, an offset, `time:` and ms since the epoch, or a `next` of an earlier answer.
    #[param(
        pattern = "^(earliest|latest|time:[0-9]{1,18}|[0-9]{1,18}|[0-9]{1,9}:[0-9]{1,18}(,[0-9]{1,9}:[0-9]{1,18}){0,255})$"
    )]
    from: Option<String>,
    /// Records of an answer.
    #[param(minimum = 1, maximum = 10000, default = 1000)]
    max_records: Option<usize>,
    /// Bytes of an answer; a first record is shown whatever its size.
    #[param(minimum = 1, maximum = 8388608, default = 1048576)]
    max_bytes: Option<usize>,
    /// So many ms it waits for a record if there is none.
    #[param(minimum = 0, maximum = 60000, default = 0)]
    wait: Option<u64>,
    /// How keys and values are shown.
    #[param(inline)]
    encoding: Option<Encoding>,
}

/// Records, and where to go on.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what answer writes")]
pub struct Records {
    /// Those of a partition in their order.
    records: Vec<RecordShown>,
    /// `from` of the next request.
    next: String,
    partitions: Vec<PartitionRange>,
}

/// An answer without its records.
#[derive(Serialize)]
struct Rest {
    next: String,
    partitions: Vec<PartitionRange>,
}

/// What a partition has.
#[derive(Serialize, ToSchema)]
pub struct PartitionRange {
    partition: i32,
    next_offset: Decimal,
    /// The first offset that there is.
    log_start_offset: Decimal,
    /// The offset behind the last record.
    high_watermark: Decimal,
}

/// Read records
///
/// An answer without records says that there are none yet: `wait` for them. Its `next` is the `from` of the next request.
#[utoipa::path(
    get,
    path = "/v1/topics/{topic}/records",
    tag = "records",
    params(TopicParam, FetchParams),
    responses((status = 200, description = "What there is", body = Records), ReadProblems)
)]
pub async fn fetch(
    State(front): State<Front>,
    Up(broker): Up,
    topic: TopicPath,
    Params(params): Params<FetchParams>,
    came: Came,
) -> Result<Response, Problem> {
    let patience = Duration::from_millis(params.wait()?);
    let bounds = params.bounds()?;
    let from = start(params.from.as_deref(), From::Earliest)?;
    let topic = topic.find(&broker).await?;
    let partitions = partitions(params.partition.as_deref(), &topic)?;
    came.patience.work(patience + Duration::from_secs(30));
    let from = resolve(&broker, &topic, &partitions, &from).await?;
    let replies = front.replies(&broker);
    let mut shown = read(&broker, replies, &topic, &from, bounds).await?;
    let until = Instant::now() + patience;
    while shown.ends.is_empty() && Instant::now() < until {
        // Nothing is held while nothing comes.
        drop(shown);
        let mut stopping = front.stopping.clone();
        let stopped = tokio::select! {
            biased;
            () = wait(&broker, &topic, &from, until - Instant::now()) => false,
            () = stopping.come() => true,
        };
        shown = read(&broker, replies, &topic, &from, bounds).await?;
        if stopped {
            break;
        }
    }
    Ok(answer(shown))
}

/// What `from` says.
pub fn start(from: Option<&str>, default: From) -> Result<From, Problem> {
    let Some(from) = from else { return Ok(default) };
    From::parse(from).ok_or_else(|| {
        Problem::bad_request(
            "from is earliest, latest, an offset, time: and milliseconds since the epoch, or what an answer calls next",
        )
    })
}

impl FetchParams {
    fn wait(&self) -> Result<u64, Problem> {
        match self.wait.unwrap_or(0) {
            wait @ ..=MAX_WAIT => Ok(wait),
            _ => Err(Problem::bad_request(format!("wait is at most {MAX_WAIT} ms"))),
        }
    }

    fn bounds(&self) -> Result<Bounds, Problem> {
        let (max_bytes, max_records) = (self.max_bytes.unwrap_or(1 << 20), self.max_records.unwrap_or(1_000));
        if !(1..=MAX_BYTES).contains(&max_bytes) || !(1..=MAX_RECORDS).contains(&max_records) {
            let detail = format!("max_bytes is 1 to {MAX_BYTES}, max_records 1 to {MAX_RECORDS}");
            return Err(Problem::bad_request(detail));
        }
        Ok(Bounds { max_bytes, max_records, encoding: self.encoding.unwrap_or_default() })
    }
}

fn answer(shown: Shown) -> Response {
    let ranges = shown.ranges.iter().map(|(partition, range)| PartitionRange {
        partition: *partition,
        next_offset: Decimal(shown.next.0.get(partition).copied().unwrap_or_default()),
        log_start_offset: Decimal(range.log_start_offset),
        high_watermark: Decimal(range.high_watermark),
    });
    let mut body = Vec::with_capacity(shown.json.len() + shown.ends.len() + 256);
    body.extend_from_slice(b"{\"records\":[");
    let mut start = 0;
    for (end, ..) in &shown.ends {
        if start > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&shown.json[start..*end]);
        start = *end;
    }
    let rest = Rest { next: shown.next.to_string(), partitions: ranges.collect() };
    body.extend_from_slice(b"],");
    body.extend_from_slice(serde_json::to_string(&rest).unwrap_or_default().trim_start_matches('{').as_bytes());
    let len = HeaderValue::from(body.len());
    let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/json")), (CONTENT_LENGTH, len)];
    (headers, held(Bytes::from(body), shown.permit)).into_response()
}
