//! The load generator in a virtual world, where every latency is known beforehand.

#![expect(clippy::unwrap_used, reason = "a failure in a helper fails its test")]

mod account;
mod beside;
mod block_fetch;
mod get_data;
mod kept;
mod lag;
mod mix;
mod pace;
mod peers;
mod propagation;
mod recorder;
mod schedule;
mod stage;
mod stages;
mod timeline;
mod transactions;
mod workload;
mod workloads;
