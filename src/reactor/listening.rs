//! Where the loop accepts connections: the listeners that it has, and the addresses that it should have one at.
//!
//! Each address of [`ManagerConfig::listen`](crate::config::ManagerConfig::listen) has a listener or waits for one.
//! What cannot be bound is never fatal: the engine is told, and it is tried again, ever more slowly. A listener that
//! does nothing but fail is closed and becomes an address that waits. Every listener has an index of its own for ever,
//! so that an event that outlived its listener finds nobody.

use super::accept::{Listener, Place};
use crate::engine::Engine;
use crate::handler::Handler;
use crate::limits::{LISTEN_RETRY_FIRST, MAX_LISTEN_RETRY};
use crate::net::Net;
use crate::time::{Instant, Wait};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// The listeners, and the addresses that wait for one.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    pub(super) open: Vec<Listener>,
    waiting: Vec<Waiting>,
    /// What the configuration says, as far as the loop knows.
    configured: Vec<SocketAddr>,
    next_index: u32,
}

/// An address that waits for its listener.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    place: Place,
    retry_at: Instant,
    pause: Duration,
}

impl Listeners {
    pub(super) fn by_index(&mut self, index: u32) -> Option<&mut Listener> {
        self.open.iter_mut().find(|listener| listener.index == index)
    }

    /// Addresses that wait for a listener.
    #[cfg(feature = "sim")]
    pub(super) fn waiting_len(&self) -> usize {
        self.waiting.len()
    }

    /// How long there is nothing to accept or to bind.
    pub(super) fn wait(&self) -> Wait {
        if self.open.iter().any(Listener::is_due) {
            return Wait::Zero;
        }
        let accepts = self.open.iter().filter_map(Listener::retry_at);
        let binds = self.waiting.iter().map(|waiting| waiting.retry_at);
        accepts.chain(binds).min().map_or(Wait::Forever, Wait::Until)
    }

    fn has(&self, place: Place) -> bool {
        self.open.iter().any(|listener| listener.place == place)
            || self.waiting.iter().any(|waiting| waiting.place == place)
    }

    fn next_index(&mut self) -> u32 {
        let index = self.next_index;
        self.next_index = index.checked_add(1).expect("binding once a second takes 136 years to use up all indexes");
        index
    }

    /// Opens a listener at `address` and returns the address that it got.
    pub(super) fn listen<N: Net>(&mut self, address: SocketAddr, net: &mut N) -> io::Result<SocketAddr> {
        self.bind(Place { asked: address, is_configured: false }, net)
    }

    /// Takes over a listener that the embedder has opened and returns its address.
    pub(super) fn add<N: Net>(&mut self, listener: TcpListener, net: &mut N) -> io::Result<SocketAddr> {
        let index = self.next_index();
        let address = net.add_listener(index, listener)?;
        self.open.push(Listener::new(index, Place { asked: address, is_configured: false }, address));
        Ok(address)
    }

    /// Binds what is due and accepts at every listener; one that turns out to be broken is closed, and its address
    /// waits for a new one.
    pub(super) fn accept<N: Net, H: Handler>(&mut self, net: &mut N, engine: &mut Engine, handler: &mut H) {
        self.bind_due(net, engine);
        for listener in &mut self.open {
            listener.accept(net, engine, handler);
        }
        self.close_broken(net, engine);
    }

    /// Brings the listeners into line with the configuration: addresses that stay keep their sockets, others are
    /// closed, and new ones are bound, or wait if that fails.
    pub(super) fn follow_configuration<N: Net>(&mut self, net: &mut N, engine: &mut Engine) {
        let addresses = engine.config().manager.as_ref().map_or(&[][..], |manager| &manager.listen);
        if engine.is_stopping() || addresses == self.configured {
            return;
        }
        let wanted = addresses.to_vec();
        let is_obsolete = |place: Place| place.is_configured && !wanted.contains(&place.asked);
        // Old sockets are closed first: one address may cover another.
        for listener in self.open.extract_if(.., |listener| is_obsolete(listener.place)) {
            net.close_listener(listener.index);
            engine.listener_closed(listener.address);
        }
        self.waiting.retain(|waiting| !is_obsolete(waiting.place));
        for asked in &wanted {
            let place = Place { asked: *asked, is_configured: true };
            if !self.has(place) {
                self.bind_or_wait(place, LISTEN_RETRY_FIRST, net, engine);
            }
        }
        self.configured = wanted;
    }

