//! Injected failures of calls: the error that each call returns, and the virtual kernel's state afterwards, which must
//! be like a real kernel's.

use super::{ACCEPTOR, DIALLER, code, event, events, holding, hosts, pair, read, write};
use peerloop::internals::errno::{
    EADDRNOTAVAIL, EAGAIN, ECONNABORTED, ECONNREFUSED, ECONNRESET, EINTR, EMFILE, ENOBUFS, ENOSPC, EPROTO,
};
use peerloop::internals::id::{LinkId, Token};
use peerloop::internals::net::{Net, Readiness};
use peerloop::sim::{Conditions, SimNet, Site, World};
use peerloop::time::{Instant, Wait};
use peerloop_testkit::simulated::raw_link;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

/// Makes the host's next call at this site fail with `errno`.
fn fail_next(world: &World, host: usize, site: Site, errno: i32) {
    world.fail_once(host, site, errno, world.calls(host, site) + 1);
}

fn accept(acceptor: &mut SimNet) -> LinkId {
    let (socket, _) = acceptor.accept(0).unwrap();
    acceptor.attach(raw_link(), socket).unwrap();
    raw_link()
}

fn listener_event() -> Vec<Readiness> {
    vec![Readiness { token: Token::Listener(0).to_u64(), readable: true, writable: false, hung_up: false }]
}

#[test]
fn an_interrupted_wait_reports_no_event_of_the_current_moment_and_loses_none() {
    let (world, mut dialler, mut acceptor) = pair(Conditions::default());
    write(&mut dialler, b"a").unwrap();
    fail_next(&world, ACCEPTOR, Site::Wait, EINTR);
    assert_eq!(events(&mut acceptor), []);
    assert_eq!(events(&mut acceptor), event(true, true, false));
}

#[test]
fn an_interrupted_wait_reports_the_events_of_earlier_moments() {
    let (world, mut dialler, mut acceptor) = pair(Conditions::default());
    write(&mut dialler, b"a").unwrap();
    world.advance(Duration::from_nanos(1));
    fail_next(&world, ACCEPTOR, Site::Wait, EINTR);
    assert_eq!(events(&mut acceptor), event(true, true, false));
}

#[test]
fn a_failing_poller_returns_the_error() {
    let (world, mut dialler, _acceptor) = pair(Conditions::default());
    fail_next(&world, DIALLER, Site::Wait, EMFILE);
    assert_eq!(code(dialler.wait(Wait::Zero, &mut Vec::new())), Some(EMFILE));
}

#[test]
fn a_listener_that_cannot_be_opened_costs_no_descriptor() {
    let world = World::new(1, Instant::ZERO);
    let mut net = world.host();
    let address = SocketAddr::new(net.ip(), 1);
    fail_next(&world, 0, Site::Listen, EADDRNOTAVAIL);
    assert_eq!(code(net.listen(0, address)), Some(EADDRNOTAVAIL));
    assert_eq!(world.open_descriptors(0), 2);
    assert_eq!(net.listen(0, address).unwrap(), address);
}

#[test]
fn after_a_failed_accept_the_connection_waits_without_another_event() {
    let (world, mut dialler, mut acceptor, address) = hosts();
    dialler.connect(raw_link(), address, None).unwrap();
    assert_eq!(events(&mut acceptor), listener_event());
    for errno in [EMFILE, ENOBUFS] {
        fail_next(&world, ACCEPTOR, Site::Accept, errno);
        assert_eq!(code(acceptor.accept(0)), Some(errno));
    }
    assert_eq!(events(&mut acceptor), [], "an edge-triggered listener reported a connection twice");
    assert!(acceptor.accept(0).is_ok());
    fail_next(&world, ACCEPTOR, Site::Accept, EMFILE);
    assert_eq!(code(acceptor.accept(0)), Some(EMFILE), "an accept with an empty backlog did not fail as injected");
}

#[test]
fn after_an_accept_with_a_spurious_eagain_an_event_follows() {
    let (world, mut dialler, mut acceptor, address) = hosts();
    dialler.connect(raw_link(), address, None).unwrap();
    events(&mut acceptor);
    fail_next(&world, ACCEPTOR, Site::Accept, EAGAIN);
    assert_eq!(code(acceptor.accept(0)), Some(EAGAIN));
    assert_eq!(events(&mut acceptor), listener_event());
    assert!(acceptor.accept(0).is_ok());
}

