//! A peer that accepts the loop's connections, and adds further ones to its streams, like SV Node 1.2.2.

use super::super::journal::Wrong;
use super::super::line::Line;
use super::super::persona::{End, Persona};
use super::super::profile::Profile;
use super::super::reference::{self, Message};
use super::super::role::Role;
use super::member::Member;
use super::{Association, DATA1, POLICY, Uuid, encode_id};
use crate::time::Instant;
use std::cell::RefCell;
use std::rc::Rc;

/// How a peer that the loop dials reacts to an offered association id and to a `createstrm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// It repeats the id, and acknowledges the stream.
    Acknowledges,
    /// It repeats the id, and never replies to `createstrm`.
    IsSilent,
    /// It repeats the id, and rejects the stream.
    Rejects,
    /// It repeats the id, and closes the connection that asks to become a stream.
    Closes,
    /// It repeats the id, but acknowledges a stream of another association.
    AcknowledgesOtherId,
    /// It repeats the id, but acknowledges a stream of another type.
    AcknowledgesOtherType,
    /// It names another id in its `version`.
    NamesOtherId,
    /// It repeats the id, and lists only the policy `Default`.
    ListsOnlyDefault,
}

impl Reaction {
    /// All reactions.
    pub const ALL: [Self; 8] = [
        Self::Acknowledges,
        Self::IsSilent,
        Self::Rejects,
        Self::Closes,
        Self::AcknowledgesOtherId,
        Self::AcknowledgesOtherType,
        Self::NamesOtherId,
        Self::ListsOnlyDefault,
    ];

    /// Returns the label of the reason for which the loop must report that the stream failed. Returns `None` if the
    /// stream is opened or is never asked for.
    pub const fn failure(self) -> Option<&'static str> {
        match self {
            Self::IsSilent => Some("handshake_timeout"),
            Self::Rejects => Some("rejected_by_peer"),
            Self::Closes => Some("closed_by_peer"),
            Self::AcknowledgesOtherId | Self::AcknowledgesOtherType => Some("bad_value"),
            Self::Acknowledges | Self::NamesOtherId | Self::ListsOnlyDefault => None,
        }
    }

    fn policies(self) -> &'static [u8] {
        match self {
            Self::ListsOnlyDefault => b"Default",
            Self::Acknowledges
            | Self::IsSilent
            | Self::Rejects
            | Self::Closes
            | Self::AcknowledgesOtherId
            | Self::AcknowledgesOtherType
            | Self::NamesOtherId => b"BlockPriority,Default",
        }
    }
}

/// The personas of peers that the loop dials. Clones share one list of peers.
#[derive(Clone, Debug)]
pub struct AssociationAcceptor {
    profile: Rc<Profile>,
    reaction: Reaction,
    /// The peers, in the order of their `version`s. There are few.
    peers: Rc<RefCell<Vec<Association>>>,
}

impl AssociationAcceptor {
    /// Returns peers with this profile.
    pub fn new(profile: &Rc<Profile>, reaction: Reaction) -> Self {
        Self { profile: Rc::clone(profile), reaction, peers: Rc::default() }
    }

    /// Returns the records of all peers, in the order in which their handshakes began.
    pub fn associations(&self) -> Vec<Association> {
        self.peers.borrow().clone()
    }

    /// Returns the role of an accepted connection. Its first message determines whether it is a peer or a stream.
    pub fn role(&self) -> Role {
        Role::of(self.persona())
    }

    /// Returns the persona of an accepted connection, for another persona that contains it.
    pub fn persona(&self) -> impl Persona + use<> {
        let association = Association::new(&self.profile, Uuid::default());
        Accepted { member: Member::first(&association), acceptor: self.clone(), stage: Stage::Waiting }
    }

    /// Returns the peer with this encoded association id.
    fn find(&self, id: &[u8]) -> Option<Association> {
        let peers = self.peers.borrow();
        peers.iter().find(|peer| peer.id() == id && peer.outcome().is_agreed).cloned()
    }
}

/// An accepted connection.
#[derive(Debug)]
struct Accepted {
    member: Member,
    acceptor: AssociationAcceptor,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// For the first message.
    Waiting,
    /// The connection is its peer's first one.
    General,
    /// The connection is a further stream.
    Opened,
    /// The connection asked to become a stream, and does not.
    Refused,
}

