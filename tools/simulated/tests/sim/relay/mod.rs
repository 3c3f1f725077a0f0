//! The relay in the virtual world, driven byte by byte.

mod anchors;
mod announcing;
mod block_cases;
mod block_transactions;
mod blocks;
mod budgets;
mod busy_sources;
mod compact;
mod header_requests;
mod hostile;
mod indexes;
mod large;
mod live;
mod meshes;
mod racing;
mod random;
mod random_blocks;
mod requests;
mod serving;
mod slow_peers;
mod submitting;
mod tethers;
mod transaction_requests;
mod trust;

use peerloop::api::Pending;
use peerloop::internals::id::LinkId;
use peerloop::internals::net::Net;
use peerloop::relay::{PolicyDecision, Relay, RelayConfig, RelayRequest, RelayStep, TrustMode};
use peerloop::sim::{Actor, Conditions, Driver, RunOutcome, SimNet, World};
use peerloop::time::Instant;
use peerloop::wire::Hash256;
use peerloop::{Config, Reactor};
use peerloop_testkit::bytes::{frame, frames, verack, version};
use peerloop_testkit::simulated::relay::{
    LISTENING, SUBMITTING, Scene, getdata, hashes, inv, items, large_transaction, message, reject, sized_transaction,
    transaction, tx,
};
use peerloop_testkit::simulated::{RawPeer, config};
use std::net::SocketAddr;
use std::time::Duration;
