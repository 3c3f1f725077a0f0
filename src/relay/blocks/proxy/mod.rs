//! Requests for headers that this relay cannot answer: they are passed on to an upstream, and its reply is passed back.
//!
//! These are the requests for headers below the first one of the chain, and all requests for enriched headers, whose
//! coinbase transactions and proofs this relay does not have. No reply names its request, so an upstream has at most
//! one such request of each kind at a time, and a reply has to begin at a block that the request names. A request stays
//! with its upstream after its peer has closed, or after another upstream was asked, so that a late reply answers no
//! other request.
//!
//! This file is the table; it sends nothing. `ask` passes requests on, and `reply` passes the replies back.

mod ask;
mod reply;

use crate::address::Host;
use crate::id::PeerId;
use crate::limits::{MAX_RELAY_UPSTREAMS, RELAY_HEADER_ASKS, RELAY_LOCATOR_HASHES};
use crate::protocol::CommandName;
use crate::time::Instant;
use crate::wire::{BlockHeader, Hash256, LocatorRef};
pub(in crate::relay) use ask::{advance, expire, for_peer, on_gethdrsen, on_link_lost};
use bytes::Bytes;
pub(in crate::relay) use reply::{on_hdrsen, on_hdrsen_header, on_headers};
use std::collections::VecDeque;

/// Number of commands whose requests are passed on.
const COMMANDS: usize = 2;

/// The requests for headers that are passed on.
#[derive(Debug, Default)]
pub(in crate::relay) struct HeaderAsks {
    /// The requests that wait for an upstream, the next one first.
    waiting: VecDeque<Ask>,
    /// The requests that an upstream has received, at most one of each command for each of its submitting links.
    sent: Vec<Sent>,
}

/// A peer's request.
#[derive(Debug)]
struct Ask {
    peer: PeerId,
    /// The host that pays for the reply.
    payer: Option<Host>,
    command: CommandName,
    /// The payload.
    request: Bytes,
    /// The moment at which it arrived.
    since: Instant,
    /// The number of upstreams that have received it.
    tries: usize,
    /// The links that did not reply, or not with the requested headers.
    failed: Vec<PeerId>,
}

/// A request that an upstream has received.
#[derive(Debug)]
struct Sent {
    link: PeerId,
    command: CommandName,
    request: Bytes,
    payer: Option<Host>,
    at: Instant,
    /// The request, unless its peer has closed or another upstream is asked.
    ask: Option<Ask>,
}

impl HeaderAsks {
    /// Returns the maximum number of bytes of all requests.
    pub(in crate::relay) const fn memory_bytes() -> usize {
        // A payload may share a read block of up to twice its length. A list that grows has up to twice its length.
        let request = 2 * (size_of::<u32>() + 1 + (RELAY_LOCATOR_HASHES + 1) * Hash256::LEN_BYTES);
        let sent = COMMANDS * MAX_RELAY_UPSTREAMS;
        RELAY_HEADER_ASKS * (request + 2 * size_of::<Ask>()) + sent * (request + 2 * size_of::<Sent>())
    }

    /// Lists the requests whose peers wait for a reply.
    fn open(&self) -> impl Iterator<Item = &Ask> {
        self.waiting.iter().chain(self.sent.iter().filter_map(|sent| sent.ask.as_ref()))
    }

    /// Returns whether an upstream's link has such a request.
    fn is_busy(&self, link: PeerId, command: CommandName) -> bool {
        self.sent.iter().any(|sent| sent.link == link && sent.command == command)
    }

    /// Returns a link's request.
    fn sent_mut(&mut self, link: PeerId, command: CommandName) -> Option<&mut Sent> {
        self.sent.iter_mut().find(|sent| sent.link == link && sent.command == command)
    }

    /// Removes and returns a link's request, if `answers` returns `true` for it.
    fn take(
        &mut self,
        link: PeerId,
        command: CommandName,
        answers: impl FnOnce(LocatorRef<'_>) -> bool,
    ) -> Option<Sent> {
        let at = self.sent.iter().position(|sent| sent.link == link && sent.command == command)?;
        let request = LocatorRef::decode(command, &self.sent[at].request).ok()?;
        answers(request).then(|| self.sent.swap_remove(at))
    }
}

/// Returns whether headers that begin with `first` can be the reply to a request on the network with this genesis
/// block. Without a locator, the first one is that of the stop block, and otherwise it follows a listed block or the
/// genesis block.
fn can_answer(request: LocatorRef<'_>, first: &BlockHeader, genesis: Hash256) -> bool {
    let parent = first.prev_hash;
    match request.hashes().len() {
        0 => first.hash() == request.stop,
        _ => parent == genesis || request.hashes().any(|hash| hash == parent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Locator;

    #[test]
    fn a_reply_begins_at_a_listed_block_at_the_genesis_block_or_is_the_stop_block() {
        let hash = |number: u8| Hash256::of(&[number]);
        let header = BlockHeader { prev_hash: hash(2), ..BlockHeader::decode(&[7; 80]) };
        for (hashes, stop, genesis, expected) in [
            (&[hash(1), hash(2)][..], Hash256::ZERO, hash(9), true),
            (&[hash(1), hash(3)], Hash256::ZERO, hash(9), false),
            (&[hash(1), hash(3)], Hash256::ZERO, hash(2), true),
            (&[hash(1), hash(3)], header.hash(), hash(9), false),
            (&[], header.hash(), hash(9), true),
            (&[], Hash256::ZERO, hash(2), false),
        ] {
            let request = Locator::from_hashes(0, hashes.iter().copied(), stop);
            assert_eq!(can_answer(request.as_ref(), &header, genesis), expected, "{hashes:?}");
        }
    }
}
