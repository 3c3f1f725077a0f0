//! Replays the committed inputs of the fuzz targets, without a fuzzer. Each folder in `tools/fuzz/corpus` has the name
//! of a law, which checks the folder's files. If a file once broke the law, the file's name describes how.

use peerloop_laws::{LAWS, Law, law};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

#[test]
fn no_kept_input_breaks_its_law() {
    for Law { name, check } in LAWS {
        let inputs = inputs(name);
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for input in inputs {
            let data = fs::read(&input).expect("the input can be read");
            let kept = catch_unwind(AssertUnwindSafe(|| check(&data)));
            assert!(kept.is_ok(), "{} breaks the law {name}", input.display());
        }
    }
}

#[test]
fn every_law_accepts_an_empty_input() {
    for law in LAWS {
        (law.check)(&[]);
    }
}

#[test]
fn every_corpus_has_a_law_and_all_corpora_together_are_small() {
    const MAX_CORPUS_BYTES: u64 = 256 * 1024;
    let mut len_bytes = 0;
    for folder in fs::read_dir(corpus()).expect("the corpus can be listed") {
        let name = folder.expect("the corpus can be listed").file_name().into_string().expect("folder names are UTF-8");
        assert!(LAWS.iter().any(|law| law.name == name), "{name} is not a law");
        len_bytes += inputs(&name).iter().map(|input| input.metadata().map_or(0, |file| file.len())).sum::<u64>();
    }
    assert!(len_bytes <= MAX_CORPUS_BYTES, "the corpora have {len_bytes} bytes, more than {MAX_CORPUS_BYTES}");
}

/// Checks that each listed decoding fault of another implementation has an input named after it.
#[test]
fn every_listed_fault_has_an_input_named_after_it() {
    for seed in [
        "framer/cve-2015-3641-length-claim",
        "framer_stream/cve-2025-46597-claim-above-what-is-there",
        "header_roundtrip/cve-2025-46597-length-of-32-bits",
        "msg_decode/bitcoinsv-empty-tx",
        "msg_decode/cve-2012-2459-equal-neighbours",
        "msg_decode/cve-2015-3641-length-claim",
        "msg_decode/cve-2018-17145-inv-count",
        "msg_decode/cve-2024-35202-blocktxn-of-nothing",
        "msg_decode/cve-2025-46597-script-size",
        "msg_decode/core-0.15-headers-count",
        "msg_decode/core-0.20-getdata-unknown-type",
        "msg_decode/core-0.21-version-time-overflow",
        "msg_decode/core-22.0-addr-count",
        "varint/bitcoinsv-truncated",
    ] {
        assert!(corpus().join(seed).is_file(), "{seed} is missing");
    }
}

/// Checks that each edge case of the length in an extended header has an input named after it.
#[test]
fn every_edge_of_an_extended_length_has_an_input_named_after_it() {
    for edge in [
        "small",
        "4-gib-less-one",
        "4-gib",
        "4-gib-and-one",
        "most-that-is-taken",
        "one-more-than-is-taken",
        "most-that-can-be-claimed",
    ] {
        let seed = format!("framer_stream/extended-{edge}");
        assert!(corpus().join(&seed).is_file(), "{seed} is missing");
    }
}

#[test]
fn every_compact_size_of_up_to_three_bytes_is_read_as_specified() {
    let check = law("varint");
    for first in 0..=0xff {
        check(&[first]);
        for second in 0..=0xff {
            check(&[first, second]);
        }
    }
    for first in [0x00, 0xfc, 0xfd, 0xfe, 0xff] {
        for rest in 0..=u16::MAX {
            let [second, third] = rest.to_le_bytes();
            check(&[first, second, third]);
        }
    }
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/fuzz/corpus")
}

/// Returns a corpus's files, sorted by name.
fn inputs(name: &str) -> Vec<PathBuf> {
    let folder = fs::read_dir(corpus().join(name)).expect("the law has a corpus");
    let mut inputs: Vec<PathBuf> = folder.map(|entry| entry.expect("the corpus can be listed").path()).collect();
    inputs.sort();
    inputs
}
