//! Heap memory of peers and their messages, counted on the thread of a whole loop over the real kernel.
//!
//! An idle peer uses its row, its boxed version and its share of the tables; a message that fits the blocks allocates
//! nothing at all. Far ends are on other threads, whose allocations do not count. The memory of the simulator's
//! connections is counted separately.

#![cfg(unix)]
#![allow(clippy::disallowed_methods, reason = "the tests limit their waiting by the clock and run loops on threads")]

mod idle_peers;
mod node;
mod small_messages;
mod streams;
mod virtual_connections;
