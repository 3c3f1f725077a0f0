//! Heap memory of peers and their messages, counted on the thread of a loop that uses the real kernel.
//!
//! An idle peer uses memory for its row, its boxed version and its share of the tables. A message that fits into the
//! loop's read and write blocks allocates nothing. The remote endpoints run on other threads or allocate nothing, so
//! they do not change the counts. The module `virtual_connections` counts the memory of the simulator's connections
//! instead.

#![cfg(unix)]
#![allow(clippy::disallowed_methods, reason = "the tests limit their waiting by the clock and run loops on threads")]

mod idle_peers;
mod node;
mod small_messages;
mod streams;
mod virtual_connections;
