//! The framer, against everything that a peer may send and every way that a network may cut it.
//!
//! [`framing`](peerloop_testkit::framing) reads a whole stream at once in the most naive way and feeds the same stream
//! to the framer in pieces; both must produce the same results. Each module here tests one promise. Time is virtual; an
//! allocator counts memory per thread.

mod cuts;
mod direct;
mod extended;
mod frames;
mod hostile;
mod memory;
mod slow;
