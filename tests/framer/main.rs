//! The framer, tested with everything that a peer may send, cut in every way in which a network may cut it.
//!
//! [`framing`](peerloop_testkit::framing) reads a whole stream at once in the most naive way, and feeds the same
//! stream to the framer in pieces. Both must produce the same results. Each module here tests one promise. Time is
//! virtual. An allocator counts the memory of each thread.

mod cuts;
mod direct;
mod extended;
mod frames;
mod hostile;
mod memory;
mod slow;
