//! The framer, tested with valid and hostile input that arrives in pieces of any size.
//!
//! [`framing`](peerloop_testkit::framing) reads a whole stream at once in the most naive way, and feeds the same
//! stream to the framer in pieces. Both must produce the same results. Each module here tests one guarantee.
//! Time is virtual. A counting allocator measures each thread's memory.

mod cuts;
mod direct;
mod extended;
mod frames;
mod hostile;
mod memory;
mod slow;
