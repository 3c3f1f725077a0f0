//! The laws that no bytes may break, one function per fuzz target; a fuzz target only calls its law.
//!
//! A law reads its steps from any bytes, performs them, and panics if a promise is broken. `tools/fuzz` searches for
//! bytes that break a law; the tests beside this module replay the inputs that it kept. A law uses neither randomness
//! nor a clock, so that the same bytes always give the same result.

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

/// A law and the name of its corpus.
#[derive(Clone, Copy)]
pub(crate) struct Law {
    pub(crate) name: &'static str,
    pub(crate) check: fn(&[u8]),
}

/// All laws.
pub(crate) const LAWS: [Law; 9] = [
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
