//! 64-bit integers in JSON: written as decimal strings, since JavaScript's numbers are exact only up to 2^53; read as either.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, OneOfBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// An offset, or another 64-bit number, in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal(pub i64);

/// One in a request: not negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnyDecimal(pub i64);

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for AnyDecimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<AnyDecimal, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl Visitor<'_> for Reader {
    type Value = AnyDecimal;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number from 0 to 2^63 - 1, as a decimal string or as an integer")
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<AnyDecimal, E> {
        i64::try_from(n).map(AnyDecimal).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(n), &self))
    }

    /// As far as such numbers are exact.
    fn visit_f64<E: de::Error>(self, n: f64) -> Result<AnyDecimal, E> {
        let whole = n.trunc() == n && (0.0..9_007_199_254_740_992.0).contains(&n);
        whole.then_some(AnyDecimal(n as i64)).ok_or_else(|| E::invalid_value(de::Unexpected::Float(n), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<AnyDecimal, E> {
        parse(text).map(AnyDecimal).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

/// A partition or a number of them, to be null or absent. JSON has no integers of its own: `3.0` is one as well (JSON Schema, section 6.1.1).
pub fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i32>, D::Error> {
    struct Whole(i32);
    struct WholeReader;

    impl Visitor<'_> for WholeReader {
        type Value = Whole;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an integer of 32 bits")
        }

        fn visit_u64<E: de::Error>(self, n: u64) -> Result<Whole, E> {
            i32::try_from(n).map(Whole).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(n), &self))
        }

        fn visit_f64<E: de::Error>(self, n: f64) -> Result<Whole, E> {
            let whole = n.trunc() == n && (0.0..=f64::from(i32::MAX)).contains(&n);
            whole.then_some(Whole(n as i32)).ok_or_else(|| E::invalid_value(de::Unexpected::Float(n), &self))
        }
    }

    impl<'de> Deserialize<'de> for Whole {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Whole, D::Error> {
            deserializer.deserialize_any(WholeReader)
        }
    }

    Ok(Option::<Whole>::deserialize(deserializer)?.map(|whole| whole.0))
}

/// Digits alone.
pub fn parse(text: &str) -> Option<i64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl PartialSchema for Decimal {
    fn schema() -> RefOr<Schema> {
        let string = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^-?[0-9]{1,19}$"));
        string.description(Some("A 64-bit integer as a decimal string")).examples(["42"]).into()
    }
}

impl ToSchema for Decimal {
    fn name() -> Cow<'static, str> {
        "Decimal".into()
    }
}

impl PartialSchema for AnyDecimal {
    fn schema() -> RefOr<Schema> {
        let string = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[0-9]{1,18}$"));
        let integer = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(0))
            .maximum(Some(i64::MAX));
        let either = OneOfBuilder::new().item(string).item(integer);
        either.description(Some("A 64-bit integer that is not negative, as a decimal string or as a number")).into()
    }
}

impl ToSchema for AnyDecimal {
    fn name() -> Cow<'static, str> {
        "AnyDecimal".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_one_is_written() {
        let read = |json: &str| serde_json::from_str::<AnyDecimal>(json).ok().map(|n| n.0);
        assert_eq!(read("9223372036854775807"), Some(i64::MAX));
        assert_eq!(read("\"9223372036854775807\""), Some(i64::MAX));
        assert_eq!(read("\"007\""), Some(7));
        assert_eq!(read("7.0"), Some(7));
        for wrong in
            ["-1", "1e300", "\"-1\"", "9223372036854775808", "\"9223372036854775808\"", "1.5", "\"\"", "\"+1\"", "null"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(serde_json::to_string(&Decimal(i64::MAX)).expect("json"), "\"9223372036854775807\"");
    }
}
