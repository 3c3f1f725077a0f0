//! Names whose addresses are peers: which of them to ask when, and what of their answers to believe.

use crate::config::ManagerConfig;
use crate::protocol::Network;
use crate::time::Instant;
use std::net::{IpAddr, SocketAddr};

/// When each seed is to be asked.
#[derive(Debug)]
pub(crate) struct Seeds {
    network: Network,
    default_port: u16,
}

/// A name to be resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolve {
    /// Names the question; never used twice.
    pub(crate) query: u64,
    pub(crate) name: String,
}

/// What a seed's answer was worth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SeedAnswer {
    /// Addresses that may be peers, each once, at most [`SEED_ANSWERS_MAX`](crate::limits::SEED_ANSWERS_MAX).
    pub(crate) addresses: Vec<SocketAddr>,
    /// Addresses that were left out: above the maximum, not routable, named twice, or our own.
    pub(crate) dropped: usize,
}

impl Seeds {
    /// All seeds of `config` are due now, none in [`DialMode::Fixed`](crate::config::DialMode::Fixed).
    pub(crate) fn new(config: &ManagerConfig, network: Network, now: Instant) -> Self {
        let _ = now;
        Self { network, default_port: config.default_port }
    }

    /// Takes the names of `config`; what was asked of one that stays is still awaited.
    pub(crate) fn reconfigure(&mut self, config: &ManagerConfig, now: Instant) {
        let _ = now;
        self.default_port = config.default_port;
    }

    /// When a seed is due or a question has been open for too long. `hungry` is
    /// [`Dialler::lacks_candidates`](super::Dialler::lacks_candidates).
    pub(crate) fn next_at(&self, hungry: bool) -> Option<Instant> {
        let _ = hungry;
        None
    }

    /// A question to ask now; call until `None`.
    pub(crate) fn next(&mut self, now: Instant, hungry: bool) -> Option<Resolve> {
        let _ = (now, hungry);
        None
    }

    /// The answer to a question: what of it to believe. A failure counts as an answer with nothing in it, and so does
    /// an answer to a question that nobody waits for.
    pub(crate) fn resolved(
        &mut self,
        query: u64,
        answer: Option<&[IpAddr]>,
        is_ours: impl FnMut(SocketAddr) -> bool,
    ) -> SeedAnswer {
        let _ = (query, answer, is_ours, self.network);
        SeedAnswer::default()
    }
}
