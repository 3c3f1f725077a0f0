//! placeholder
#![forbid(unsafe_code)]
pub mod buffer;
pub mod config;
pub mod error;
pub mod framer;
pub mod id;
pub mod limits;
pub mod net;
pub mod peer;
pub mod protocol;
pub mod time;
pub mod wheel;
pub mod wire;

pub use config::Config;
pub use framer::MessageFramer;
pub use protocol::Network;
