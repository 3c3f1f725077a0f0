//! The wire format compared with other codecs. Peerloop and the other codec read each other's messages, and refuse the
//! same bytes, except for the intended differences.
//!
//! [`against_bitcoin`] and [`against_chain_gang`] compare values and bytes of messages that both sides can represent.
//! [`merkle_trees`] compares partial trees and their matches. [`verdicts`] compares results for damaged bytes, and
//! [`judge`](peerloop_laws::judge) lists all intended differences from the crate `bitcoin`. [`compare_all`] counts a
//! test's comparisons, and fails if there are none.

mod against_bitcoin;
mod against_chain_gang;
mod merkle_trees;
mod values;
mod verdicts;

use peerloop::wire::MessageRef;
use peerloop_laws::theirs::{MAGIC, payload_of};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::Cell;

/// Maximum number of attempts to find a smaller value that fails. Each attempt may compare thousands of payloads.
const MAX_SHRINKS: u32 = 100;

/// The default of `PROPTEST_CASES`, the number of cases of a property test.
const DEFAULT_CASES: u32 = 256;

/// Runs `compare` on `cases` values that the strategy `values` generates. Each call of `compare` returns the number
/// of its comparisons.
///
/// `PROPTEST_CASES` changes the number of cases in proportion: twice its default doubles them.
///
/// # Panics
///
/// If a comparison fails, or if there was none.
fn compare_all<S: Strategy>(
    what: &str,
    cases: u32,
    values: S,
    compare: impl Fn(S::Value) -> Result<u64, TestCaseError>,
) {
    let compared = Cell::new(0);
    let cases = (cases * Config::default().cases / DEFAULT_CASES).max(1);
    let config = Config { failure_persistence: None, max_shrink_iters: MAX_SHRINKS, ..Config::with_cases(cases) };
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

/// Returns peerloop's frame for `message`.
fn frame_of(message: &MessageRef<'_>) -> Vec<u8> {
    let mut frame = Vec::new();
    message.encode_frame(MAGIC, &mut frame);
    frame
}
