//! Histograms of latencies as files contain them: the HdrHistogram V2 encoding, deflated, in base64.
//!
//! A [`Packed`] histogram is a few kilobytes and stays encoded; [`Packed::open`] decodes it. A file's histogram may
//! have any bounds. Decoding never needs more memory than the histogram's bounds justify, even if the file claims more.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use flate2::{Compress, Compression, FlushCompress, Status};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};
use peerloop::histogram::{LATENCY_MAX_NANOS, LatencyHistogram};
use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::Read;
use std::time::Duration;

/// The first bytes of the deflated encoding, and those of the encoding within it.
const DEFLATED: u32 = 0x1c84_9314;
#[cfg(test)]
const PLAIN: u32 = 0x1c84_9313;
/// Length of an encoded histogram's header: seven fields before the counts.
const HEADER_BYTES: usize = 40;
/// Offset and length of the header's field that holds the length of the counts.
const COUNTS_LEN_AT: std::ops::Range<usize> = 4..8;
/// Maximum number of bytes in the encoding of one count.
const MAX_COUNT_BYTES: usize = 9;
/// Maximum number of counts in a histogram: 5 significant digits over the whole range of 64 bits.
const MAX_COUNTS: usize = 48 << 17;

/// A histogram of latencies in nanoseconds.
#[derive(Clone, PartialEq)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    /// Returns an empty histogram with the bounds of every histogram that this program records.
    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LATENCY_MAX_NANOS, 3).expect("the bounds are valid"))
    }

    /// Returns the number of latencies.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// Returns the latency with this rank, 1 for the shortest; `None` beyond the longest.
    pub(crate) fn at_rank(&self, rank: u64) -> Option<Duration> {
        if rank > self.count() {
            return None;
        }
        // Half a rank below the requested rank, so that no rounding error of the division crosses a rank.
        let quantile = (rank as f64 - 0.5) / self.count() as f64;
        Some(Duration::from_nanos(self.0.value_at_quantile(quantile)))
    }

    /// Returns the shortest latency; `None` while empty.
    pub(crate) fn min(&self) -> Option<Duration> {
        self.of_some(self.0.min())
    }

    /// Returns the longest latency; `None` while empty.
    pub(crate) fn max(&self) -> Option<Duration> {
        self.of_some(self.0.max())
    }

    /// Returns the mean; `None` while empty.
    pub(crate) fn mean(&self) -> Option<Duration> {
        self.of_some(self.0.mean() as u64)
    }

    fn of_some(&self, nanos: u64) -> Option<Duration> {
        (self.count() > 0).then(|| Duration::from_nanos(nanos))
    }

    /// Adds all latencies of `other`. Fails if one of them is beyond this histogram's bounds.
    pub(crate) fn add(&mut self, other: &Self) -> Result<(), String> {
        self.0.add(&other.0).map_err(|error| format!("its histogram has other bounds ({error})"))
    }

    /// Describes the bounds of the histogram; two histograms with equal bounds add up exactly.
    pub(crate) fn bounds(&self) -> String {
        let Self(histogram) = self;
        format!("{} to {} ns with {} digits", histogram.low(), histogram.high(), histogram.sigfig())
    }

    /// Returns the underlying histogram.
    pub(crate) fn as_hdr(&self) -> &Histogram<u64> {
        &self.0
    }
}

impl From<LatencyHistogram> for Latencies {
    fn from(histogram: LatencyHistogram) -> Self {
        Self(histogram.into_hdr())
    }
}

impl From<Histogram<u64>> for Latencies {
    fn from(histogram: Histogram<u64>) -> Self {
        Self(histogram)
    }
}

impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Latencies({} up to {:?})", self.count(), self.max())
    }
}

/// An encoded histogram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packed(Box<[u8]>);

