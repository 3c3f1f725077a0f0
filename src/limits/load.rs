//! The bounds of the load generator.

/// Maximum number of stages in a plan. For each stage and metric the generator keeps two histograms of 352 KiB of
/// address space, of which a loop touches about 100 KiB: 64 stages with two metrics use up to 90 MiB of address space.
pub const MAX_LOAD_STAGES: usize = 64;
/// Maximum number of changes of the rate that a load's report lists, in 64 bytes each. Later changes have their effect,
/// but are not listed.
pub(crate) const MAX_LOAD_RATE_CHANGES: usize = 1_000;
/// Maximum number of operations in flight per peer that the generator keeps itself, in about 80 bytes each. Pings of
/// the workload [`Ping`](crate::load::workloads::Ping) are kept by the engine, which has its own maximum,
/// [`MAX_PINGS_OUTSTANDING`](crate::limits::MAX_PINGS_OUTSTANDING). A further operation counts as not sent.
pub const MAX_OPERATIONS_PER_PEER: usize = 1_024;
/// Maximum number of hashes that the workload [`Propagation`](crate::load::workloads::Propagation) remembers. Each uses
/// about 250 bytes, and one bit for each peer until all peers have announced it: 25 MB with 1,000 peers.
pub const MAX_PROPAGATION_HASHES: usize = 65_536;
