//! Tests of the timer wheel: compared with a model that sorts, and at its numeric limits.

mod edges;
mod model;