#[test]
fn an_accept_that_reports_a_dead_connection_removes_it() {
    let (world, mut dialler, mut acceptor, address) = hosts();
    let [first, second] = [0, 1].map(LinkId::from_u64);
    dialler.connect(first, address, None).unwrap();
    dialler.connect(second, address, None).unwrap();
    events(&mut dialler);
    fail_next(&world, ACCEPTOR, Site::Accept, ECONNABORTED);
    assert_eq!(code(acceptor.accept(0)), Some(ECONNABORTED));
    let token = first.to_u64();
    assert_eq!(events(&mut dialler), [Readiness { token, readable: true, writable: true, hung_up: true }]);
    assert_eq!(code(dialler.read(first, &mut [0])), Some(ECONNRESET));
    assert!(acceptor.accept(0).is_ok(), "the second connection was lost");
    fail_next(&world, ACCEPTOR, Site::Accept, EPROTO);
    assert_eq!(code(acceptor.accept(0)), Some(EAGAIN), "the accept did not report an empty backlog");
}

#[test]
fn a_registration_that_fails_closes_the_socket() {
    let (world, mut dialler, mut acceptor, address) = hosts();
    dialler.connect(raw_link(), address, None).unwrap();
    let (socket, _) = acceptor.accept(0).unwrap();
    fail_next(&world, ACCEPTOR, Site::Attach, ENOSPC);
    assert_eq!(code(acceptor.attach(raw_link(), socket)), Some(ENOSPC));
    assert_eq!((acceptor.open_connections(), world.open_descriptors(ACCEPTOR)), (0, 3));
    assert_eq!(read(&mut dialler, 9), Ok(vec![]));
}

#[test]
fn a_dial_that_fails_at_once_costs_no_descriptor() {
    let (world, mut dialler, mut acceptor, address) = hosts();
    fail_next(&world, DIALLER, Site::Connect, ENOBUFS);
    assert_eq!(code(dialler.connect(raw_link(), address, None)), Some(ENOBUFS));
    assert_eq!((dialler.open_connections(), world.open_descriptors(DIALLER)), (0, 2));
    assert_eq!(events(&mut acceptor), []);
    assert!(dialler.connect(raw_link(), address, None).is_ok());
}

