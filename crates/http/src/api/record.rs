//! A record in JSON, as it is sent and as it is shown.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lakebed_record::batch;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use super::decimal::{AnyDecimal, Decimal, whole};
use super::object::Object;

/// Of one record.
pub const MAX_HEADERS: usize = 1_000;

/// A record to be stored. Text is stored as UTF-8; the `_base64` forms are for other bytes, and stand in place of the plain ones.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewRecord)]
pub struct RecordIn<'a> {
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    pub key: Option<Cow<'a, str>>,
    /// Bytes of the key; not together with a `key`.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, content_encoding = "base64", pattern = "^([A-Za-z0-9+/]{4})*$")]
    pub key_base64: Option<Cow<'a, str>>,
    /// Absent or null: a record without a value.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    pub value: Option<Cow<'a, str>>,
    /// Bytes of the value; not together with a `value`.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, content_encoding = "base64", pattern = "^([A-Za-z0-9+/]{4})*$")]
    pub value_base64: Option<Cow<'a, str>>,
    /// In this order; names may repeat.
    #[serde(borrow, default, deserialize_with = "headers")]
    #[schema(value_type = Vec<HeaderIn>, max_items = 1000)]
    pub headers: Vec<HeaderIn<'a>>,
    /// Where it goes; else its key decides, or without a key this node.
    #[serde(default, deserialize_with = "whole")]
    #[schema(minimum = 0)]
    pub partition: Option<i32>,
    /// ms since the epoch; else the time at which it came.
    #[serde(default)]
    pub timestamp: Option<AnyDecimal>,
}

/// A header of a record.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewHeader)]
pub struct HeaderIn<'a> {
    #[serde(borrow)]
    #[schema(value_type = String)]
    pub name: Cow<'a, str>,
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    pub value: Option<Cow<'a, str>>,
    /// Bytes of the value; not together with a `value`.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, content_encoding = "base64", pattern = "^([A-Za-z0-9+/]{4})*$")]
    pub value_base64: Option<Cow<'a, str>>,
}

/// No more than may be, however many there are: each takes several times the memory of its JSON.
fn headers<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<HeaderIn<'a>>, D::Error> {
    struct Some1000;
    impl<'de> Visitor<'de> for Some1000 {
        type Value = Vec<HeaderIn<'de>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "an array of at most {MAX_HEADERS} headers")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut headers = Vec::new();
            while let Some(Object(header)) = seq.next_element()? {
                if headers.len() == MAX_HEADERS {
                    return Err(de::Error::invalid_length(MAX_HEADERS + 1, &self));
                }
                headers.push(header);
            }
            Ok(headers)
        }
    }
    deserializer.deserialize_seq(Some1000)
}

/// A record to be stored, its bytes as they are stored.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NewRecord<'a> {
    pub key: Option<Cow<'a, [u8]>>,
    pub value: Option<Cow<'a, [u8]>>,
    pub headers: Vec<NewHeader<'a>>,
    pub partition: Option<i32>,
    pub timestamp: Option<i64>,
}

/// Name and value of a header.
pub type NewHeader<'a> = (Cow<'a, str>, Option<Cow<'a, [u8]>>);

/// Why a record cannot be taken, in a sentence.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'a> RecordIn<'a> {
    pub fn open(self) -> Result<NewRecord<'a>, Refused> {
        let header = |h: HeaderIn<'a>| Ok((h.name, bytes("value", h.value, h.value_base64)?));
        Ok(NewRecord {
            key: bytes("key", self.key, self.key_base64)?,
            value: bytes("value", self.value, self.value_base64)?,
            headers: self.headers.into_iter().map(header).collect::<Result<_, _>>()?,
            partition: self.partition,
            timestamp: self.timestamp.map(|t| t.0),
        })
    }
}

