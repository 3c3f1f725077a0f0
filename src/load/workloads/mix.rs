//! The workload of several kinds of operations: an operation's kind follows from its index.
//!
//! Each part is a workload of its own, and sees only its own operations in flight.

use crate::api::{Chunk, Delivery, Event, Frame};
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::load::kinds::common_divisor;
use crate::load::workload::{MAX_METRICS, Operation, Operations, Started, Workload};
use crate::wire::Header;
use std::fmt;
use std::num::NonZeroU32;

/// Several workloads at once, each with a share of the operations. The metrics are those of all parts.
///
/// The weights are reduced by their common divisor. The parts divide each block of as many operations as the reduced
/// weights add up to exactly by weight. The order within a block depends on nothing but the block's number, and differs
/// from block to block, so that each peer has operations of all kinds. Segments of one load therefore plan the same
/// operations as the whole load.
///
/// Each part numbers its own operations from 0, so that [`SendTx`](super::SendTx) and [`GetData`](super::GetData) use
/// the transactions and items of their list one after the other.
///
/// Each part must use the peers of the load and have metrics of its own. [`BlockFetch`](super::BlockFetch) cannot be
/// combined with [`Headers`](super::Headers) or [`GetData`](super::GetData), because it requests headers and blocks
/// too, and [`GetData`](super::GetData) cannot be combined with itself. The parts must want each message in the same
/// way, if they want it at all, and their choice must depend on its header alone: the mix panics if one wants chunks
/// and another one whole messages. The percentiles of the report's timeline are those of the first part.
///
/// ```
/// use peerloop::load::workloads::{Headers, Inv, Mix, Ping};
/// use peerloop::load::{Generator, Plan, Rate, Workload};
///
/// let mix = Mix::new(vec![(70, Box::new(Ping)), (20, Box::new(Headers)), (10, Box::new(Inv::new(7)))]).unwrap();
/// assert_eq!(mix.metrics(), ["ping_rtt", "headers_fetch", "inv_getdata"]);
/// let plan = Plan::new(vec!["127.0.0.1:18444".parse().unwrap()], 10, Rate::per_second(10));
/// let generator = Generator::new(plan).with_workload(Box::new(mix));
/// ```
#[derive(Debug)]
pub struct Mix {
    parts: Vec<Box<dyn Workload>>,
    metrics: Vec<&'static str>,
    /// The index of each part's main metric.
    mains: Vec<usize>,
    /// The kinds of the operations of one block, spread evenly.
    pattern: Vec<u8>,
    /// The positions of each kind in the pattern, in ascending order.
    positions: Vec<Vec<u16>>,
    /// The positions in the pattern at which the blocks begin, before they repeat. Their number is a prime, and at
    /// least the length of the pattern.
    shifts: Vec<u16>,
}

/// The reason why workloads cannot be combined, for users to read.
///
/// ```
/// use peerloop::load::workloads::{Connect, Mix, MixError, Ping};
///
/// let error: MixError = Mix::new(vec![(9, Box::new(Ping)), (1, Box::new(Connect))]).unwrap_err();
/// let text = "a workload that opens a connection for each operation does not fit: a mix uses the peers of the load";
/// assert_eq!(error.to_string(), text);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MixError(Reason);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Empty,
    NoWeight,
    TooMuchWeight,
    OpensConnections,
    Passive,
    SeveralKinds,
    Overlap,
    TooManyMetrics,
}

impl fmt::Display for MixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Reason::Empty => f.write_str("there is no workload"),
            Reason::NoWeight => f.write_str("a weight is zero"),
            Reason::TooMuchWeight => write!(f, "the weights add up to more than {MAX_MIX_WEIGHT}"),
            Reason::OpensConnections => f.write_str(
                "a workload that opens a connection for each operation does not fit: a mix uses the peers of the load",
            ),
            Reason::Passive => f.write_str("a workload that only observes has no operations to share"),
            Reason::SeveralKinds => f.write_str("a workload with several kinds of operations does not fit"),
            Reason::Overlap => f.write_str("two of the workloads measure or read the same replies"),
            Reason::TooManyMetrics => write!(f, "the workloads have more than {MAX_METRICS} metrics together"),
        }
    }
}

