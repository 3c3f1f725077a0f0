//! Fuzzes the law `varint` of the crate `peerloop_laws` with libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peerloop_laws::law("varint")(data));
