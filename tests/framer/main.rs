//! The framer against everything a peer may send and every way a network may cut it.
//!
//! [`model`] reads a whole stream at once in the most naive way and drives the framer over the same stream in pieces;
//! both must tell the same story. The modules beside it take one promise each. Time here is virtual, memory is counted
//! per thread by an allocator that only this crate uses.

mod cuts;
mod direct;
mod extended;
mod frames;
mod hostile;
mod memory;
mod model;
mod slow;
