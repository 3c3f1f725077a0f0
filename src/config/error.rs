//! The error for an invalid field of a configuration.
//!
//! The error names the field, its rule, and the fields that the rule compares it with.

use super::Field;
use super::table::Broken;
use std::fmt;

/// The error for a field whose value breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigError {
    /// The field.
    pub field: Field,
    /// The range or form that the field must have, as text.
    pub rule: &'static str,
    /// The other fields that the rule compares this one with; usually none. The wrong value may be in one of them.
    pub others: &'static [Field],
}

impl ConfigError {
    /// Returns the error for a field that does not satisfy its own rule.
    pub(super) fn out_of_range((field, rule): Broken) -> Self {
        Self { field, rule, others: &[] }
    }

    /// Returns an error for `field` unless `holds` is true. The rule compares the field with `others`.
    pub(super) fn unless_compared(
        field: Field,
        holds: bool,
        rule: &'static str,
        others: &'static [Field],
    ) -> Result<(), Self> {
        if holds { Ok(()) } else { Err(Self { field, rule, others }) }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "configuration: {} {}", self.field, self.rule)
    }
}

impl std::error::Error for ConfigError {}
