//! libFuzzer's bytes for the law `header_roundtrip`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peerloop_laws::law("header_roundtrip")(data));
