//! The timer wheel: compared with a model that sorts, and at the edges of its numbers.

mod edges;
mod model;
