//! The peers of a managed world: some that the loop can keep, and others that it cannot.

use super::plan::PORT;
use crate::scripted_attacker::{NETWORK, frame, version};
use peerloop::protocol::{CommandName, Network};
use peerloop::sim::Chance;
use peerloop::sim::actor::{self, End, Honest, Line, Persona};
use peerloop::time::Instant;
use peerloop::wire::{AddressEntry, Addresses, NetAddress, put_frame};
use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// A peer's behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    Honest,
    /// It sends its part of the handshake and closes at once.
    Dropper,
    /// It closes after a while, or sets up a stream too late, so that the loop closes it.
    Leaver,
    /// It rejects the loop, like a node at capacity.
    Full,
    /// It is a node of another chain.
    OtherChain,
    /// It sends a message of another network.
    OtherNetwork,
    /// It sends nothing.
    Mute,
    /// It sends one `version` after another.
    Nasty,
    /// It sends the loop's own bytes back to the loop.
    Replayer,
    /// It sends unused addresses without a request, sometimes more in one message than are allowed.
    Gossip,
    /// Its port has no listener.
    Nobody,
    /// Its host does not reply at all.
    Silent,
}

/// One peer.
#[derive(Debug)]
pub(super) struct Resident {
    nature: Nature,
    honest: Honest,
    /// The latest bytes that the loop has sent to a replayer.
    overheard: Rc<RefCell<Vec<u8>>>,
}

impl Nature {
    /// The natures drawn for hosts: all except [`Nature::Gossip`], which is drawn separately.
    pub(super) const ALL: [Self; 11] = [
        Self::Dropper,
        Self::Leaver,
        Self::Full,
        Self::OtherChain,
        Self::OtherNetwork,
        Self::Mute,
        Self::Nasty,
        Self::Replayer,
        Self::Nobody,
        Self::Silent,
        Self::Honest,
    ];
}

impl Resident {
    pub(super) fn new(nature: Nature, kind: &Rc<actor::Profile>, overheard: &Rc<RefCell<Vec<u8>>>) -> Self {
        Self { nature, honest: Honest::new(kind), overheard: Rc::clone(overheard) }
    }
}

fn greeting(agent: &[u8]) -> Vec<u8> {
    [frame("version", &version(70_016, agent)), frame("verack", &[])].concat()
}

/// Builds an `addr` with random addresses. A few have port 0 or an IP address that no peer can have.
fn build_addr(chance: &Chance) -> Vec<u8> {
    let count = *chance.pick(&[1, 3, 10, 30, 1_000, 1_001]);
    let entries = (0..count).map(|_| {
        let [_, a, b, c] = chance.below(1 << 24).to_be_bytes();
        let ip = match chance.below(16) {
            0 => Ipv4Addr::UNSPECIFIED,
            1 => Ipv4Addr::new(224, 0, 0, c),
            2 => Ipv4Addr::BROADCAST,
            _ => Ipv4Addr::new(20, a, b, c),
        };
        let port = if chance.one_in(16) { 0 } else { PORT };
        AddressEntry { time: 1_500_000_000, address: NetAddress::from_socket(1, SocketAddr::from((ip, port))) }
    });
    let mut payload = Vec::new();
    Addresses::from_entries(entries).as_ref().encode(&mut payload);
    frame("addr", &payload)
}

impl Persona for Resident {
    fn opened(&mut self, line: &mut Line<'_>) {
        match self.nature {
            Nature::Honest | Nature::Nobody | Nature::Silent => self.honest.opened(line),
            Nature::Leaver => {
                let time = Duration::from_secs(u64::from(1 + line.chance().below(100)));
                line.wake_at(line.now().plus(time));
                line.send(&greeting(b"/leaver:1/"));
            }
            Nature::Dropper => {
                line.send(&greeting(b"/dropper:1/"));
                line.finish();
            }
            Nature::Full => {
                line.send(&frame("version", &version(70_016, b"/full:1/")));
                line.send(&frame("reject", b"\x07version\x44\x04full"));
            }
            Nature::OtherChain => {
                line.send(&greeting(b"/Bitcoin ABC:0.20.0/"));
            }
            Nature::OtherNetwork => {
                let mut bytes = Vec::new();
                put_frame(Network::Testnet.magic(), CommandName::VERACK, &[], &mut bytes);
                line.send(&bytes);
            }
            Nature::Mute => {}
            Nature::Nasty => {
                line.send(&greeting(b"/nasty:1/"));
                line.wake_at(line.now().plus(Duration::from_secs(1)));
            }
            Nature::Gossip => {
                line.send(&greeting(b"/gossip:1/"));
                line.wake_at(line.now().plus(Duration::from_secs(1)));
            }
            Nature::Replayer => {
                let said = self.overheard.borrow().clone();
                line.send(&said);
            }
        }
    }

    fn received(&mut self, line: &mut Line<'_>, bytes: &[u8]) {
        match self.nature {
            Nature::Honest | Nature::Nobody | Nature::Silent => self.honest.received(line, bytes),
            Nature::Replayer => {
                let mut overheard = self.overheard.borrow_mut();
                // The record is cleared when the received bytes begin with a message, or when the record exceeds 1,000
                // bytes. It therefore stays short and usually begins with a message.
                if bytes.starts_with(&NETWORK.magic()) || overheard.len() > 1_000 {
                    overheard.clear();
                }
                overheard.extend_from_slice(bytes);
            }
            Nature::Dropper
            | Nature::Leaver
            | Nature::Full
            | Nature::OtherChain
            | Nature::OtherNetwork
            | Nature::Mute
            | Nature::Nasty
            | Nature::Gossip => {}
        }
    }

    fn due(&mut self, line: &mut Line<'_>) {
        match self.nature {
            Nature::Honest | Nature::Nobody | Nature::Silent => self.honest.due(line),
            Nature::Leaver if line.chance().one_in(4) => {
                line.send(&frame("createstrm", &[]));
            }
            Nature::Leaver => line.close(),
            Nature::Nasty => {
                let again = frame("version", &version(70_016, b"/nasty:2/"));
                for _ in 0..6 {
                    line.send(&again);
                }
                line.wake_at(line.now().plus(Duration::from_secs(1)));
            }
            Nature::Gossip => {
                let build_addr = build_addr(line.chance());
                line.send(&build_addr);
                line.wake_at(line.now().plus(Duration::from_secs(30)));
            }
            Nature::Dropper
            | Nature::Full
            | Nature::OtherChain
            | Nature::OtherNetwork
            | Nature::Mute
            | Nature::Replayer => {}
        }
    }

    fn writable(&mut self, line: &mut Line<'_>) {
        if self.nature == Nature::Honest {
            self.honest.writable(line);
        }
    }

    fn ended(&mut self, how: End, at: Instant) {
        if self.nature == Nature::Honest {
            self.honest.ended(how, at);
        }
    }
}
