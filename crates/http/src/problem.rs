//! Errors as RFC 9457 has them: `application/problem+json`, one type for each thing that a client may want to tell apart.

use std::collections::BTreeMap;
use std::fmt;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lakebed_broker::api::{AppendError, FetchError, Unavailable};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response as OpenApiResponse, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

/// A kind of problem: its status, the last part of its type, and its title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(pub StatusCode, pub &'static str, pub &'static str);

macro_rules! kinds {
    ($($name:ident = $status:ident $type:literal $title:literal;)*) => {
        impl Kind {
            $(pub const $name: Kind = Kind(StatusCode::$status, $type, $title);)*
        }
    };
}

kinds! {
    BAD_REQUEST = BAD_REQUEST "bad-request" "The request cannot be read";
    FORBIDDEN_ORIGIN = FORBIDDEN "forbidden-origin" "Pages of this origin may change nothing here";
    NOT_FOUND = NOT_FOUND "not-found" "There is nothing at this path";
    NO_TOPIC = NOT_FOUND "unknown-topic" "No such topic";
    NO_PARTITION = NOT_FOUND "unknown-partition" "No such partition";
    NO_GROUP = NOT_FOUND "unknown-group" "No such consumer group";
    METHOD = METHOD_NOT_ALLOWED "method-not-allowed" "The resource does not know this method";
    TIMEOUT = REQUEST_TIMEOUT "request-timeout" "The request did not arrive in time";
    TOPIC_EXISTS = CONFLICT "topic-exists" "A topic with this name exists";
    GROUP_IN_USE = CONFLICT "group-in-use" "The consumer group has members";
    TOO_LARGE = PAYLOAD_TOO_LARGE "too-large" "The request or a record is too large";
    MEDIA_TYPE = UNSUPPORTED_MEDIA_TYPE "unsupported-media-type" "This type of content is not understood here";
    OUT_OF_RANGE = RANGE_NOT_SATISFIABLE "offset-out-of-range" "The partition has no such offset";
    MISDIRECTED = MISDIRECTED_REQUEST "not-coordinator" "Another node coordinates the consumer group";
    INVALID = UNPROCESSABLE_ENTITY "invalid-value" "A value is not acceptable";
    KEY_REUSED = UNPROCESSABLE_ENTITY "idempotency-key-reused" "The idempotency key was used for another request";
    INTERNAL = INTERNAL_SERVER_ERROR "internal" "Something is wrong with this node";
    UNAVAILABLE = SERVICE_UNAVAILABLE "unavailable" "Not possible now; try again";
    NO_MEMORY = SERVICE_UNAVAILABLE "no-memory" "This node has no memory for the request now; try again";
    MAY_APPEAR = GATEWAY_TIMEOUT "outcome-unknown" "Not known to be done in time";
}

/// What clients are told instead of what they asked for.
#[derive(Debug)]
pub struct Problem {
    pub kind: Kind,
    detail: String,
    members: Map<String, Value>,
}

/// A problem as it is sent, RFC 9457. Each type may have members of its own.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Of a fixed list: `urn:lakebed:problem:` and a word.
    #[serde(rename = "type")]
    #[schema(example = "urn:lakebed:problem:unknown-topic")]
    kind: String,
    title: &'static str,
    status: u16,
    /// For people.
    detail: String,
    #[serde(flatten)]
    #[schema(value_type = Object, additional_properties)]
    members: Map<String, Value>,
}

impl Problem {
    pub fn new(kind: Kind, detail: impl fmt::Display) -> Problem {
        Problem { kind, detail: detail.to_string(), members: Map::new() }
    }

    pub fn bad_request(detail: impl fmt::Display) -> Problem {
        Problem::new(Kind::BAD_REQUEST, detail)
    }

    /// For a router's fallback.
    pub async fn method() -> Problem {
        Problem::new(Kind::METHOD, "the header Allow names those that it knows")
    }

