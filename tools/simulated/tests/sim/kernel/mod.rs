//! The virtual kernel itself: the behaviour that the loop relies on, checked call by call.

mod driver;
mod faults;
mod harm;
mod pollers;

use peerloop::handler::Handler;
use peerloop::internals::id::{LinkId, Token};
use peerloop::internals::net::{Net, Readiness};
use peerloop::sim::{Actor, Call, Conditions, Cut, Cuts, Driver, RunError, RunOutcome, SimNet, World};
use peerloop::time::{Instant, Wait};
use peerloop::{Ctx, Reactor};
use peerloop_testkit::simulated::{Node, Player, RawPeer, config, raw_link, secs};
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;

const LINK: u64 = 0;
/// The host numbers in [`hosts`] and [`pair`].
const DIALLER: usize = 0;
const ACCEPTOR: usize = 1;

/// Builds two hosts. The second host listens.
fn hosts() -> (World, SimNet, SimNet, SocketAddr) {
    let world = World::new(1, Instant::ZERO);
    let (dialler, mut acceptor) = (world.host(), world.host());
    let address = acceptor.listen(0, SocketAddr::new(acceptor.ip(), 1)).unwrap();
    (world, dialler, acceptor, address)
}

/// Builds an established connection between two hosts.
fn pair(conditions: Conditions) -> (World, SimNet, SimNet) {
    let (world, mut dialler, mut acceptor, address) = hosts();
    world.set_conditions(conditions);
    dialler.connect(raw_link(), address, None).unwrap();
    let (socket, _) = acceptor.accept(0).unwrap();
    acceptor.attach(raw_link(), socket).unwrap();
    events(&mut dialler);
    events(&mut acceptor);
    (world, dialler, acceptor)
}

fn events(net: &mut SimNet) -> Vec<Readiness> {
    let mut ready = vec![Readiness { token: 9, readable: true, writable: true, hung_up: true }];
    net.wait(Wait::Forever, &mut ready).unwrap();
    ready
}

fn event(readable: bool, writable: bool, hung_up: bool) -> Vec<Readiness> {
    vec![Readiness { token: LINK, readable, writable, hung_up }]
}

fn read(net: &mut SimNet, room: usize) -> Result<Vec<u8>, ErrorKind> {
    let mut block = vec![0; room];
    let len = net.read(raw_link(), &mut block).map_err(|error| error.kind())?;
    block.truncate(len);
    Ok(block)
}

fn write(net: &mut SimNet, bytes: &[u8]) -> Result<usize, ErrorKind> {
    net.write(raw_link(), bytes).map_err(|error| error.kind())
}

/// Returns the error's number, if the call failed.
fn code<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

fn holding(capacity_bytes: usize) -> Conditions {
    Conditions { capacity_bytes, ..Conditions::default() }
}

#[test]
fn a_connection_is_reported_as_writable_at_first_and_later_only_after_a_change() {
    let world = World::new(1, Instant::ZERO);
    let (mut dialler, mut acceptor) = (world.host(), world.host());
    let address = acceptor.listen(3, SocketAddr::new([0, 0, 0, 0].into(), 0)).unwrap();
    assert_eq!(address.ip(), acceptor.ip());
    assert_eq!(acceptor.accept(3).err().map(|error| error.kind()), Some(ErrorKind::WouldBlock));
    dialler.connect(raw_link(), address, None).unwrap();
    assert_eq!(events(&mut dialler), event(false, true, false));
    let ends = dialler.connected(raw_link()).unwrap().unwrap();
    assert_eq!((ends.local.ip(), ends.remote, ends.are_one()), (dialler.ip(), address, false));
    assert_eq!(write(&mut dialler, b"early"), Ok(5), "a write before the connection was accepted was cut or refused");
    let listener = Readiness { token: Token::Listener(3).to_u64(), readable: true, writable: false, hung_up: false };
    assert_eq!(events(&mut acceptor), [listener]);
    let (socket, from) = acceptor.accept(3).unwrap();
    assert_eq!(from.ip(), dialler.ip());
    assert_eq!(events(&mut acceptor), [], "an accepted socket caused an event before it was registered");
    acceptor.attach(raw_link(), socket).unwrap();
    assert_eq!(events(&mut acceptor), event(true, true, false));
    assert_eq!(events(&mut acceptor), [], "an arrival was reported twice");
    assert_eq!(write(&mut dialler, b"late"), Ok(4));
    assert_eq!(events(&mut acceptor), event(true, true, false));
    assert_eq!(read(&mut acceptor, 100), Ok(b"earlylate".to_vec()));
    assert_eq!(read(&mut acceptor, 100), Err(ErrorKind::WouldBlock));
    assert!(!acceptor.has_events() && !dialler.has_events());
}

