//! Tests of the timer wheel: against a sorting model, and at its numeric limits.

mod edges;
mod model;
