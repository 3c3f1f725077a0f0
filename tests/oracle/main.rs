//! The wire beside other people's codecs: what we write they read, what they write we read, and what one of us refuses
//! the other refuses too.
//!
//! [`against_bitcoin`] and [`against_chain_gang`] compare values and bytes of messages that both sides can say;
//! [`verdicts`] compares judgements on damaged bytes, and [`judge`] holds the list of all differences that are meant to
//! be. Every test counts what it compared and fails if that is nothing.

mod against_bitcoin;
mod against_chain_gang;
mod judge;
mod merkle_trees;
mod theirs;
mod values;
mod verdicts;

use peerloop::wire::MessageRef;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::Cell;
use theirs::{MAGIC, payload_of};

/// Attempts to find a smaller failure; each may compare thousands of payloads.
const SHRINKS_MAX: u32 = 100;

/// Cases of a property test for which the environment asks for nothing else.
const DEFAULT_CASES: u32 = 256;

/// Runs `compare`, which returns how many comparisons it made, on `cases` of `values`.
///
/// `PROPTEST_CASES` changes the number of cases in proportion, as it does for every other property test.
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
    let cases = (cases * Config::default().cases / DEFAULT_CASES).max(1);
    let config = Config { failure_persistence: None, max_shrink_iters: SHRINKS_MAX, ..Config::with_cases(cases) };
    let mut runner = TestRunner::new(config);
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

/// The frame that we write.
fn frame_of(message: &MessageRef<'_>) -> Vec<u8> {
    let mut frame = Vec::new();
    message.encode_frame(MAGIC, &mut frame);
    frame
}