    pub fn invalid(detail: impl fmt::Display) -> Problem {
        Problem::new(Kind::INVALID, detail)
    }

    /// Adds a member of its own.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Problem {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    pub fn no_topic(name: &str) -> Problem {
        Problem::new(Kind::NO_TOPIC, format!("there is no topic {name}"))
    }

    pub fn no_partition(partition: i32, partitions: i32) -> Problem {
        let last = partitions - 1;
        Problem::new(Kind::NO_PARTITION, format!("there is no partition {partition}; the topic has 0 to {last}"))
            .with("partition", partition)
    }

    pub fn fetch(partition: i32, error: &FetchError) -> Problem {
        match error {
            FetchError::UnknownPartition => Problem::new(Kind::NO_PARTITION, error).with("partition", partition),
            FetchError::OutOfRange { offset, log_start_offset, high_watermark } => {
                let detail = format!("partition {partition}: {error}");
                Problem::new(Kind::OUT_OF_RANGE, detail)
                    .with("partition", partition)
                    .with("offset", offset.to_string())
                    .with("log_start_offset", log_start_offset.to_string())
                    .with("high_watermark", high_watermark.to_string())
            }
            FetchError::Storage(_) => Problem::new(Kind::UNAVAILABLE, error).with("partition", partition),
            FetchError::Unavailable(unavailable) => (*unavailable).into(),
        }
    }

    pub fn append(error: &AppendError) -> Problem {
        let kind = match error {
            AppendError::UnknownPartition => Kind::NO_PARTITION,
            AppendError::TooLarge(..) => Kind::TOO_LARGE,
            AppendError::InvalidTimestamp(_) | AppendError::InvalidRecord(_) | AppendError::OffsetsExhausted => {
                Kind::INVALID
            }
            AppendError::OutOfOrderSequence | AppendError::InvalidProducerEpoch => {
                let detail = "the key was used for other records of this topic within the last 24 h; nothing is stored";
                return Problem::new(Kind::KEY_REUSED, detail);
            }
            AppendError::ProducersExhausted | AppendError::TimedOut | AppendError::Stopping => Kind::UNAVAILABLE,
            AppendError::TimedOutUnderWay => Kind::MAY_APPEAR,
            AppendError::Corrupt(_)
            | AppendError::UnsupportedFormat
            | AppendError::UnsupportedCompression(_)
            | AppendError::Transactional
            | AppendError::UnknownProducerId => Kind::INTERNAL,
        };
        Problem::new(kind, error)
    }

    /// Its JSON, for where it is not an answer of its own.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self.body()).unwrap_or_else(|_| json!({}))
    }

    fn body(&self) -> ProblemBody {
        let Kind(status, kind, title) = self.kind;
        ProblemBody {
            kind: format!("urn:lakebed:problem:{kind}"),
            title,
            status: status.as_u16(),
            detail: self.detail.clone(),
            members: self.members.clone(),
        }
    }
}

impl From<Unavailable> for Problem {
    fn from(error: Unavailable) -> Problem {
        Problem::new(Kind::UNAVAILABLE, error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.kind.0;
        let mut response = (status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// The problems that an operation may answer with.
macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident: $($status:literal)*;)*) => {
        $(
            $(#[$doc])*
            pub struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<OpenApiResponse>> {
                    [$($status),*].into_iter().map(|status| (status.to_string(), described(status))).collect()
                }
            }
        )*
    };
}

problems! {
    /// Of reading.
    ReadProblems: 400 404 408 416 422 500 503;
    /// Of changing topics.
    ChangeProblems: 400 403 404 408 409 413 415 422 500 503;
    /// Of storing records.
    ProduceProblems: 400 403 404 408 413 415 422 500 503 504;
    /// Of asking and changing a group.
    GroupProblems: 400 403 404 408 409 413 415 416 421 422 500 503;
}

fn described(status: u16) -> RefOr<OpenApiResponse> {
    let reason = StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or_default();
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(reason).content("application/problem+json", content).build().into()
}
