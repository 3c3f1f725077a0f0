//! Peers with two streams: each stream is a connection with its own persona, and both share an [`Association`].
//!
//! An [`AssociationDialler`] creates the personas of a peer that dials the loop: its first connection, and further ones
//! that ask to become its streams. An [`AssociationAcceptor`] creates the personas of the connections that the loop
//! dials. Either may deviate from SV Node in one way ([`Setup`], [`Reaction`]). Apart from that, a peer is honest: it
//! completes the handshake, answers pings on the stream on which they arrive, and sends pings and other messages on all
//! its streams. A pong may arrive on any of them.
//!
//! Faults of the loop are reported to the journal, like those that an [`Honest`](super::Honest) peer reports.

mod accepting;
mod dialling;
mod member;

pub use accepting::{AssociationAcceptor, Reaction};
pub use dialling::{AssociationDialler, Setup};

use super::persona::End;
use super::profile::Profile;
use crate::time::Instant;
use std::cell::RefCell;
use std::rc::Rc;

/// The bytes of the UUID that names an association.
type Uuid = [u8; 16];

/// The stream types of SV Node 1.2.2, net/stream.h StreamType.
const GENERAL: u8 = 1;
const DATA1: u8 = 2;

const POLICY: &[u8] = b"BlockPriority";

/// The streams of one peer, shared by the personas of its connections. Clones share one record.
#[derive(Clone, Debug)]
pub struct Association {
    profile: Rc<Profile>,
    state: Rc<RefCell<State>>,
}

/// The progress of a peer with two streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AssociationOutcome {
    /// Whether the handshake on the first connection is complete.
    pub is_ready: bool,
    /// Whether both sides have named the association id.
    pub is_agreed: bool,
    /// Number of further streams that were opened.
    pub streams: u32,
    /// Number of `reject`s received on connections that asked to become streams.
    pub rejects: u32,
    /// Number of pongs received that answer a ping, by the stream on which they arrived: the first, and any other.
    pub pongs: [u64; 2],
    /// When and how the loop ended the first connection; `None` if it is open or this side closed it.
    pub general_ended: Option<(Instant, End)>,
    /// When and how the loop ended the first further stream to end; `None` as for `general_ended`.
    pub stream_ended: Option<(Instant, End)>,
}

#[derive(Debug, Default)]
struct State {
    uuid: Uuid,
    outcome: AssociationOutcome,
    /// Whether the first connection has ended, for any reason.
    is_over: bool,
    /// The nonces of the pings in flight.
    pings: Vec<u64>,
}

impl Association {
    fn new(profile: &Rc<Profile>, uuid: Uuid) -> Self {
        let state = State { uuid, ..State::default() };
        Self { profile: Rc::clone(profile), state: Rc::new(RefCell::new(state)) }
    }

    /// Returns the progress so far.
    pub fn outcome(&self) -> AssociationOutcome {
        self.state.borrow().outcome
    }

    /// Returns whether the first connection has ended.
    pub fn is_over(&self) -> bool {
        self.state.borrow().is_over
    }

    /// Returns the association id as it is encoded: its length, its type, and the UUID.
    fn id(&self) -> Vec<u8> {
        encode_id(self.state.borrow().uuid)
    }

    /// Changes the state.
    fn update<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.state.borrow_mut())
    }
}

fn encode_id(uuid: Uuid) -> Vec<u8> {
    [&[17, 0][..], &uuid].concat()
}

/// Returns the UUID of the association id at the end of a `version`. Returns `None` if the id is empty or missing, or
/// if the user agent is longer than 252 bytes.
fn uuid_in(version: &[u8]) -> Option<Uuid> {
    const AGENT_AT: usize = 80;
    let agent_len = usize::from(*version.get(AGENT_AT)?);
    // The height and the relay flag are between the user agent and the id.
    let id = version.get(AGENT_AT + 1 + agent_len + 5..)?;
    id.strip_prefix(&[17, 0])?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::super::journal::Journal;
    use super::*;

    #[test]
    fn the_id_at_the_end_of_a_version_is_found() {
        let profile = Profile::new([1, 2, 3, 4], &Journal::new());
        let version = profile.version_payload(1);
        assert_eq!(uuid_in(&version), None);
        let named = [&version[..version.len() - 1], &encode_id([7; 16])].concat();
        assert_eq!(uuid_in(&named), Some([7; 16]));
        for len in 0..named.len() {
            assert_eq!(uuid_in(&named[..len]), None, "{len} bytes");
        }
    }
}
