//! Two peers that dial each other at the same moment: which of the two links stays.
//!
//! Both sides have to decide alike without a word. They can if each knows the address at which the other listens: the
//! link that was opened by the smaller of the two stays. Nothing is remembered in here.

use crate::error::Side;
use std::net::SocketAddr;

/// Which of two links between the same two peers stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Both: it cannot be told whether they are between the same two.
    Both,
    /// The one in question.
    This,
    /// The other one.
    Other,
}

/// Which of two crossing links stays: `this` link, which was opened by `opener`, or the one that the other side opened.
///
/// `ours` is where the peer dialled us, as its `version` says in the receiver's address; `theirs` where we dialled it.
/// `None`, or an address without a port, is one that does not say where anybody listens.
pub(crate) fn resolve_crossing(opener: Side, ours: Option<SocketAddr>, theirs: Option<SocketAddr>) -> Keep {
    let (Some(ours), Some(theirs)) = (ours.and_then(listening), theirs.and_then(listening)) else {
        return Keep::Both;
    };
    let stays = match ours.cmp(&theirs) {
        std::cmp::Ordering::Less => Side::Local,
        std::cmp::Ordering::Greater => Side::Remote,
        std::cmp::Ordering::Equal => return Keep::Both,
    };
    if stays == opener { Keep::This } else { Keep::Other }
}

fn listening(address: SocketAddr) -> Option<SocketAddr> {
    let is_one = address.port() != 0 && !address.ip().to_canonical().is_unspecified();
    is_one.then(|| crate::address::canonical(address))
}