    /// Closes all listeners for good.
    pub(super) fn close_all<N: Net>(&mut self, net: &mut N, engine: &mut Engine) {
        for listener in self.open.drain(..) {
            net.close_listener(listener.index);
            engine.listener_closed(listener.address);
        }
        self.waiting.clear();
    }

    /// Tries the addresses that have waited long enough.
    fn bind_due<N: Net>(&mut self, net: &mut N, engine: &mut Engine) {
        let now = engine.now();
        let due: Vec<Waiting> = self.waiting.extract_if(.., |waiting| waiting.retry_at <= now).collect();
        for Waiting { place, pause, .. } in due {
            self.bind_or_wait(place, (pause * 2).min(MAX_LISTEN_RETRY), net, engine);
        }
    }

    fn close_broken<N: Net>(&mut self, net: &mut N, engine: &mut Engine) {
        let broken: Vec<Listener> = self.open.extract_if(.., |listener| listener.broken.is_some()).collect();
        for Listener { index, place, address, broken, .. } in broken {
            net.close_listener(index);
            engine.listener_closed(address);
            // A port that the system chose is known to others by now, if the embedder has told them.
            let place = if place.is_configured { place } else { Place { asked: address, ..place } };
            if let Some(error) = broken {
                self.wait_to_bind(place, LISTEN_RETRY_FIRST, &error, engine);
            }
        }
    }

    fn bind_or_wait<N: Net>(&mut self, place: Place, pause: Duration, net: &mut N, engine: &mut Engine) {
        match self.bind(place, net) {
            Ok(address) => engine.listener_bound(address),
            Err(error) => self.wait_to_bind(place, pause, &error, engine),
        }
    }

    fn wait_to_bind(&mut self, place: Place, pause: Duration, error: &io::Error, engine: &mut Engine) {
        self.waiting.push(Waiting { place, retry_at: engine.now().plus(pause), pause });
        engine.listener_failed(place.asked, error, pause);
    }

    fn bind<N: Net>(&mut self, place: Place, net: &mut N) -> io::Result<SocketAddr> {
        let index = self.next_index();
        let address = net.listen(index, place.asked)?;
        self.open.push(Listener::new(index, place, address));
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, ManagerConfig};
    use crate::errno::{EADDRINUSE, EMFILE};
    use crate::id::LinkId;
    use crate::limits::LOG_PAUSES_INTERVAL;
    use crate::protocol::Network;
    use crate::reactor::Reactor;
    use crate::sim::{SimNet, Site, World};

    struct Idle;

    impl Handler for Idle {
        type Request = ();
    }