/// What one of two fields says.
pub fn bytes<'a>(
    name: &str,
    text: Option<Cow<'a, str>>,
    base64: Option<Cow<'a, str>>,
) -> Result<Option<Cow<'a, [u8]>>, Refused> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(Refused(format!("{name} and {name}_base64 exclude each other"))),
        (Some(Cow::Borrowed(text)), None) => Ok(Some(Cow::Borrowed(text.as_bytes()))),
        (Some(Cow::Owned(text)), None) => Ok(Some(Cow::Owned(text.into_bytes()))),
        (None, Some(base64)) => match STANDARD.decode(base64.as_bytes()) {
            Ok(bytes) => Ok(Some(Cow::Owned(bytes))),
            Err(e) => Err(Refused(format!("{name}_base64 is no base64 (RFC 4648, section 4): {e}"))),
        },
        (None, None) => Ok(None),
    }
}

/// How fields are shown.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As text what is UTF-8 without control characters but tab and line ends, else as base64.
    #[default]
    Auto,
    Base64,
}

/// A stored record, as it is shown.
pub struct RecordOut<'a> {
    pub partition: i32,
    pub offset: i64,
    pub record: &'a batch::Record<'a>,
    pub encoding: Encoding,
}

/// A stored record. Of `key` and `key_base64` one is there, as of `value` and `value_base64`: base64 is for what is no text. `key: null` is a record
/// without a key.
#[derive(ToSchema)]
#[schema(as = Record)]
#[expect(dead_code, reason = "it describes what RecordOut writes")]
pub struct RecordShown {
    partition: i32,
    offset: Decimal,
    /// ms since the epoch; null: it has none.
    #[schema(required = true)]
    timestamp: Option<Decimal>,
    #[schema(required = false)]
    key: Option<String>,
    #[schema(required = false, value_type = String)]
    key_base64: String,
    #[schema(required = false)]
    value: Option<String>,
    #[schema(required = false, value_type = String)]
    value_base64: String,
    headers: Vec<HeaderShown>,
}

/// A header of a stored record. Its name is text; `name_base64` is there for one that is none.
#[derive(ToSchema)]
#[schema(as = Header)]
#[expect(dead_code, reason = "it describes what RecordOut writes")]
pub struct HeaderShown {
    #[schema(required = false, value_type = String)]
    name: String,
    #[schema(required = false, value_type = String)]
    name_base64: String,
    #[schema(required = false)]
    value: Option<String>,
    #[schema(required = false, value_type = String)]
    value_base64: String,
}

impl Serialize for RecordOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("partition", &self.partition)?;
        map.serialize_entry("offset", &Decimal(self.offset))?;
        let timestamp = (self.record.timestamp != -1).then_some(Decimal(self.record.timestamp));
        map.serialize_entry("timestamp", &timestamp)?;
        field(&mut map, ["key", "key_base64"], self.record.key, self.encoding)?;
        field(&mut map, ["value", "value_base64"], self.record.value, self.encoding)?;
        map.serialize_entry("headers", &HeadersOut(self.record, self.encoding))?;
        map.end()
    }
}

struct HeadersOut<'a>(&'a batch::Record<'a>, Encoding);
struct HeaderOut<'a>(batch::Header<'a>, Encoding);

impl Serialize for HeadersOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(None)?;
        self.0.headers().try_for_each(|header| seq.serialize_element(&HeaderOut(header, self.1)))?;
        seq.end()
    }
}

impl Serialize for HeaderOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        field(&mut map, ["name", "name_base64"], Some(self.0.key), Encoding::Auto)?;
        field(&mut map, ["value", "value_base64"], self.0.value, self.1)?;
        map.end()
    }
}

