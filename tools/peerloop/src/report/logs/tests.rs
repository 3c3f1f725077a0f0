//! Tests of interval logs: times, tags, sums, and hostile input.

use super::read::{Bounds, Logs};
use crate::forms::hlog;
use crate::model::{self, Packed};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use proptest::prelude::*;
use std::io::Read;
use std::time::Duration;

const WHOLE: Bounds = Bounds { from: Duration::ZERO, to: Duration::MAX };

fn packed(digits: u8, values: &[u64]) -> String {
    let mut histogram = Histogram::new_with_bounds(1, 1 << 40, digits).unwrap();
    values.iter().for_each(|value| histogram += *value);
    Packed::new(&histogram).to_base64()
}

fn read_part(text: &str, bounds: Bounds, only: Option<&str>) -> Result<Logs, String> {
    let mut logs = Logs::new(bounds, only.map(str::to_owned));
    logs.read("a.hlog", text.as_bytes())?;
    Ok(logs)
}

fn read(text: &str) -> Result<Logs, String> {
    read_part(text, WHOLE, None)
}

fn line(begin: f64, values: &[u64]) -> String {
    format!("{begin:.3},1.000,0.002,{}\n", packed(3, values))
}

/// Returns the begin, the end, and the number of values without a tag.
fn span(text: &str) -> (f64, f64, u64) {
    let logs = read(text).unwrap();
    let total = &logs.totals[""];
    (total.begin.as_secs_f64(), total.end.as_secs_f64(), total.histogram.len())
}

#[test]
fn our_own_log_has_the_same_sums_as_its_run() {
    let document = model::parse(include_str!("../../bench/golden/measured.json")).unwrap();
    let mut log = Vec::new();
    hlog::write(&document, &mut log).unwrap();
    let logs = read(std::str::from_utf8(&log).unwrap()).unwrap();
    let main = document.main_metric().unwrap();
    let planned = &logs.totals[&format!("{}.planned", main.name)];
    assert_eq!(&planned.histogram, main.planned.as_ref().unwrap().latencies.as_hdr());
}

#[test]
fn histograms_are_added_by_tag_and_between_files() {
    let tagged = format!("Tag=read,{}", line(3.0, &[7]));
    let text = format!("{}{}{tagged}", line(1.0, &[1, 2]), line(2.0, &[3]));
    let mut logs = read(&text).unwrap();
    logs.read("b.hlog", text.as_bytes()).unwrap();
    let counts = logs.totals.iter().map(|(tag, total)| (tag.as_str(), total.intervals, total.histogram.len()));
    assert_eq!(counts.collect::<Vec<_>>(), [("", 4, 6), ("read", 2, 2)]);
    let only = read_part(&text, WHOLE, Some("read")).unwrap();
    assert_eq!(only.totals.keys().collect::<Vec<_>>(), ["read"]);
}

#[test]
fn times_count_from_the_start_whether_timestamps_are_relative_or_absolute() {
    let start = "#[StartTime: 1700000000.500 (seconds since epoch), any text]\n";
    let base = "#[BaseTime: 1700000000.500 (seconds since epoch)]\n";
    for (text, expected) in [
        (line(5.0, &[1]) + &line(6.0, &[1]), (0.0, 2.0, 2)),
        (format!("{start}{}", line(1_700_000_001.5, &[1])), (1.0, 2.0, 1)),
        (format!("{start}{}", line(2.0, &[1])), (2.0, 3.0, 1)),
        (format!("{start}{base}{}", line(2.0, &[1])), (2.0, 3.0, 1)),
        (format!("{start}{base}{}", line(0.0, &[])), (0.0, 1.0, 0)),
    ] {
        assert_eq!(span(&text), expected, "{text}");
    }
    let before = read(&format!("{start}{}", line(1_699_999_999.5, &[1]))).unwrap_err();
    assert!(before.contains("a.hlog:2: the interval begins 1.000 s before the start of the log"), "{before}");
}

#[test]
fn only_intervals_within_the_bounds_count() {
    let text = format!("#[StartTime: 0 (s)]\n{}{}{}", line(0.0, &[1]), line(1.0, &[2]), line(2.0, &[3]));
    let bounds = Bounds { from: Duration::from_secs(1), to: Duration::from_secs(2) };
    let logs = read_part(&text, bounds, None).unwrap();
    assert_eq!((logs.totals[""].intervals, logs.totals[""].histogram.max()), (1, 2));
}

#[test]
fn a_sum_may_have_larger_values_than_its_first_histogram_but_only_one_precision() {
    let mut small = Histogram::<u64>::new_with_bounds(1, 100, 3).unwrap();
    small += 50;
    let text = format!("0,1,0,{}\n{}", Packed::new(&small).to_base64(), line(1.0, &[1_000_000]));
    let logs = read(&text).unwrap();
    assert!(logs.totals[""].histogram.max() >= 1_000_000 && logs.totals[""].histogram.len() == 2);
    let unlike = read(&format!("{}2,1,0,{}\n", line(1.0, &[1]), packed(2, &[1]))).unwrap_err();
    assert!(unlike.contains("a.hlog:2: the histogram has a smallest value of 1 and 2 digits"), "{unlike}");
}