    fn here(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    fn manager(listen: &[SocketAddr]) -> Option<Box<ManagerConfig>> {
        Some(Box::new(ManagerConfig { listen: listen.to_vec(), ..ManagerConfig::new(Network::Regtest) }))
    }

    fn reactor(world: &World, listen: &[SocketAddr]) -> Reactor<SimNet, Idle> {
        let config = Config { seed: Some(1), manager: manager(listen), ..Config::new(Network::Regtest) };
        let mut reactor = Reactor::with_net(config, world.host(), Idle).unwrap();
        reactor.poll_once(Duration::ZERO).unwrap();
        reactor
    }

    fn reconfigure(reactor: &mut Reactor<SimNet, Idle>, listen: &[SocketAddr]) {
        let config = Config { manager: manager(listen), ..reactor.config().clone() };
        let update = reactor.handle().update_config(config).unwrap();
        reactor.poll_once(Duration::ZERO).unwrap();
        update.wait().unwrap().unwrap();
    }

    /// The open listeners, by index and address.
    fn open(reactor: &Reactor<SimNet, Idle>) -> Vec<(u32, SocketAddr)> {
        reactor.listeners.open.iter().map(|listener| (listener.index, listener.address)).collect()
    }

    #[test]
    fn req_e32_addresses_that_stay_keep_their_sockets_and_the_others_come_and_go() {
        let world = World::new(1, Instant::ZERO);
        let mut reactor = reactor(&world, &[here(1), here(0), here(3)]);
        let before = open(&reactor);
        assert_eq!(before.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1, 2]);
        let own = reactor.listen(here(9)).unwrap();
        reconfigure(&mut reactor, &[here(4), here(0), here(1)]);
        assert_eq!(open(&reactor), [before[0], before[1], (3, own), (4, here(4))]);
        assert_eq!(world.open_descriptors(0), 2 + 4, "the socket of the third is closed");
        reconfigure(&mut reactor, &[here(3)]);
        assert_eq!(open(&reactor), [(3, own), (5, here(3))], "no index is used twice");
        reconfigure(&mut reactor, &[]);
        assert_eq!(open(&reactor), [(3, own)], "what the embedder has opened is not the configuration's");
    }

    #[test]
    fn req_e32_an_address_that_waits_is_given_up_when_the_configuration_drops_it() {
        let world = World::new(1, Instant::ZERO);
        let mut reactor = reactor(&world, &[]);
        world.fail_sometimes(0, Site::Listen, EADDRINUSE, 1);
        reconfigure(&mut reactor, &[here(1), here(2)]);
        assert_eq!((open(&reactor), reactor.listeners.waiting.len()), (vec![], 2));
        reconfigure(&mut reactor, &[here(2)]);
        assert_eq!(reactor.stats().counters.listen_failures, 2, "who waits is not tried out of turn");
        world.clear_faults();
        world.advance(LISTEN_RETRY_FIRST);
        reactor.poll_once(Duration::ZERO).unwrap();
        assert_eq!((open(&reactor).len(), open(&reactor)[0].1), (1, here(2)));
        assert_eq!(reactor.listeners.wait(), Wait::Forever);
    }

    #[test]
    fn that_accepting_pauses_is_logged_once_a_minute_however_often_it_does() {
        const TICKS_PER_SECOND: u32 = 20;
        let world = World::new(1, Instant::ZERO);
        let mut reactor = reactor(&world, &[here(1)]);
        let mut stranger = world.host();
        let mut logged = Vec::new();
        for second in 0..150 {
            // In every other second there are descriptors, and one more connection that wants one.
            match second % 2 {
                0 => world.fail_sometimes(0, Site::Accept, EMFILE, 1),
                _ => world.clear_faults(),
            }
            stranger.connect(LinkId::new(second, 0), here(1), None).unwrap();
            for _ in 0..TICKS_PER_SECOND {
                world.advance(Duration::from_secs(1) / TICKS_PER_SECOND);
                reactor.poll_once(Duration::ZERO).unwrap();
                logged.extend(reactor.listeners.open[0].warned_at);
            }
        }
        logged.dedup();
        assert!(reactor.stats().counters.accept_pauses >= 75);
        assert_eq!(logged.len(), 3);
        assert!(logged.windows(2).all(|two| two[1].since(two[0]) >= LOG_PAUSES_INTERVAL));
    }

    #[test]
    fn an_event_that_outlived_its_listener_finds_nobody() {
        let world = World::new(1, Instant::ZERO);
        let mut reactor = reactor(&world, &[here(1)]);
        reconfigure(&mut reactor, &[here(2)]);
        assert!(reactor.listeners.by_index(0).is_none());
        assert!(reactor.listeners.by_index(1).is_some());
    }
}
