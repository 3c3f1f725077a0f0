//! libFuzzer's bytes for the law `msg_differential`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peerloop_laws::law("msg_differential")(data));
