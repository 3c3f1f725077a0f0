//! Fuzzes the law `timer_wheel` of the crate `peerloop_laws` with libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peerloop_laws::law("timer_wheel")(data));