#[test]
fn room_is_reported_to_a_writer_that_was_refused_or_cut_short() {
    let (_world, mut dialler, mut acceptor) = pair(holding(10));
    assert_eq!(write(&mut dialler, &[1; 16]), Ok(10));
    assert_eq!(events(&mut dialler), []);
    assert_eq!(read(&mut acceptor, 4).unwrap().len(), 4);
    assert_eq!(events(&mut dialler), event(false, true, false));
    assert_eq!(read(&mut acceptor, 1).unwrap().len(), 1);
    assert_eq!(events(&mut dialler), [], "room was reported twice");
    assert_eq!(write(&mut dialler, &[1; 5]), Ok(5));
    assert_eq!(write(&mut dialler, &[1; 1]), Err(ErrorKind::WouldBlock));
    assert_eq!(read(&mut acceptor, 99).unwrap().len(), 10);
    assert_eq!(events(&mut dialler), event(false, true, false));
    assert_eq!(write(&mut dialler, &[1; 10]), Ok(10), "a write of exactly the free room was cut or refused");
    assert_eq!(read(&mut acceptor, 99).unwrap().len(), 10);
    assert_eq!(events(&mut dialler), [], "room was reported although no writer waited for it");
}

#[test]
fn the_end_follows_the_data_and_the_other_direction_stays_open() {
    let (_world, mut dialler, mut acceptor) = pair(Conditions::default());
    assert_eq!(write(&mut dialler, b"last"), Ok(4));
    dialler.shut_down_writing(raw_link());
    assert_eq!(write(&mut dialler, b"!"), Err(ErrorKind::BrokenPipe));
    assert_eq!(events(&mut acceptor), event(true, true, true), "one event does not report both the data and the end");
    assert_eq!(read(&mut acceptor, 4), Ok(b"last".to_vec()));
    assert_eq!(read(&mut acceptor, 4), Ok(vec![]));
    assert_eq!(write(&mut acceptor, b"answer"), Ok(6));
    assert_eq!(events(&mut dialler), event(true, true, false));
    assert_eq!(read(&mut dialler, 99), Ok(b"answer".to_vec()));
    acceptor.close(raw_link());
    assert_eq!(events(&mut dialler), event(true, true, true));
    assert_eq!(read(&mut dialler, 99), Ok(vec![]));
    assert_eq!(acceptor.open_connections(), 0);
}

#[test]
fn closing_with_unread_bytes_resets_the_connection() {
    let (_world, mut dialler, mut acceptor) = pair(Conditions::default());
    assert_eq!(write(&mut dialler, b"never read"), Ok(10));
    assert_eq!(write(&mut acceptor, b"lost"), Ok(4));
    acceptor.close(raw_link());
    assert_eq!(events(&mut dialler), event(true, true, true));
    assert_eq!(read(&mut dialler, 99), Err(ErrorKind::ConnectionReset));
    assert_eq!(read(&mut dialler, 99), Ok(vec![]), "the error was reported again, or the end was not");
    assert_eq!(write(&mut dialler, b"?"), Err(ErrorKind::BrokenPipe));
}

#[test]
fn a_write_to_a_closed_endpoint_causes_a_reset() {
    let (_world, mut dialler, mut acceptor) = pair(Conditions::default());
    acceptor.close(raw_link());
    assert_eq!(events(&mut dialler), event(true, true, true));
    assert_eq!(write(&mut dialler, b"anybody?"), Ok(8));
    assert_eq!(events(&mut dialler), event(true, true, true));
    assert_eq!(write(&mut dialler, b"anybody?"), Err(ErrorKind::ConnectionReset));
    assert_eq!(write(&mut dialler, b"anybody?"), Err(ErrorKind::BrokenPipe));
}