fn field<M: SerializeMap>(
    map: &mut M,
    [text, base64]: [&'static str; 2],
    bytes: Option<&[u8]>,
    encoding: Encoding,
) -> Result<(), M::Error> {
    match bytes {
        None => map.serialize_entry(text, &None::<&str>),
        Some(bytes) => match as_text(bytes).filter(|_| encoding == Encoding::Auto) {
            Some(shown) => map.serialize_entry(text, shown),
            None => map.serialize_entry(base64, &STANDARD.encode(bytes)),
        },
    }
}

/// In JSON no more than twice as long.
fn as_text(bytes: &[u8]) -> Option<&str> {
    let control = |b: &u8| (*b < b' ' && !b"\t\n\r".contains(b)) || *b == 0x7f;
    if bytes.iter().any(control) { None } else { std::str::from_utf8(bytes).ok() }
}

#[cfg(test)]
mod tests {
    use lakebed_record::batch::{BatchBuilder, Limits, records};

    use super::*;

    fn open(json: &str) -> Result<NewRecord<'_>, String> {
        let Object::<RecordIn<'_>>(record) = serde_json::from_str(json).map_err(|e| e.to_string())?;
        record.open().map_err(|e| e.0)
    }

    #[test]
    fn records_are_read_with_all_their_forms() {
        let json = r#"{"key":"k\u00e4","value_base64":"AP8=","partition":3,"timestamp":"17",
            "headers":[{"name":"a","value":"1"},{"name":"a","value":null},{"name":"b","value_base64":"/w=="}]}"#;
        let record = open(json).expect("a record");
        assert_eq!(record.key.as_deref(), Some("kä".as_bytes()));
        assert_eq!(record.value.as_deref(), Some(&[0, 255][..]));
        assert_eq!((record.partition, record.timestamp), (Some(3), Some(17)));
        let headers: Vec<_> = record.headers.iter().map(|(n, v)| (&**n, v.as_deref())).collect();
        assert_eq!(headers, [("a", Some(&b"1"[..])), ("a", None), ("b", Some(&[255][..]))]);
        assert_eq!(open("{}"), Ok(NewRecord::default()));
    }

    #[test]
    fn what_is_no_record_is_refused_with_a_reason() {
        let cases = [
            (r#"{"value":"a","value_base64":"YQ=="}"#, "exclude each other"),
            (r#"{"value_base64":"a"}"#, "no base64"),
            (r#"{"vlaue":"a"}"#, "unknown field"),
            (r#"{"value":{"a":1}}"#, "expected a string"),
            (r#"{"value":"a","value":"b"}"#, "duplicate field"),
            (r#"{"headers":[{"value":"a"}]}"#, "missing field `name`"),
            (r#"{"timestamp":-5}"#, "a number from 0"),
            ("[]", "expected an object"),
            (r#"{"headers":[["a"]]}"#, "expected an object"),
        ];
        for (json, why) in cases {
            let refused = open(json).expect_err(json);
            assert!(refused.contains(why), "{json}: {refused}");
        }
    }

    #[test]
    fn records_are_shown_as_text_or_base64() {
        let mut builder = BatchBuilder::new();
        let headers = [(&b"h"[..], Some(&b"\xff"[..])), (b"h", None), (b"\xfe", Some(b"x"))];
        builder.push(-1, Some(b"line\n\"1\""), Some(b"\0"), headers);
        let batch = builder.build();
        let records = records(&batch, Limits::default()).expect("a batch");
        let record = records.iter().next().expect("one record").expect("one that can be read");
        let shown = |encoding| {
            let out = RecordOut { partition: 1, offset: i64::MAX, record: &record, encoding };
            serde_json::to_value(out).expect("json")
        };
        let auto = serde_json::json!({
            "partition": 1, "offset": "9223372036854775807", "timestamp": null, "key": "line\n\"1\"", "value_base64": "AA==",
            "headers": [{"name": "h", "value_base64": "/w=="}, {"name": "h", "value": null}, {"name_base64": "/g==", "value": "x"}]
        });
        assert_eq!(shown(Encoding::Auto), auto);
        assert_eq!(shown(Encoding::Base64)["key_base64"], "bGluZQoiMSI=");
    }
}
