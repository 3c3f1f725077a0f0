//! libFuzzer's bytes for the law `framer_stream`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peerloop_laws::law("framer_stream")(data));