#[test]
fn arrivals_stop_at_each_cut_and_a_new_event_reports_the_rest() {
    let arrivals = Cut::At(vec![3, 4]);
    let to_acceptor = Cuts { arrivals, writes: Cut::None };
    let (_world, mut dialler, mut acceptor) = pair(Conditions { to_acceptor, ..Conditions::default() });
    assert_eq!(write(&mut dialler, b"abcdef"), Ok(6));
    dialler.shut_down_writing(raw_link());
    assert_eq!(events(&mut acceptor), event(true, true, false), "the end was reported early, or the data was not");
    assert_eq!(read(&mut acceptor, 2), Ok(b"ab".to_vec()));
    assert_eq!(events(&mut acceptor), [], "an event was reported after a read that filled its buffer");
    assert_eq!(read(&mut acceptor, 9), Ok(b"c".to_vec()));
    assert_eq!(events(&mut acceptor), event(true, true, false));
    assert_eq!(read(&mut acceptor, 9), Ok(b"d".to_vec()));
    assert_eq!(events(&mut acceptor), event(true, true, true));
    assert_eq!(read(&mut acceptor, 9), Ok(b"ef".to_vec()));
    assert_eq!(read(&mut acceptor, 9), Ok(vec![]));
}

#[test]
fn writes_stop_at_each_cut_until_the_next_event() {
    let to_acceptor = Cuts { writes: Cut::At(vec![3]), arrivals: Cut::None };
    let (_world, mut dialler, mut acceptor) = pair(Conditions { to_acceptor, ..Conditions::default() });
    let slices = [IoSlice::new(b"ab"), IoSlice::new(b"cd"), IoSlice::new(b"ef")];
    assert_eq!(dialler.write_gathered(raw_link(), &slices).unwrap(), 3);
    assert_eq!(write(&mut dialler, b"def"), Err(ErrorKind::WouldBlock));
    assert_eq!(events(&mut dialler), event(false, true, false));
    assert_eq!(write(&mut dialler, b"def"), Ok(3));
    assert_eq!(events(&mut dialler), []);
    assert_eq!(read(&mut acceptor, 9), Ok(b"abcdef".to_vec()));
}

#[test]
fn every_byte_arrives_in_order_despite_random_cuts() {
    let cuts = || Cuts { writes: Cut::Drawn, arrivals: Cut::Drawn };
    let conditions = Conditions { capacity_bytes: 50, to_acceptor: cuts(), to_dialler: cuts() };
    let (_world, mut dialler, mut acceptor) = pair(conditions);
    let bytes: Vec<u8> = (0..=255).cycle().take(5_000).collect();
    let (mut sent, mut received, mut calls) = (0, Vec::new(), 0);
    while received.len() < bytes.len() {
        calls += 1;
        assert!(calls < 100_000, "not all bytes have arrived after 100,000 rounds");
        sent += write(&mut dialler, &bytes[sent..]).unwrap_or(0);
        received.extend(read(&mut acceptor, 20).unwrap_or_default());
        events(&mut dialler);
    }
    assert_eq!(received, bytes);
}

