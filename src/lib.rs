//! Thousands of Bitcoin SV peers on one thread.
#![forbid(unsafe_code)]

pub mod api;
pub mod buffer;
pub mod config;
mod engine;
pub mod error;
pub mod framer;
pub mod handle;
pub mod histogram;
pub mod id;
pub mod limits;
pub mod load;
pub mod net;
pub mod peer;
pub mod protocol;
pub mod reactor;
mod table;
pub mod time;
pub mod wheel;
pub mod wire;

pub use api::{Chunk, Ctx, Event, Frame, Handler};
pub use config::Config;
pub use framer::MessageFramer;
pub use handle::Handle;
pub use id::PeerId;
pub use protocol::Network;
pub use reactor::Reactor;
