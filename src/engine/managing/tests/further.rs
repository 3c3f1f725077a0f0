//! Tests of further connections to an address in use, which the embedder dials.

use super::{Fate, Stage, host, idle, manager, managing};
use crate::config::{DialMode, ManagerConfig};
use crate::error::{IoStep, RequestError};
use crate::manager::ban::BanReason;
use crate::manager::store::PeerStatus;
use crate::state::Dialling;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

fn further(address: SocketAddr) -> Dialling {
    Dialling { is_further: true, ..address.into() }
}

#[test]
fn an_address_has_as_many_links_as_its_embedder_dials() {
    let mut stage = Stage::new(idle());
    stage.fate = Fate::Connected;
    let first = stage.engine.state.connect(host(1)).expect("the address is free");
    let others = [(); 2].map(|()| stage.engine.state.connect(further(host(1))).expect("a slot is free"));
    stage.settle();
    assert_eq!(stage.links(), [first, others[0], others[1]]);
    stage.assert_accounts();
    assert_eq!(stage.engine.state.connect(host(1)), Err(RequestError::AddressTaken));
    // The first link ends, and the others keep the address.
    stage.engine.failed(first, IoStep::Read, &ErrorKind::ConnectionReset.into());
    stage.settle();
    assert_eq!(stage.links(), others);
    stage.assert_accounts();
    assert_eq!(stage.engine.state.connect(host(1)), Err(RequestError::AddressTaken));
    let again = stage.engine.state.connect(further(host(1))).expect("a slot is free");
    for link in others.into_iter().chain([again]) {
        stage.engine.failed(link, IoStep::Read, &ErrorKind::ConnectionReset.into());
    }
    stage.settle();
    stage.assert_accounts();
    assert!(stage.engine.state.connect(host(1)).is_ok(), "the address stayed in use");
}

#[test]
fn the_end_of_a_further_link_changes_nothing_for_the_address() {
    let mut stage = Stage::new(ManagerConfig { mode: DialMode::Fixed(vec![host(1)]), ..manager() });
    stage.fate = Fate::Connected;
    stage.settle();
    let [dialled] = stage.links()[..] else { panic!("the fixed peer was not dialled") };
    stage.fate = Fate::Failed(ErrorKind::ConnectionRefused);
    let further = stage.engine.state.connect(further(host(1))).expect("a slot is free");
    stage.settle();
    assert!(!stage.engine.state.links.is_open(further));
    assert_eq!(stage.links(), [dialled]);
    let dialler = &managing(&mut stage.engine).manager.dialler;
    assert!(dialler.is_taken(host(1)));
    // The fixed peer's own record is still that of a live link, and leads to a restart.
    stage.fate = Fate::Connected;
    stage.engine.failed(dialled, IoStep::Read, &ErrorKind::ConnectionReset.into());
    stage.settle();
    assert_eq!(stage.links().len(), 1, "the fixed peer was not dialled again");
    stage.assert_accounts();
}

#[test]
fn a_further_link_is_never_dialled_again_by_the_manager() {
    let mut stage = Stage::new(manager());
    stage.fate = Fate::Failed(ErrorKind::ConnectionRefused);
    stage.engine.state.connect(further(host(1))).expect("a slot is free");
    stage.settle();
    stage.sleep_for(Duration::from_secs(3_600));
    assert_eq!((stage.links().len(), stage.engine.state.telemetry.counters.dialled), (0, 1));
    let known = managing(&mut stage.engine).manager.persistence.book.peers(PeerStatus::Valid).count();
    assert_eq!(known, 0);
    stage.assert_accounts();
}

#[test]
fn a_further_link_needs_a_slot_and_a_host_without_a_ban() {
    let mut stage = Stage::new(ManagerConfig { max_peers: 2, target_peers: 1, ..idle() });
    for _ in 0..2 {
        stage.engine.state.connect(further(host(1))).expect("a slot is free");
    }
    assert_eq!(stage.engine.state.connect(further(host(1))), Err(RequestError::MaxPeers));
    let mut stage = Stage::new(idle());
    let moment = stage.engine.state.clocks.moment();
    let manager = stage.engine.state.manager.as_mut().expect("the loop has a manager");
    manager.ban(host(1).ip(), BanReason::Manual, None, moment);
    assert_eq!(stage.engine.state.connect(further(host(1))), Err(RequestError::Banned));
    stage.assert_accounts();
    stage.engine.state.stopping = true;
    assert_eq!(stage.engine.state.connect(further(host(2))), Err(RequestError::Stopped));
}
