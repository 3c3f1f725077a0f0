//! The responder in a virtual world, where every moment is known beforehand.

#![expect(clippy::unwrap_used, reason = "a failure in a helper fails its test")]

mod answers;
mod blocks;
mod bounds;
mod knobs;
mod stage;
mod visits;