#[test]
fn a_full_backlog_keeps_dials_pending_until_there_is_room() {
    let world = World::new(1, Instant::ZERO);
    world.set_backlog(1);
    let (mut dialler, mut acceptor) = (world.host(), world.host());
    let address = acceptor.listen(0, SocketAddr::new(acceptor.ip(), 1)).unwrap();
    let (first, second, third) = (LinkId::from_u64(0), LinkId::from_u64(1), LinkId::from_u64(2));
    for link in [first, second, third] {
        dialler.connect(link, address, None).unwrap();
    }
    assert_eq!(events(&mut dialler).len(), 1);
    assert!(dialler.connected(second).unwrap().is_none());
    dialler.close(second);
    let accepted = acceptor.accept(0).unwrap();
    assert_eq!(events(&mut dialler)[0].token, third.to_u64(), "the abandoned dial was not skipped");
    assert!(dialler.connected(third).unwrap().is_some());
    acceptor.close_listener(0);
    assert_eq!(dialler.read(third, &mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    drop(accepted);
    assert_eq!(dialler.read(first, &mut [0]).unwrap(), 0, "an accepted socket stayed open although it was dropped");
    dialler.connect(second, address, None).unwrap();
    assert_eq!(dialler.connected(second).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn an_address_has_at_most_one_listener() {
    let world = World::new(1, Instant::ZERO);
    let mut net = world.host();
    let address = SocketAddr::new(net.ip(), 1);
    net.listen(0, address).unwrap();
    assert_eq!(net.listen(1, address).unwrap_err().kind(), ErrorKind::AddrInUse);
    net.close_listener(0);
    assert!(net.listen(1, address).is_ok());
}

#[test]
fn a_dropped_host_closes_its_connections_and_listeners() {
    let (world, mut dialler, acceptor) = pair(Conditions::default());
    let address = SocketAddr::new(acceptor.ip(), 1);
    drop(acceptor);
    assert_eq!(read(&mut dialler, 9), Ok(vec![]));
    dialler.connect(LinkId::from_u64(1), address, None).unwrap();
    assert!(dialler.connected(LinkId::from_u64(1)).is_err());
    drop(world);
}

#[test]
fn two_wake_ups_are_reported_as_one_event() {
    let world = World::new(1, Instant::ZERO);
    let mut net = world.host();
    let waker = net.waker();
    waker.wake();
    waker.wake();
    assert!(net.has_events());
    assert_eq!(events(&mut net)[0].token, Token::Waker.to_u64());
    assert_eq!(events(&mut net), []);
}

#[test]
fn the_log_contains_the_bytes_and_the_failures() {
    let (world, mut dialler, mut acceptor) = pair(holding(3));
    let calls = world.trace().calls();
    assert_eq!(world.trace().log(), [], "the log is not empty although it was not requested");
    world.keep_log();
    write(&mut dialler, b"abcd").unwrap();
    write(&mut dialler, b"d").unwrap_err();
    read(&mut acceptor, 9).unwrap();
    let trace = world.trace();
    assert_eq!(trace.calls(), calls + 3);
    let write = |offered_bytes| Call::Write { link: raw_link(), offered_bytes };
    let entries: Vec<_> = trace.log().iter().map(|entry| (entry.call, entry.outcome, &entry.bytes[..])).collect();
    let blocked = Err(ErrorKind::WouldBlock);
    let read = Call::Read { link: raw_link(), room_bytes: 9 };
    assert_eq!(entries, [(write(4), Ok(3), &b"abc"[..]), (write(1), blocked, b""), (read, Ok(3), b"abc")]);
}

struct Restless(u64);

impl Actor for Restless {
    fn turn(&mut self) -> io::Result<bool> {
        self.0 += 1;
        Ok(true)
    }

    fn wait(&self) -> Wait {
        Wait::Zero
    }
}

#[test]
fn a_loop_that_never_rests_is_reported_as_a_livelock() {
    let world = World::new(1, Instant::from_nanos(5));
    let mut restless = Restless(0);
    let driver = Driver::new(&world).with_rounds_per_moment(1_000);
    let error = driver.run_until(Instant::MAX, &mut [&mut restless]).unwrap_err();
    assert!(matches!(error, RunError::Livelock { at, rounds: 1_000 } if at == Instant::from_nanos(5)));
    assert!(error.to_string().ends_with("a livelock"), "{error}");
    assert_eq!(restless.0, 1_000);
}

struct Metronome(u64);

impl Handler for Metronome {
    type Request = ();

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        ctx.wake_at(ctx.now());
    }

    fn on_wake(&mut self, ctx: &mut Ctx<'_>) {
        self.0 += 1;
        ctx.wake_at(ctx.now().plus(secs(1)));
    }
}

#[test]
fn time_passes_only_when_no_loop_has_work_and_never_beyond_the_end() {
    let world = World::new(1, Instant::ZERO);
    let mut metronome = Reactor::with_net(config(), world.host(), Metronome(0)).unwrap();
    let mut node = Node::new(&world, config(), Player::default());
    let driver = Driver::new(&world);
    let actors: &mut [&mut dyn Actor] = &mut [&mut metronome, &mut node.reactor];
    let until = Instant::ZERO.plus(secs(3_600 * 24));
    assert_eq!(driver.run_until(until, actors).unwrap(), RunOutcome::TimeOver);
    assert_eq!((world.now(), metronome.handler().0), (until, 86_401));
    let _raw = RawPeer::dialling(&world, node.address);
    let journal = std::rc::Rc::clone(&node.journal);
    let is_done = || journal.borrow().opened == 1;
    assert_eq!(driver.run(Instant::MAX, &mut [&mut node.reactor], is_done).unwrap(), RunOutcome::Done);
    assert_eq!(world.now(), until);
}
