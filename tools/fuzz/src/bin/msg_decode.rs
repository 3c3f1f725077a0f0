//! libFuzzer's bytes for the law `msg_decode`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peerloop_laws::law("msg_decode")(data));
