//! The manual.
//!
//! - [`architecture`]: the parts, their responsibilities and their limits
//! - [`run_loop`]: the loop's turn, step by step, and how to embed the loop
//! - [`peer_manager`]: how the loop dials, accepts, refuses and remembers peers by itself, and the cost of the manager
//! - [`relay`]: the relay of transactions: trust, announcements, requests, memory and measurements
//! - [`load_testing`]: the features that load testers expect, with the tests of each
//! - [`workloads`]: the kinds of operations of a load, their metrics, and their requirements
//! - [`results`]: the result files of `peerloop bench`, and the fields of its JSON document
//! - [`reading`]: how to read the text and the page of a result, and the traps
//! - [`finding_the_limit`]: the highest rate, or number of peers, at which a node meets a goal
//! - [`thresholds`]: conditions on the results of a load, and the exit codes
//! - [`comparing`]: whether a new version is better or worse than the old one
//! - [`test_node`]: a node for tests: its answers, its data, and its misbehaviour on purpose
//! - [`monitoring`]: the live view of a load, metrics for Prometheus, a dashboard and alert rules
//! - [`testing`]: how the project is tested, and how to run the tests
//! - `simulator`: the loop in a hostile virtual world, and how to extend that world (feature `sim`)
//! - [`requirements`]: the requirements on the engine, row by row, with the tests of each
//! - [`changelog`]: the changes

#[doc = include_str!("architecture.md")]
pub mod architecture {}

#[doc = include_str!("run_loop.md")]
pub mod run_loop {}

#[doc = include_str!("peer_manager.md")]
pub mod peer_manager {}

#[doc = include_str!("relay.md")]
pub mod relay {}

#[doc = include_str!("load_testing.md")]
pub mod load_testing {}

#[doc = include_str!("workloads.md")]
pub mod workloads {}

#[doc = include_str!("results.md")]
pub mod results {}

#[doc = include_str!("reading.md")]
pub mod reading {}

#[doc = include_str!("finding_the_limit.md")]
pub mod finding_the_limit {}

#[doc = include_str!("thresholds.md")]
pub mod thresholds {}

#[doc = include_str!("comparing.md")]
pub mod comparing {}

#[doc = include_str!("test_node.md")]
pub mod test_node {}

#[doc = include_str!("monitoring.md")]
pub mod monitoring {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[cfg(feature = "sim")]
#[doc = include_str!("simulator.md")]
pub mod simulator {}

#[doc = include_str!("requirements.md")]
pub mod requirements {}

#[doc = include_str!("changelog.md")]
pub mod changelog {}
