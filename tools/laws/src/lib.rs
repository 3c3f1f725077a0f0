//! The fuzz targets' laws: properties of the library that hold for any bytes. Each law is a function that panics if
//! the bytes break its property.
//!
//! A law decodes its bytes, or reads actions from them and performs the actions. `tools/fuzz` searches for bytes that
//! break a law; `tests/corpus` replays the inputs that these searches have kept. A law has no randomness and no clock,
//! so the same bytes always give the same result. [`judge`] and [`theirs`] compare the library with the crate
//! `bitcoin`, for the laws and for `tests/oracle`.

mod framer;
mod framer_stream;
mod handshake;
mod header_roundtrip;
pub mod judge;
mod msg_decode;
mod msg_differential;
mod tape;
pub mod theirs;
mod timer_wheel;
mod txqueue;
mod varint;

/// A law and its name.
#[derive(Clone, Copy, Debug)]
pub struct Law {
    /// The name of the law's fuzz target, and of the folder with its corpus.
    pub name: &'static str,
    /// Panics if the bytes break the law.
    pub check: fn(&[u8]),
}

/// All laws.
pub const LAWS: [Law; 9] = [
    Law { name: "framer", check: framer::check },
    Law { name: "framer_stream", check: framer_stream::check },
    Law { name: "handshake", check: handshake::check },
    Law { name: "header_roundtrip", check: header_roundtrip::check },
    Law { name: "msg_decode", check: msg_decode::check },
    Law { name: "msg_differential", check: msg_differential::check },
    Law { name: "timer_wheel", check: timer_wheel::check },
    Law { name: "txqueue", check: txqueue::check },
    Law { name: "varint", check: varint::check },
];

/// Returns the check of the law with this name.
///
/// # Panics
///
/// If no law has this name.
pub fn law(name: &str) -> fn(&[u8]) {
    LAWS.into_iter().find(|law| law.name == name).expect("a law has this name").check
}
