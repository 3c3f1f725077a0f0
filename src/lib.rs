//! placeholder
#![forbid(unsafe_code)]
pub mod config;
pub mod error;
pub mod id;
pub mod limits;
pub mod protocol;
pub mod time;
pub mod wire;

pub use config::Config;
pub use protocol::Network;
