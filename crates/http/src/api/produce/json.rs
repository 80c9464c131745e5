//! `{"records": […]}`, read record by record, so that no more of it is in memory than its text and what is gathered.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::api::object::Object;
use crate::api::record::RecordIn;

/// Records of one request; more go as NDJSON.
pub const MAX_RECORDS: usize = 10_000;

/// Hands every record to `sink`, whose error ends it.
pub fn read<'a, F: FnMut(RecordIn<'a>) -> Result<(), ()>>(json: &'a [u8], sink: F) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    Whole(sink).deserialize(&mut deserializer)?;
    deserializer.end()
}

struct Whole<F>(F);
struct Records<'s, F>(&'s mut F);

impl<'de, F: FnMut(RecordIn<'de>) -> Result<(), ()>> DeserializeSeed<'de> for Whole<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(RecordIn<'de>) -> Result<(), ()>> Visitor<'de> for Whole<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with an array \"records\"")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut seen = false;
        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match (&*name, seen) {
                ("records", false) => map.next_value_seed(Records(&mut self.0))?,
                ("records", true) => return Err(de::Error::duplicate_field("records")),
                (other, _) => return Err(de::Error::unknown_field(other, &["records"])),
            }
            seen = true;
        }
        if seen { Ok(()) } else { Err(de::Error::missing_field("records")) }
    }
}

impl<'de, F: FnMut(RecordIn<'de>) -> Result<(), ()>> DeserializeSeed<'de> for Records<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(RecordIn<'de>) -> Result<(), ()>> Visitor<'de> for Records<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of 1 to {MAX_RECORDS} records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut records = 0;
        while let Some(Object(record)) = seq.next_element()? {
            records += 1;
            if records > MAX_RECORDS {
                return Err(de::Error::invalid_length(records, &self));
            }
            (self.0)(record).map_err(|()| de::Error::custom("refused"))?;
        }
        if records == 0 { Err(de::Error::invalid_length(0, &self)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(json: &str) -> Result<Vec<String>, String> {
        let mut values = Vec::new();
        let read = read(json.as_bytes(), |record| {
            values.push(record.value.unwrap_or_default().into_owned());
            Ok(())
        });
        read.map(|()| values).map_err(|e| e.to_string())
    }

    #[test]
    fn records_are_read_one_by_one() {
        assert_eq!(values(r#"{"records":[{"value":"a"},{"value":"b\n"}]}"#), Ok(vec!["a".into(), "b\n".into()]));
        let many = format!(r#"{{"records":[{}{{}}]}}"#, "{},".repeat(MAX_RECORDS));
        for (json, why) in [
            ("{}", "missing field"),
            (r#"{"records":[]}"#, "invalid length 0"),
            (r#"{"records":[{}],"records":[{}]}"#, "duplicate field"),
            (r#"{"x":1}"#, "unknown field"),
            (r#"{"records":[{}]}x"#, "trailing characters"),
            ("[1]", "an object"),
            (&many, "invalid length 10001"),
            (&"[".repeat(100_000), "an object"),
        ] {
            let refused = values(json).expect_err(why);
            assert!(refused.contains(why), "{refused}");
        }
    }
}
