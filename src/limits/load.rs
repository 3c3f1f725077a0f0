//! The bounds of the load generator.

/// Maximum number of stages in a plan. For each stage and metric the generator keeps two histograms of 352 KiB of
/// address space, of which a loop touches about 100 KiB: 64 stages with two metrics use up to 90 MiB of address space.
pub const MAX_LOAD_STAGES: usize = 64;
/// Maximum number of changes of the rate that a load's report lists, in 64 bytes each. Later changes have their effect,
/// but are not listed.
pub(crate) const MAX_LOAD_RATE_CHANGES: usize = 1_000;
