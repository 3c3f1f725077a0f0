//! Peers that break or abuse the protocol, and the loop's required reaction to each.
//!
//! An [`Attack`] is a script of a few steps. An [`Attacker`] plays an attack on one connection, and records the outcome
//! in its [`Record`]. The deadlines in an attack are those of the default configuration; a test adds slack for a
//! delayed loop. Some attacks require the loop's reaction only on a quiet network ([`Attack::needs_quiet`]).
//!
//! | threat | attacks |
//! |---|---|
//! | P1 garbage, P2 wrong network, P3 wrong checksums, P4 lengths over limits, P32 extended headers | [`framing`] |
//! | P7 handshakes that stall, P14 and P15 false pongs, P16 versions and veracks out of order | [`handshake`] |
//! | P22 half-open peers, P23 resets, P30 unprintable names, P36 absurd claims | [`handshake`] |
//! | P19 malformed sizes and fields, P20 and P21 false lengths and counts, P33 unusual protoconfs | [`claims`] |
//! | P5 slow bodies, P6 slow headers, P8 slow readers, P28 pinned buffers, P31 timer churn | [`resources`] |
//! | P10 inv floods, P11 request floods, P12 addr floods, P13 ping floods, P30 reject floods | [`floods`] |
//! | P16 connections that ask to become streams | [`streams`] |
//! | P9 streams into a slow sink | [`Sink`](super::Sink), which is not an attacker |
//!
//! These threats have no attack here. Each concerns a part that a loop without a peer manager or a relay lacks:
//!
//! | threat | missing part |
//! |---|---|
//! | P17 self-connections, P18 double connections | a dialler that chooses addresses |
//! | P24 to P26 connection floods | limits per address, eviction |
//! | P27 amplification, P34 withheld transactions, P35 foreign state | a relay |
//! | P29 crafted hash collisions | a map with peer-chosen keys |

mod attack;
pub mod claims;
pub mod floods;
pub mod framing;
pub mod handshake;
pub mod resources;
pub mod streams;

pub use attack::{Attack, Attacker, Record};

/// Returns all attacks.
pub fn attacks() -> impl Iterator<Item = &'static Attack> + Clone {
    let of_modules =
        [framing::ATTACKS, handshake::ATTACKS, claims::ATTACKS, resources::ATTACKS, floods::ATTACKS, streams::ATTACKS];
    of_modules.into_iter().flatten()
}