impl Accepted {
    fn handle(&mut self, line: &mut Line<'_>, message: &Message<'_>) {
        match (self.stage, &message.command) {
            (Stage::Waiting, b"version\0\0\0\0\0") => self.become_peer(line, message),
            (Stage::Waiting, b"createstrm\0\0") => self.handle_createstrm(line, message.payload),
            (Stage::Waiting, _) => self.member.complain(line, Wrong::BeforeVersion),
            (Stage::General | Stage::Opened, _) => self.member.handle(line, message),
            (Stage::Refused, _) => {}
        }
    }

    fn become_peer(&mut self, line: &mut Line<'_>, message: &Message<'_>) {
        self.stage = Stage::General;
        self.acceptor.peers.borrow_mut().push(self.member.association.clone());
        self.member.handle(line, message);
        let profile = Rc::clone(&self.acceptor.profile);
        let is_agreed = self.member.association.outcome().is_agreed;
        if !is_agreed {
            line.send(&profile.version_frame(line.serial()));
        } else if self.acceptor.reaction == Reaction::NamesOtherId {
            self.member.association.update(|state| state.uuid = state.uuid.map(|byte| !byte));
            self.member.send_version(line);
        } else {
            self.member.send_version(line);
        }
        line.send(&profile.verack);
        let policies = self.acceptor.reaction.policies();
        let policies_len = u8::try_from(policies.len()).expect("the list is short");
        self.member.send_frame(line, "protoconf", &[b"\x02\x00\x00\x20\x00", &[policies_len][..], policies].concat());
    }

    fn handle_createstrm(&mut self, line: &mut Line<'_>, payload: &[u8]) {
        let id = payload.get(..18).unwrap_or_default();
        let policy_len = u8::try_from(POLICY.len()).expect("the name is short");
        let request = [&[DATA1, policy_len], POLICY].concat();
        let Some(peer) = self.acceptor.find(id).filter(|_| payload.get(18..) == Some(&request[..])) else {
            self.stage = Stage::Refused;
            return self.member.complain(line, Wrong::Malformed);
        };
        self.stage = Stage::Refused;
        match self.acceptor.reaction {
            Reaction::Acknowledges => {
                self.member = Member::further(&peer);
                self.stage = Stage::Opened;
                peer.update(|state| state.outcome.streams += 1);
                self.member.count(|tally| tally.streams += 1);
                self.acknowledge(line, id, DATA1);
                self.member.begin_pings(line);
            }
            Reaction::AcknowledgesOtherId => self.acknowledge(line, &encode_id([0x77; 16]), DATA1),
            Reaction::AcknowledgesOtherType => self.acknowledge(line, id, DATA1 + 1),
            Reaction::Rejects => {
                line.send(&reference::frame(self.acceptor.profile.magic, "reject", b"\x0acreatestrm\x60\x02no"));
                line.finish();
            }
            Reaction::Closes => line.close(),
            Reaction::IsSilent => {}
            // The loop must not ask for a stream.
            Reaction::NamesOtherId | Reaction::ListsOnlyDefault => self.member.complain(line, Wrong::Repeated),
        }
    }

    fn acknowledge(&self, line: &mut Line<'_>, id: &[u8], stream_type: u8) {
        self.member.send_frame(line, "streamack", &[id, &[stream_type]].concat());
    }
}

impl Persona for Accepted {
    fn opened(&mut self, _line: &mut Line<'_>) {
        self.member.count(|tally| tally.opened += 1);
    }

    fn received(&mut self, line: &mut Line<'_>, bytes: &[u8]) {
        let mut messages = Vec::new();
        self.member.read(line, bytes, |_, _, message| messages.push((message.command, message.frame.to_vec())));
        for (command, frame) in messages {
            let payload = frame.get(reference::HEAD..).unwrap_or_default();
            self.handle(line, &Message { command, frame: &frame, payload });
        }
    }

    fn due(&mut self, line: &mut Line<'_>) {
        self.member.ping(line);
    }

    fn ended(&mut self, how: End, at: Instant) {
        if let Stage::General | Stage::Opened = self.stage {
            self.member.ended(how, at);
        }
    }
}
