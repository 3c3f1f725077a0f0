//! The timer wheel, checked against a model that sorts and at the wheel's numeric limits.

mod edges;
mod model;