/// Encodes histograms. It keeps its buffers of about 1 MB for the next histogram, with the state of the compression, so
/// that an encoding requests no memory from the system: that would stop the generator's thread for some time, too.
pub(crate) struct Packer {
    serializer: V2Serializer,
    compress: Compress,
    plain: Vec<u8>,
    bytes: Vec<u8>,
}

impl Packer {
    /// Returns a packer for results: small ones.
    pub(crate) fn new() -> Self {
        Self::with(Compression::default())
    }

    /// Returns a packer that needs half the time, for results that are 8 % larger. While a load runs on a machine
    /// without an idle CPU, each encoding stops the generator's thread.
    pub(crate) fn fast() -> Self {
        Self::with(Compression::fast())
    }

    fn with(compression: Compression) -> Self {
        Self {
            serializer: V2Serializer::new(),
            compress: Compress::new(compression, true),
            plain: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Encodes a histogram. This needs about 0.1 ms, so the generator's loop never does it.
    pub(crate) fn pack(&mut self, histogram: &Histogram<u64>) -> Packed {
        let Self { serializer, compress, plain, bytes } = self;
        plain.clear();
        serializer.serialize(histogram, plain).expect("a histogram fits into memory");
        compress.reset();
        bytes.clear();
        bytes.extend_from_slice(&DEFLATED.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        loop {
            bytes.reserve(plain.len() / 8 + 64);
            let rest = &plain[compress.total_in() as usize..];
            let status = compress.compress_vec(rest, bytes, FlushCompress::Finish);
            if status.expect("the compression has no error of its own") == Status::StreamEnd {
                break;
            }
        }
        let len = u32::try_from(bytes.len() - 8).expect("a histogram has less than 4 GiB");
        bytes[4..8].copy_from_slice(&len.to_be_bytes());
        Packed(bytes.as_slice().into())
    }
}

impl Packed {
    /// Encodes a single histogram.
    pub(crate) fn new(histogram: &Histogram<u64>) -> Self {
        Packer::new().pack(histogram)
    }

    /// Decodes the histogram. The error describes the damage.
    pub(crate) fn open(&self) -> Result<Latencies, String> {
        let damaged = |error: &dyn fmt::Display| format!("its histogram is damaged ({error})");
        let Some((head, deflated)) = self.0.split_at_checked(8) else { return Err(damaged(&"too short")) };
        if head[..4] != DEFLATED.to_be_bytes() {
            return Err("its histogram is not a deflated HdrHistogram V2".to_owned());
        }
        // The crate allocates as many bytes as the header claims, so the claim is compared with the data first.
        let mut plain = Vec::new();
        let max_len = HEADER_BYTES + MAX_COUNT_BYTES * MAX_COUNTS;
        ZlibDecoder::new(deflated).take(max_len as u64).read_to_end(&mut plain).map_err(|error| damaged(&error))?;
        let claimed = plain.get(COUNTS_LEN_AT).map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap_or_default()));
        if claimed.is_none_or(|claimed| plain.len() < HEADER_BYTES + claimed as usize) {
            return Err(damaged(&"it ends early"));
        }
        // The crate negates the number that this encodes, which overflows.
        if plain[HEADER_BYTES..].windows(MAX_COUNT_BYTES).any(|bytes| bytes == [0xff; MAX_COUNT_BYTES]) {
            return Err(damaged(&"a count is out of range"));
        }
        let histogram = Deserializer::new().deserialize(&mut &plain[..]).map_err(|error| damaged(&error))?;
        Ok(Latencies(histogram))
    }

    /// Returns the encoding in base64, the form of files.
    pub(crate) fn to_base64(&self) -> String {
        STANDARD.encode(&self.0)
    }

    pub(crate) fn from_base64(text: &str) -> Result<Self, String> {
        let bytes = STANDARD.decode(text).map_err(|error| format!("its histogram is not base64 ({error})"))?;
        Ok(Self(bytes.into()))
    }
}

impl Serialize for Packed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_base64())
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_base64(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::V2DeflateSerializer;
    use proptest::prelude::*;

    fn of(nanos: &[u64]) -> Latencies {
        let mut latencies = Latencies::new();
        nanos.iter().for_each(|&nanos| latencies.0.saturating_record(nanos));
        latencies
    }

    #[test]
    fn a_packer_encodes_as_the_histograms_own_crate_does() {
        let mut packer = Packer::new();
        let spread: Vec<u64> = (0..20_000).map(|index| (index * index * 7_919) % 3_000_000_007 + 1).collect();
        // A short encoding after a long one must not keep anything of it.
        for nanos in [&[][..], &spread, &[5], &spread[..100], &[]] {
            let (latencies, mut expected) = (of(nanos), Vec::new());
            V2DeflateSerializer::new().serialize(&latencies.0, &mut expected).unwrap();
            let packed = packer.pack(&latencies.0);
            assert_eq!(packed.0[..], expected[..], "{} latencies", nanos.len());
            assert!(packed.open().unwrap() == latencies);
        }
    }

    /// Encodes a header that claims `len` bytes of counts, followed by `counts`.
    fn claiming(len: u32, digits: u32, high: u64, counts: &[u8]) -> Packed {
        let mut plain = PLAIN.to_be_bytes().to_vec();
        plain.extend(len.to_be_bytes());
        plain.extend(0_u32.to_be_bytes());
        plain.extend(digits.to_be_bytes());
        plain.extend(1_u64.to_be_bytes());
        plain.extend(high.to_be_bytes());
        plain.extend(1_f64.to_be_bytes());
        plain.extend(counts);
        let mut bytes = DEFLATED.to_be_bytes().to_vec();
        let mut deflated = Vec::new();
        let mut encoder = flate2::read::ZlibEncoder::new(&plain[..], Compression::fast());
        encoder.read_to_end(&mut deflated).unwrap();
        bytes.extend((deflated.len() as u32).to_be_bytes());
        bytes.extend(deflated);
        Packed(bytes.into())
    }

    #[test]
    fn an_encoded_histogram_begins_as_every_reader_expects() {
        assert!(Packed::new(of(&[1]).as_hdr()).to_base64().starts_with("HISTFAAA"));
    }

    #[test]
    fn a_claim_above_the_data_is_refused_without_the_memory_it_claims() {
        let opened = |len, counts: &[u8]| claiming(len, 3, 1_000_000, counts).open();
        assert_eq!(opened(1, &[2]).unwrap().count(), 1);
        for (len, counts) in [(2, &[2][..]), (u32::MAX, &[2]), (1, &[])] {
            assert!(opened(len, counts).unwrap_err().contains("it ends early"), "{len}");
        }
    }

    #[test]
    fn bounds_and_bytes_that_are_invalid_are_refused() {
        for damaged in [claiming(1, 9, 1_000, &[2]), claiming(1, 3, 0, &[2]), claiming(9, 3, 10, &[0xff; 9])] {
            assert!(damaged.open().unwrap_err().contains("damaged"), "{damaged:?}");
        }
        for bytes in [&[][..], &[0; 7], &[0x1c, 0x84, 0x93, 0x14, 0, 0, 0, 9, 1, 2, 3], &[0; 40]] {
            assert!(Packed(bytes.into()).open().is_err(), "{bytes:?}");
        }
        assert!(Packed::from_base64("HIST FAAA").unwrap_err().contains("not base64"));
    }

    proptest! {
        #[test]
        fn a_histogram_is_the_same_after_encoding(nanos in proptest::collection::vec(any::<u64>(), 0..200)) {
            let latencies = of(&nanos);
            let packed = Packed::new(latencies.as_hdr());
            let text = serde_json::to_string(&packed).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Packed>(&text).unwrap(), &packed);
            prop_assert_eq!(packed.open().unwrap(), latencies);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), len in 0..60_u32) {
            let _ = Packed(bytes.clone().into()).open();
            let _ = claiming(len, 3, 1_000_000, &bytes).open();
        }
    }
}