impl std::error::Error for MixError {}

/// Minimum number of operations after which the order of the kinds repeats.
const MIN_PERIOD: u64 = 1 << 18;

/// Maximum sum of the reduced weights of a [`Mix`]. The order of the kinds repeats after at most 1,009,000 operations.
/// If more remain when a load ends early, they are counted by a table of 4 bytes for each of these operations and for
/// each part: 12 MB with two parts, and 133 MB with 32. A mix itself needs at most 0.6 MB.
pub const MAX_MIX_WEIGHT: u32 = 1_000;

impl Mix {
    /// Returns the workload with these parts, each with its weight.
    ///
    /// # Errors
    ///
    /// A [`MixError`] if the workloads cannot be combined.
    pub fn new(parts: Vec<(u32, Box<dyn Workload>)>) -> Result<Self, MixError> {
        let (mut metrics, mut mains): (Vec<&'static str>, Vec<usize>) = (Vec::new(), Vec::new());
        for (index, (weight, part)) in parts.iter().enumerate() {
            let reason = match part.main_metrics() {
                _ if *weight == 0 => Some(Reason::NoWeight),
                _ if part.opens_connections() => Some(Reason::OpensConnections),
                _ if part.is_passive() => Some(Reason::Passive),
                [0] => None,
                _ => Some(Reason::SeveralKinds),
            };
            let overlaps = parts[..index].iter().any(|(_, earlier)| overlap(earlier.as_ref(), part.as_ref()));
            if let Some(reason) = reason.or_else(|| overlaps.then_some(Reason::Overlap)) {
                return Err(MixError(reason));
            }
            mains.push(metrics.len());
            metrics.extend(part.metrics());
        }
        let divisor = parts.iter().fold(0, |divisor, (weight, _)| common_divisor(u64::from(*weight), divisor));
        let weights: Vec<u64> = parts.iter().map(|(weight, _)| u64::from(*weight) / divisor).collect();
        let total: u64 = weights.iter().sum();
        match total {
            0 => return Err(MixError(Reason::Empty)),
            _ if total > u64::from(MAX_MIX_WEIGHT) => return Err(MixError(Reason::TooMuchWeight)),
            _ if metrics.len() > MAX_METRICS => return Err(MixError(Reason::TooManyMetrics)),
            _ => {}
        }
        let pattern = pattern(weights.iter().map(|&weight| weight as i64).collect());
        let mut positions = vec![Vec::new(); parts.len()];
        (0..).zip(&pattern).for_each(|(position, &kind)| positions[usize::from(kind)].push(position));
        let parts = parts.into_iter().map(|(_, workload)| workload).collect();
        let blocks = prime_from(MIN_PERIOD.div_ceil(total).max(total));
        Ok(Self { parts, metrics, mains, pattern, positions, shifts: shifts(total, blocks) })
    }

    /// Returns the position in the pattern at which a block of operations begins.
    fn shift(&self, block: u64) -> u64 {
        u64::from(self.shifts[(block % self.shifts.len() as u64) as usize])
    }

    /// Returns an operation's position in the pattern.
    fn position(&self, index: u64) -> usize {
        let len = self.pattern.len() as u64;
        ((index % len + self.shift(index / len)) % len) as usize
    }

    /// Returns the number of operations of the same kind before this one.
    fn rank(&self, index: u64) -> u64 {
        let block = index / self.pattern.len() as u64;
        let position = self.position(index);
        let positions = &self.positions[usize::from(self.pattern[position])];
        let before = |end: u64| positions.partition_point(|&position| u64::from(position) < end) as u64;
        let weight = positions.len() as u64;
        block * weight + (before(position as u64) + weight - before(self.shift(block))) % weight
    }

    /// Lists the parts with their indices.
    fn each(&mut self) -> impl Iterator<Item = (usize, &mut Box<dyn Workload>)> {
        self.parts.iter_mut().enumerate()
    }
}

/// Returns whether two workloads have a metric in common or read each other's replies.
fn overlap(one: &dyn Workload, other: &dyn Workload) -> bool {
    let reads = |one: &dyn Workload, other: &dyn Workload| {
        let of_others: &[&str] = match one.name() {
            "block" => &["headers", "getdata"],
            "getdata" => &["getdata"],
            _ => &[],
        };
        of_others.contains(&other.name())
    };
    one.metrics().iter().any(|metric| other.metrics().contains(metric)) || reads(one, other) || reads(other, one)
}

/// Returns the delivery of a message that two parts want in the same way, if they want it at all.
fn common(one: Delivery, other: Delivery) -> Delivery {
    match (one, other) {
        (Delivery::Discard, wanted) | (wanted, Delivery::Discard) => wanted,
        (one, other) => {
            assert_eq!(one, other, "two workloads of a mix want one message in different ways");
            one
        }
    }
}

/// Returns the kinds of one block of operations: each part as often as its weight says, as evenly spread as possible.
fn pattern(weights: Vec<i64>) -> Vec<u8> {
    let total: i64 = weights.iter().sum();
    let mut due = vec![0; weights.len()];
    let next = |_| {
        due.iter_mut().zip(&weights).for_each(|(due, weight)| *due += weight);
        // The first of the parts that are the furthest behind.
        let part = (0..due.len()).rev().max_by_key(|&part| due[part]).unwrap_or_default();
        due[part] -= total;
        // Each part has a metric, of which there are at most 32.
        part as u8
    };
    (0..total).map(next).collect()
}

/// Returns a shift for each of `blocks` blocks of `len` operations: all shifts again and again, each time in another
/// order without a pattern.
fn shifts(len: u64, blocks: u64) -> Vec<u16> {
    let mut shifts: Vec<u64> = (0..blocks).collect();
    for round in shifts.chunks_mut(len as usize) {
        round.sort_by_key(|&block| scrambled(block));
    }
    // A pattern has at most 1,000 positions.
    shifts.into_iter().map(|block| (block % len) as u16).collect()
}

/// Returns a number that depends on all bits of `number` (a step of SplitMix64).
fn scrambled(number: u64) -> u64 {
    let number = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

/// Returns the first prime from `min` on. A number of peers has a common divisor with few primes, so the peers run
/// through all blocks.
fn prime_from(min: u64) -> u64 {
    let is_prime = |number: &u64| (2..*number).take_while(|by| by * by <= *number).all(|by| !number.is_multiple_of(by));
    (min.max(2)..).find(is_prime).expect("there is a prime below the double of each number")
}

impl Workload for Mix {
    fn name(&self) -> &'static str {
        "mix"
    }

    fn metrics(&self) -> &[&'static str] {
        &self.metrics
    }

    fn main_metrics(&self) -> &[usize] {
        &self.mains
    }

    fn kind_of(&self, index: u64) -> usize {
        usize::from(self.pattern[self.position(index)])
    }

    fn kind_period(&self) -> Option<NonZeroU32> {
        // A block has at most 1,000 operations, and there are at most 1,009 blocks, or 262,144 operations.
        NonZeroU32::new((self.shifts.len() * self.pattern.len()) as u32)
    }

    fn start(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, operation: Operation) -> Started {
        let kind = self.kind_of(operation.index);
        // A part numbers its own operations.
        let operation = Operation { index: self.rank(operation.index), ..operation };
        match self.parts[kind].start(ctx, peer, operation) {
            // The nonce is the key, because the engine reports its pongs as events.
            Started::Pinged { nonce } => Started::Sent { key: nonce },
            started @ (Started::Sent { .. } | Started::Held | Started::NotSent { .. }) => started,
        }
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, event: &Event<'_>) {
        for (index, part) in self.each() {
            let mut operations = operations.of_part(index);
            match *event {
                Event::Pong { nonce, sent, received, .. } if part.pings() => {
                    operations.note_sent(peer, nonce, sent);
                    operations.answered(peer, nonce, received);
                }
                _ => part.on_event(ctx, &mut operations, peer, event),
            }
        }
    }

    fn on_header(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, header: &Header) -> Delivery {
        self.each().map(|(_, part)| part.on_header(ctx, peer, header)).fold(Delivery::Discard, common)
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, frame: Frame<'_>) {
        for (index, part) in self.each() {
            if part.on_header(ctx, peer, frame.header()) != Delivery::Discard {
                part.on_message(ctx, &mut operations.of_part(index), peer, frame);
            }
        }
    }

    fn on_chunk(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, peer: PeerId, chunk: Chunk<'_>) {
        for (index, part) in self.each() {
            if part.on_header(ctx, peer, chunk.header()) != Delivery::Discard {
                part.on_chunk(ctx, &mut operations.of_part(index), peer, chunk);
            }
        }
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>, key: u64) {
        for (index, part) in self.each() {
            part.on_timer(ctx, &mut operations.of_part(index), key);
        }
    }

    fn on_end(&mut self, ctx: &mut Ctx<'_>, operations: &mut Operations<'_>) {
        for (index, part) in self.each() {
            part.on_end(ctx, &mut operations.of_part(index));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BlockFetch, Connect, Headers, Inv, Ping, Propagation};
    use super::*;
    use std::time::Duration;

    fn mix(weights: [u32; 3]) -> Result<Mix, MixError> {
        let [pings, headers, invs] = weights;
        Mix::new(vec![(pings, Box::new(Ping)), (headers, Box::new(Headers)), (invs, Box::new(Inv::new(7)))])
    }

    #[test]
    fn each_block_of_operations_has_each_kind_by_its_weight() {
        for weights in [[70, 20, 10], [1, 1, 1], [1, 997, 2], [7, 2, 1]] {
            let mix = mix(weights).unwrap();
            let total = u64::from(weights.iter().sum::<u32>());
            for block in [0, 1, 2, 1_000_000, u64::MAX / total - 1] {
                let mut counts = [0; 3];
                (block * total..(block + 1) * total).for_each(|index| counts[mix.kind_of(index)] += 1);
                assert_eq!(counts, weights, "block {block}");
            }
        }
    }

    #[test]
    fn the_operations_of_a_kind_are_numbered_without_gaps() {
        for weights in [[70, 20, 10], [1, 1, 1], [1, 997, 2]] {
            let mix = mix(weights).unwrap();
            let mut next = [0; 3];
            for index in 0..5_000 {
                let next = &mut next[mix.kind_of(index)];
                assert_eq!(mix.rank(index), *next, "{index}");
                *next += 1;
            }
        }
    }

    #[test]
    fn each_peer_has_operations_of_all_kinds() {
        // The number of peers is that of the block's operations, or a multiple of it.
        let mix = mix([70, 20, 10]).unwrap();
        for peers in [10, 100, 1_000] {
            for peer in 0..peers {
                let mut counts = [0; 3];
                (0..1_000).for_each(|round| counts[mix.kind_of(peer + round * peers)] += 1);
                let is_near = |count: i32, expected: i32| (count - expected).abs() < 100;
                assert!(
                    is_near(counts[0], 700) && is_near(counts[1], 200) && is_near(counts[2], 100),
                    "{peers}: {counts:?}"
                );
            }
        }
    }

    #[test]
    fn a_rare_kind_reaches_each_peer_equally() {
        for (weights, peers) in [([997, 1, 2], 100), ([997, 1, 2], 1_000), ([7, 1, 2], 1_000), ([998, 1, 1], 10_000)] {
            let mix = mix(weights).unwrap();
            let rounds = 20 * (mix.shifts.len() * mix.pattern.len()) as u64 / peers;
            let expected = rounds as f64 * f64::from(weights[1]) / mix.pattern.len() as f64;
            for peer in [0, 1, 50, 99, peers - 1] {
                let count = (0..rounds).filter(|round| mix.kind_of(peer + round * peers) == 1).count() as f64;
                assert!((count / expected - 1.0).abs() < 0.5, "{weights:?}, peer {peer} of {peers}: {count}");
            }
        }
    }

    #[test]
    fn the_order_repeats_after_its_period_and_not_before() {
        for weights in [[70, 20, 10], [1, 1, 1], [1, 997, 2]] {
            let mix = mix(weights).unwrap();
            let period = u64::from(mix.kind_period().unwrap().get());
            assert!((MIN_PERIOD..1_010_000).contains(&period), "{weights:?}: {period}");
            let differs = |by: u64| (0..30_000).filter(|&index| mix.kind_of(index) != mix.kind_of(index + by)).count();
            assert_eq!(differs(period), 0, "{weights:?}");
            assert!(differs(period / mix.shifts.len() as u64) > 0, "{weights:?}");
        }
    }

    #[test]
    fn kinds_are_spread_over_a_block() {
        assert_eq!(pattern(vec![3, 1]), [0, 0, 1, 0]);
        assert_eq!(pattern(vec![1, 1, 2]), [2, 0, 1, 2]);
        assert_eq!(pattern(vec![5]), [0; 5]);
    }

    #[test]
    fn a_message_is_delivered_as_the_parts_that_want_it_agree() {
        let [none, whole, parts] = [Delivery::Discard, Delivery::Buffer, Delivery::Chunks];
        assert_eq!([common(none, none), common(none, parts), common(whole, none)], [none, parts, whole]);
        assert_eq!(common(parts, parts), parts);
    }

    #[test]
    #[should_panic = "want one message in different ways"]
    fn parts_that_want_one_message_in_different_ways_are_refused() {
        common(Delivery::Buffer, Delivery::Chunks);
    }

    #[test]
    fn workloads_that_do_not_fit_are_refused() {
        let second = Duration::from_secs(1);
        let with = |other: Box<dyn Workload>| Mix::new(vec![(1, Box::new(Ping)), (1, other)]).map(drop);
        assert_eq!(with(Box::new(Connect)), Err(MixError(Reason::OpensConnections)));
        assert_eq!(with(Box::new(Propagation::new(second))), Err(MixError(Reason::Passive)));
        assert_eq!(with(Box::new(Ping)), Err(MixError(Reason::Overlap)));
        let own = mix([1, 1, 1]).unwrap();
        assert_eq!(Mix::new(vec![(1, Box::new(own))]).map(drop), Err(MixError(Reason::SeveralKinds)));
        let blocks = Box::new(BlockFetch::new(300));
        let both = Mix::new(vec![(1, Box::new(Headers)), (1, blocks)]);
        assert_eq!(both.map(drop), Err(MixError(Reason::Overlap)));
        assert_eq!(Mix::new(Vec::new()).map(drop), Err(MixError(Reason::Empty)));
        assert_eq!(mix([1, 0, 1]).map(drop), Err(MixError(Reason::NoWeight)));
        assert_eq!(mix([998, 1, 1]).map(drop), Ok(()));
        assert_eq!(mix([999, 1, 1]).map(drop), Err(MixError(Reason::TooMuchWeight)));
        assert_eq!(mix([u32::MAX, 1, 1]).map(drop), Err(MixError(Reason::TooMuchWeight)));
        assert_eq!(mix([u32::MAX; 3]).unwrap().pattern, [0, 1, 2]);
    }
}
