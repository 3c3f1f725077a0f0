//! The wire beside other people's codecs: what we write they read, what they write we read, and what one of us refuses
//! the other refuses too.
//!
//! [`against_bitcoin`] and [`against_chain_gang`] compare values and bytes of messages that both sides can say;
//! [`verdicts`] compares judgements on damaged bytes, and holds the list of all differences that are meant to be. Every
//! test counts what it compared and fails if that is nothing.

mod against_bitcoin;
mod against_chain_gang;
mod merkle_trees;
mod values;
mod verdicts;

use peerloop::wire::MessageRef;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::Cell;

/// The magic of the frames that are compared; any would do.
const MAGIC: [u8; 4] = [0xe3, 0xe1, 0xf3, 0xe8];

/// Runs `compare`, which returns how many comparisons it made, on `cases` of `values`.
///
/// # Panics
///
/// If a comparison fails, and if there was none.
fn compare_all<S: Strategy>(
    what: &str,
    cases: u32,
    values: S,
    compare: impl Fn(S::Value) -> Result<u64, TestCaseError>,
) {
    let compared = Cell::new(0);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(cases) });
    let result = runner.run(&values, |value| {
        compared.set(compared.get() + compare(value)?);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{what}: {failure}");
    }
    println!("{what}: {} comparisons", compared.get());
    assert!(compared.get() > 0, "{what}: nothing was compared");
}

/// The payload that we write.
fn payload_of(message: &MessageRef<'_>) -> Vec<u8> {
    let mut payload = Vec::new();
    message.encode_payload(&mut payload);
    payload
}

/// The frame that we write.
fn frame_of(message: &MessageRef<'_>) -> Vec<u8> {
    let mut frame = Vec::new();
    message.encode_frame(MAGIC, &mut frame);
    frame
}
