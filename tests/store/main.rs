//! The address book: its rules, its file, and the failures of disks and processes.

#![expect(clippy::unwrap_used, reason = "a failure in a helper fails its test")]

mod contract;
mod file;
mod full_disk;
mod journal;
mod killed;
mod memory;
mod spoilt;
mod support;
mod thread;
mod writer;
