//! The timer wheel: random runs compared with a sorted model, and tests at the wheel's numeric limits.

mod edges;
mod model;
