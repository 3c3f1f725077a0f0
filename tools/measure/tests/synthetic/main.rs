//! Every formula against synthetic measurements whose truth is known.
//!
//! All series are made from fixed seeds, so each run of these tests gives the same tables. Print them with
//! `cargo test -p peerloop-measure --test synthetic -- --nocapture`.

mod comparison;
mod coverage;
mod random;
mod search;
mod series;
mod target;
