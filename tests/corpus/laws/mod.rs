//! The laws that no bytes may break, one function per fuzz target: what a target does with an input, it does here.
//!
//! A law takes any bytes, reads from them what to do, does it and panics if a promise is broken. `tools/fuzz` searches
//! for bytes that break one; the tests beside this module replay what it kept. A law knows no randomness and no clock,
//! so that the same bytes always tell the same.

#![allow(dead_code, reason = "each fuzz target uses one law, and the laws borrow models that do more")]

pub(crate) mod framer;
pub(crate) mod framer_stream;
pub(crate) mod handshake;
pub(crate) mod header_roundtrip;
pub(crate) mod msg_decode;
pub(crate) mod msg_differential;
pub(crate) mod tape;
pub(crate) mod timer_wheel;
pub(crate) mod txqueue;
pub(crate) mod varint;

/// All laws by the names of their corpora.
pub(crate) const LAWS: [(&str, fn(&[u8])); 9] = [
    ("framer", framer::check),
    ("framer_stream", framer_stream::check),
    ("handshake", handshake::check),
    ("header_roundtrip", header_roundtrip::check),
    ("msg_decode", msg_decode::check),
    ("msg_differential", msg_differential::check),
    ("timer_wheel", timer_wheel::check),
    ("txqueue", txqueue::check),
    ("varint", varint::check),
];
