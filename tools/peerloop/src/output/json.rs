//! The common parts of all JSON outputs: the schema number, the tool, the exit, and the formatting.
//!
//! Durations are in nanoseconds. Integers stay below 2^53, because most readers of JSON store numbers as floats; a
//! value that may be larger is a string.

use serde::de::Deserializer;
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{self, Write};
use std::time::Duration;

/// The version of the JSON schema of every output but the run document, which has a version of its own. It is raised
/// whenever the meaning of a key changes.
pub(crate) const SCHEMA: u32 = 2;

/// The program that wrote the object.
#[derive(Debug, Serialize)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
}

impl Tool {
    pub(crate) const THIS: Self = Self { name: "peerloop", version: env!("CARGO_PKG_VERSION") };
}

/// The program's exit code and the reason for it.
#[derive(Debug, Serialize)]
pub(crate) struct Exit {
    pub(crate) code: u8,
    pub(crate) reason: String,
}

/// A duration that is written as a number of nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Nanos(pub(crate) Duration);

impl Serialize for Nanos {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(nanos(self.0))
    }
}

impl<'de> Deserialize<'de> for Nanos {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(|nanos| Self(Duration::from_nanos(nanos)))
    }
}

/// Returns the nanoseconds of a duration, at most `u64::MAX`.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Formats any object as indented JSON that ends with a line break.
pub(crate) fn pretty(object: &impl Serialize) -> String {
    let mut text = Vec::new();
    write(object, &mut text).expect("numbers, strings and lists can always be written to memory");
    String::from_utf8(text).expect("JSON is UTF-8")
}

/// Writes any object as [`pretty`] formats it, without holding the whole text in memory.
pub(crate) fn write(object: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    debug_assert!(
        serde_json::to_value(object).is_ok_and(|value| is_exact(&value)),
        "an integer is too large, or the object cannot be written"
    );
    serde_json::to_writer_pretty(&mut *out, object)?;
    out.write_all(b"\n")
}

/// Returns whether every JSON reader can hold all integers in `value` exactly.
pub(crate) fn is_exact(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => true,
        Value::Number(number) => {
            let whole = number.as_i64().map(i64::unsigned_abs).or_else(|| number.as_u64());
            whole.is_none_or(|whole| whole < 1 << f64::MANTISSA_DIGITS)
        }
        Value::Array(values) => values.iter().all(is_exact),
        Value::Object(fields) => fields.values().all(is_exact),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_that_readers_would_round_are_detected() {
        let largest = u64::MAX >> 11;
        assert!(is_exact(
            &serde_json::json!([largest, -(largest as i64), null, { "a": [0.1, "18446744073709551615"] }])
        ));
        for too_large in [serde_json::json!(largest + 1), serde_json::json!({ "a": [u64::MAX] }), i64::MIN.into()] {
            assert!(!is_exact(&too_large), "{too_large}");
        }
    }
}
