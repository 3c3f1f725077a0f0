//! The manual: what one wants to know before reading the code.
//!
//! - [`architecture`]: the parts, what each owns, and what none of them does
//! - [`run_loop`]: the turn, step by step, and how to embed it
//! - [`peer_manager`]: whom the loop dials, lets in, keeps out and remembers by itself, and what that costs
//! - [`testing`]: how all of it is checked, and how to run the checks
//! - `simulator`: the loop in a hostile virtual world, and what a new capability adds to it (feature `sim`)
//! - [`requirements`]: what the engine has to do, row by row, and the test that shows it
//! - [`changelog`]: what changed

#[doc = include_str!("architecture.md")]
pub mod architecture {}

#[doc = include_str!("run_loop.md")]
pub mod run_loop {}

#[doc = include_str!("peer_manager.md")]
pub mod peer_manager {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[cfg(feature = "sim")]
#[doc = include_str!("simulator.md")]
pub mod simulator {}

#[doc = include_str!("requirements.md")]
pub mod requirements {}

#[doc = include_str!("changelog.md")]
pub mod changelog {}
