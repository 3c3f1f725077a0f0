//! Log lines of a loop. A process has only one logger, so these tests have a process of their own.

#![allow(clippy::disallowed_methods, reason = "the test limits how long it waits")]

use log::{Level, LevelFilter, Metadata, Record};
use peerloop::{Config, Ctx, Handler, Network, Reactor};
use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::time::{Duration, Instant};

static LINES: Mutex<Vec<(Level, String, String)>> = Mutex::new(Vec::new());

struct Recorder;

impl log::Log for Recorder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = (record.level(), record.target().to_owned(), record.args().to_string());
        LINES.lock().expect("no test panics while it holds the lock").push(line);
    }

    fn flush(&self) {}
}

/// A handler that dials all its addresses at the start.
struct Dialler(Vec<SocketAddr>);

impl Handler for Dialler {
    type Request = ();

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        for address in &self.0 {
            ctx.connect(*address).expect("the table has room");
        }
    }
}

fn lines_of(event: &str) -> Vec<(Level, String)> {
    let prefix = format!("event={event} ");
    let lines = LINES.lock().expect("no test panics while it holds the lock");
    lines
        .iter()
        .filter(|(_, _, line)| line.starts_with(&prefix))
        .map(|(level, _, line)| (*level, line.clone()))
        .collect()
}

/// Starts recording. Changes nothing if another test of this process has already started it.
fn record() {
    let _ = log::set_logger(&Recorder);
    log::set_max_level(LevelFilter::Debug);
}

#[test]
fn req_e46_handshakes_and_failed_dials_are_logged_and_the_lines_of_many_failures_are_limited() {
    const FAILURES: usize = 200;
    record();
    let config = || Config::new(Network::Regtest).with_seed(Some(7));
    let mut node = Reactor::new(config(), Dialler(Vec::new())).expect("the kernel provides a poller");
    let address = node.listen(([127, 0, 0, 1], 0).into()).expect("a loopback port is free");
    let deserted = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    let mut dials = vec![deserted.expect("a loopback port is free"); FAILURES];
    dials.insert(0, address);
    let mut dialler = Reactor::new(config(), Dialler(dials)).expect("the kernel provides a poller");
    let began = Instant::now();
    let is_done = |dialler: &Reactor<_, Dialler>, node: &Reactor<_, Dialler>| {
        dialler.stats().counters.closed == FAILURES as u64 && dialler.stats().ready + node.stats().ready == 2
    };
    while !is_done(&dialler, &node) {
        assert!(began.elapsed() < Duration::from_secs(60), "some dials neither failed nor succeeded within a minute");
        dialler.poll_once(Duration::ZERO).expect("the poller works");
        node.poll_once(Duration::ZERO).expect("the poller works");
    }

    let ready = lines_of("handshake_complete");
    let wanted = format!("peer_id=0.0 peer_address={address} connection_type=outbound state=connected");
    assert!(ready.iter().any(|(level, line)| *level == Level::Info && line.contains(&wanted)), "{ready:?}");
    assert!(ready.iter().any(|(_, line)| line.contains("connection_type=inbound")), "{ready:?}");
    let failed = lines_of("connection_failed");
    let seconds = began.elapsed().as_secs() as usize + 1;
    assert!((20..=20 + seconds).contains(&failed.len()), "{} lines in {seconds} s", failed.len());
    for (level, line) in &failed {
        assert_eq!(*level, Level::Warn);
        assert!(line.contains("state=connecting error=\"connecting failed: "), "{line}");
        assert!(
            line.contains(" next_dial=unplanned network=regtest"),
            "the line does not report `next_dial=unplanned`, although there is no manager: {line}"
        );
    }
    assert!(lines_of("connection_established").iter().all(|(level, _)| *level == Level::Debug));

    drop(dialler);
    let all = lines_of("connection_failed");
    let suppressed = |(_, line): &(Level, String)| line.split_once(" suppressed=")?.1.parse::<usize>().ok();
    let (level, last) = all.last().expect("lines were logged");
    assert!(*level == Level::Warn && last.starts_with("event=connection_failed network=regtest suppressed="), "{last}");
    assert_eq!(all.len(), failed.len() + 1, "the suppressed lines were not counted in one line at the end");
    assert_eq!(
        failed.len() + all.iter().filter_map(suppressed).sum::<usize>(),
        FAILURES,
        "the logged and the suppressed lines do not add up to the failures"
    );
    assert!(
        LINES.lock().expect("no test panics while it holds the lock").iter().all(|(_, target, _)| target == "peerloop")
    );
}

/// Later pauses are logged too. If only the first pause were logged, the log would hide the cause of a later pause.
#[cfg(feature = "sim")]
#[test]
fn a_paused_listener_is_logged_every_minute_with_its_address_and_error() {
    use peerloop::internals::errno::EMFILE;
    use peerloop::internals::limits::LOG_PAUSES_INTERVAL;
    use peerloop::sim::{Site, World};

    record();
    let world = World::new(1, peerloop::time::Instant::ZERO);
    let config = Config::new(Network::Regtest).with_seed(Some(7));
    let mut reactor = Reactor::with_net(config, world.host(), Dialler(Vec::new())).expect("the configuration is valid");
    reactor.listen(([10, 0, 0, 1], 18_444).into()).expect("no other socket listens there");
    world.fail_sometimes(0, Site::Accept, EMFILE, 1);
    for _ in 0..3 {
        reactor.poll_once(Duration::ZERO).expect("the poller works");
        world.advance(LOG_PAUSES_INTERVAL);
    }
    let lines = lines_of("accept_paused");
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (level, line) in &lines {
        assert_eq!(*level, Level::Warn);
        assert!(line.starts_with("event=accept_paused listen_address=10.0.0.1:18444 error=\""), "{line}");
        assert!(line.ends_with("\" network=regtest"), "{line}");
    }
}

#[test]
fn a_header_anchor_of_another_network_is_logged_and_ignored() {
    use peerloop::relay::{AnchorSource, HeaderAnchor, Relay, RelayConfig};

    record();
    let anchor = AnchorSource::Given(HeaderAnchor::genesis_of_regtest());
    let settings = RelayConfig::new(Vec::new()).with_anchor(anchor);
    for (network, lines) in [(Network::Regtest, 0), (Network::Testnet, 1)] {
        let relay = Relay::new(settings.clone());
        let mut reactor = Reactor::new(Config::new(network), relay).expect("the configuration is valid");
        reactor.poll_once(Duration::ZERO).expect("the poller works");
        assert_eq!(lines_of("header_anchor_ignored").len(), lines);
        assert_eq!(reactor.handler().stats().tip_height.is_some(), network == Network::Regtest);
    }
    let line = "event=header_anchor_ignored anchor_network=regtest network=testnet".to_owned();
    assert_eq!(lines_of("header_anchor_ignored"), [(Level::Warn, line)]);
}
