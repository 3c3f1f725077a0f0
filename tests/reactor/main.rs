//! The loop on the real network, against plain sockets that see every byte of it.

#![allow(clippy::disallowed_methods, reason = "the loop's clock is compared with the system's")]

mod reject;
mod version;