#[test]
fn a_dial_that_is_reported_as_failed_is_closed_on_both_sides() {
    let (world, mut dialler, mut acceptor) = pair(Conditions::default());
    fail_next(&world, DIALLER, Site::Connected, ECONNREFUSED);
    assert_eq!(code(dialler.connected(raw_link())), Some(ECONNREFUSED));
    assert_eq!(write(&mut dialler, b"a"), Err(ErrorKind::BrokenPipe));
    assert_eq!(events(&mut acceptor), event(true, true, true));
    assert_eq!(read(&mut acceptor, 9), Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_failed_read_closes_the_connection_on_both_sides() {
    let (world, mut dialler, mut acceptor) = pair(Conditions::default());
    write(&mut dialler, b"lost").unwrap();
    fail_next(&world, ACCEPTOR, Site::Read, ECONNRESET);
    assert_eq!(read(&mut acceptor, 9), Err(ErrorKind::ConnectionReset));
    assert_eq!(read(&mut acceptor, 9), Ok(vec![]), "the error was not followed by the end of the stream");
    assert_eq!(events(&mut dialler), event(true, true, true));
    assert_eq!(read(&mut dialler, 9), Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_read_with_a_spurious_eagain_loses_nothing() {
    let (world, mut dialler, mut acceptor) = pair(Conditions::default());
    write(&mut dialler, b"kept").unwrap();
    events(&mut acceptor);
    fail_next(&world, ACCEPTOR, Site::Read, EAGAIN);
    assert_eq!(read(&mut acceptor, 9), Err(ErrorKind::WouldBlock));
    assert_eq!(events(&mut acceptor), event(true, true, false));
    assert_eq!(read(&mut acceptor, 9), Ok(b"kept".to_vec()));
}

#[test]
fn a_write_that_fails_for_lack_of_memory_accepts_nothing_and_a_writable_event_follows() {
    let (world, mut dialler, mut acceptor) = pair(holding(10));
    fail_next(&world, DIALLER, Site::Write, ENOBUFS);
    assert_eq!(code(dialler.write(raw_link(), b"abc")), Some(ENOBUFS));
    assert_eq!(events(&mut acceptor), []);
    assert_eq!(events(&mut dialler), event(false, true, false));
    assert_eq!(write(&mut dialler, b"abc"), Ok(3));
}

#[test]
fn a_failed_write_closes_the_connection_on_both_sides() {
    let (world, mut dialler, mut acceptor) = pair(Conditions::default());
    fail_next(&world, DIALLER, Site::Write, ECONNRESET);
    assert_eq!(write(&mut dialler, b"abc"), Err(ErrorKind::ConnectionReset));
    assert_eq!(read(&mut acceptor, 9), Err(ErrorKind::ConnectionReset));
}

#[test]
fn interrupted_calls_are_retried_before_they_return() {
    let (world, mut dialler, mut acceptor) = pair(Conditions::default());
    for (host, site) in [(DIALLER, Site::Write), (ACCEPTOR, Site::Read), (DIALLER, Site::Connected)] {
        fail_next(&world, host, site, EINTR);
    }
    assert_eq!(write(&mut dialler, b"abc"), Ok(3));
    assert_eq!(read(&mut acceptor, 9), Ok(b"abc".to_vec()));
    assert!(dialler.connected(raw_link()).unwrap().is_some());
}

#[test]
fn calls_are_counted_by_host_and_site() {
    let (world, mut dialler, mut acceptor) = pair(Conditions::default());
    assert_eq!((world.calls(DIALLER, Site::Write), world.calls(ACCEPTOR, Site::Accept)), (0, 1));
    for _ in 0..3 {
        write(&mut dialler, b"a").unwrap();
    }
    read(&mut acceptor, 9).unwrap();
    assert_eq!((world.calls(DIALLER, Site::Write), world.calls(ACCEPTOR, Site::Read)), (3, 1));
    assert_eq!((world.calls(DIALLER, Site::Read), world.calls(ACCEPTOR, Site::Write)), (0, 0));
}

#[test]
fn random_faults_happen_until_they_are_cleared() {
    let (world, mut dialler, mut acceptor) = pair(Conditions::default());
    world.fail_sometimes(DIALLER, Site::Write, ENOBUFS, 3);
    let taken = (0..300).filter(|_| write(&mut dialler, b"a").is_ok()).count();
    assert!((150..250).contains(&taken), "{taken}");
    world.clear_faults();
    assert!((0..300).all(|_| write(&mut dialler, b"a").is_ok()));
    assert_eq!(read(&mut acceptor, 999).unwrap().len(), taken + 300);
}

#[test]
fn every_site_can_fail() {
    for site in Site::ALL {
        let (world, mut dialler, mut acceptor, address) = hosts();
        dialler.connect(raw_link(), address, None).unwrap();
        fail_next(&world, ACCEPTOR, site, ENOBUFS);
        let failure = match site {
            Site::Wait => code(acceptor.wait(Wait::Zero, &mut Vec::new())),
            Site::Listen => code(acceptor.listen(1, SocketAddr::new(acceptor.ip(), 2))),
            Site::Accept => code(acceptor.accept(0)),
            Site::Attach => {
                let (socket, _) = acceptor.accept(0).unwrap();
                code(acceptor.attach(raw_link(), socket))
            }
            Site::Connect => code(acceptor.connect(raw_link(), address, None)),
            Site::Connected => {
                let link = accept(&mut acceptor);
                code(acceptor.connected(link))
            }
            Site::Read => {
                let link = accept(&mut acceptor);
                code(acceptor.read(link, &mut [0]))
            }
            Site::Write => {
                let link = accept(&mut acceptor);
                code(acceptor.write(link, b"a"))
            }
        };
        assert_eq!(failure, Some(ENOBUFS), "{site:?}");
    }
}
