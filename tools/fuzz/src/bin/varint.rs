//! libFuzzer's bytes for the law `varint`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peerloop_laws::law("varint")(data));