#[test]
fn a_damaged_log_is_refused_with_its_line_and_the_way_out() {
    let good = packed(3, &[1]);
    for (text, part) in [
        ("\n{}\n".to_owned(), "a.hlog:2: read `{}`, expected a comment, or an interval"),
        ("1,2,3\n".to_owned(), "use an interval log of HdrHistogram"),
        ("Tag=x\n".to_owned(), "read `Tag=x`"),
        (format!("1,2,x,{good}\n"), "expected a comment"),
        (format!("1,2,3,{good},4\n"), "expected a comment"),
        (format!("x,2,3,{good}\n"), "read `x`, expected seconds from 0 to 1e12"),
        (format!("1,-2,3,{good}\n"), "read `-2`, expected seconds"),
        (format!("NaN,2,3,{good}\n"), "read `NaN`, expected seconds"),
        ("1,2,3,????\n".to_owned(), "its histogram is not base64"),
        (format!("1,2,3,{}\n", &good[..good.len() - 8]), "its histogram is damaged"),
        ("1,2,3,AAAAAAAAAAAAAAAA\n".to_owned(), "expected a V2 histogram that begins with HISTFAAA"),
        ("#[Histogram log format version 2.0]\n".to_owned(), "has format 2.0; this program reads 1.0 to 1.3"),
        (format!("Tag={},1,2,3,{good}\n", "x".repeat(257)), "has more than 256 bytes"),
        ("\u{1b}[2J\n".to_owned(), "read `\\u{1b}[2J`"),
    ] {
        let refused = read(&text).unwrap_err();
        assert!(refused.contains(part) && refused.starts_with("a.hlog:"), "{part}: {refused}");
    }
    let mut logs = Logs::new(WHOLE, None);
    assert!(logs.read("a", &b"#\xff\n"[..]).unwrap_err().contains("a:1: the line is no text"));
}

#[test]
fn lines_tags_and_histograms_without_end_are_refused_before_they_need_memory() {
    let endless = std::io::BufReader::new(std::io::repeat(b'x'));
    let refused = Logs::new(WHOLE, None).read("a", endless).unwrap_err();
    assert_eq!(refused, "a:1: the line has more than 16 MiB; use an intact log");
    let one = packed(1, &[1]);
    let tags: String = (0..=1_000).map(|index| format!("Tag=t{index},1,1,1,{one}\n")).collect();
    assert!(read(&tags).unwrap_err().contains("a.hlog:1001: there are more than 1000 tags; use --tag"));
    let mut wide = Histogram::<u64>::new_with_bounds(1, u64::MAX / 2, 5).unwrap();
    wide += 1;
    let wide = Packed::new(&wide).to_base64();
    let many: String = (0..8).map(|index| format!("Tag=t{index},1,1,1,{wide}\n")).collect();
    assert!(read(&many).unwrap_err().contains("all tags together need more than 256 MiB; use --tag"));
    // A bomb: zeros that unpack to more than any histogram has.
    let mut bomb = vec![0x1c, 0x84, 0x93, 0x14, 0, 0, 0, 0];
    let zeros = std::io::repeat(0).take(100 << 20);
    flate2::read::ZlibEncoder::new(zeros, flate2::Compression::fast()).read_to_end(&mut bomb).unwrap();
    let refused = read(&format!("1,1,1,{}\n", STANDARD.encode(bomb))).unwrap_err();
    assert!(refused.contains("its histogram is damaged"), "{refused}");
}

proptest! {
    #[test]
    fn no_text_makes_a_panic(text in "(Tag=[a-z]{0,3},)?[0-9.e]{0,9},[0-9]{0,3},[0-9]{0,3},[A-Za-z0-9+/=]{0,80}\n?") {
        let _ = read(&text);
    }

    // A line with one or two changed bytes often still reaches the decoder of histograms.
    #[test]
    fn no_changed_log_makes_a_panic(
        latencies in proptest::collection::vec(1..1_000_000_u64, 1..20),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..3),
        len in any::<proptest::sample::Index>(),
    ) {
        let mut log = format!("Tag=a,0.5,1,1,{}\n1,1,1,{0}\n", packed(1, &latencies)).into_bytes();
        for (index, byte) in changes {
            let index = index.index(log.len());
            log[index] = byte;
        }
        log.truncate(log.len() - len.index(4));
        let _ = Logs::new(WHOLE, None).read("a", &log[..]);
    }

    #[test]
    fn no_changed_histogram_makes_a_panic(
        latencies in proptest::collection::vec(1..1_000_000_u64, 1..20),
        index in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        // Inside the compressed part, so that the decoder of counts sees the change.
        let plain = STANDARD.decode(packed(1, &latencies)).unwrap();
        let mut counts = Vec::new();
        flate2::read::ZlibDecoder::new(&plain[8..]).read_to_end(&mut counts).unwrap();
        let index = index.index(counts.len());
        counts[index] = byte;
        let mut changed = vec![0x1c, 0x84, 0x93, 0x14];
        let mut zipped = Vec::new();
        flate2::read::ZlibEncoder::new(&counts[..], flate2::Compression::fast()).read_to_end(&mut zipped).unwrap();
        changed.extend((zipped.len() as u32).to_be_bytes());
        changed.extend(zipped);
        let _ = read(&format!("1,1,1,{}\n", STANDARD.encode(changed)));
    }
}
