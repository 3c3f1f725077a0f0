//! placeholder
#![forbid(unsafe_code)]
pub mod error;
pub mod id;
pub mod limits;
pub mod protocol;
pub mod time;
