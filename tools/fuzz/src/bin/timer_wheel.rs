//! libFuzzer's bytes for the law `timer_wheel`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peerloop_laws::law("timer_wheel")(data));
