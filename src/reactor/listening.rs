//! The loop's listeners, and the addresses that wait for a listener.
//!
//! Each address of [`ManagerConfig::listen`](crate::config::ManagerConfig::listen) has a listener or waits for one. If
//! such an address cannot be bound, the failure is reported to the engine, and the bind is retried after growing
//! pauses. The failure never ends the loop. A broken listener is closed, and its address waits again. A listener's
//! index is never reused, so a late event of a closed listener has no effect.

use super::accept::{Listener, Origin};
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
    /// The addresses in the configuration that was applied last.
    configured: Vec<SocketAddr>,
    next_index: u32,
}

/// An address that waits for its listener.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    origin: Origin,
    retry_at: Instant,
    pause: Duration,
}

impl Listeners {
    pub(super) fn by_index(&mut self, index: u32) -> Option<&mut Listener> {
        self.open.iter_mut().find(|listener| listener.index == index)
    }

    /// Returns the number of addresses that wait for a listener.
    #[cfg(feature = "sim")]
    pub(super) fn waiting_len(&self) -> usize {
        self.waiting.len()
    }

    /// Returns when the next accept or bind is due.
    pub(super) fn wait(&self) -> Wait {
        if self.open.iter().any(Listener::is_due) {
            return Wait::Zero;
        }
        let accepts = self.open.iter().filter_map(Listener::retry_at);
        let binds = self.waiting.iter().map(|waiting| waiting.retry_at);
        accepts.chain(binds).min().map_or(Wait::Forever, Wait::Until)
    }

    fn has(&self, origin: Origin) -> bool {
        self.open.iter().any(|listener| listener.origin == origin)
            || self.waiting.iter().any(|waiting| waiting.origin == origin)
    }

    fn next_index(&mut self) -> u32 {
        let index = self.next_index;
        self.next_index = index.checked_add(1).expect("a loop tries fewer than 2^32 binds");
        index
    }

    /// Opens a listener on `address` and returns the bound address.
    pub(super) fn listen<N: Net>(&mut self, address: SocketAddr, net: &mut N) -> io::Result<SocketAddr> {
        self.bind(Origin { asked: address, is_configured: false }, net)
    }

    /// Adopts a listener that the embedder has opened, and returns its address.
    pub(super) fn add<N: Net>(&mut self, listener: TcpListener, net: &mut N) -> io::Result<SocketAddr> {
        let index = self.next_index();
        let address = net.add_listener(index, listener)?;
        self.open.push(Listener::new(index, Origin { asked: address, is_configured: false }, address));
        Ok(address)
    }

    /// Binds due addresses, and accepts connections on every due listener. A broken listener is closed, and its address
    /// waits for a new listener.
    pub(super) fn accept<N: Net, H: Handler>(&mut self, net: &mut N, engine: &mut Engine, handler: &mut H) {
        self.bind_due(net, engine);
        for listener in &mut self.open {
            listener.accept(net, engine, handler);
        }
        self.close_broken(net, engine);
    }

    /// Applies the configuration, unless the loop is stopping: sockets of kept addresses stay open, and sockets of
    /// removed addresses are closed. New addresses are bound; an address whose bind fails waits for a retry.
    pub(super) fn follow_configuration<N: Net>(&mut self, net: &mut N, engine: &mut Engine) {
        let addresses = engine.config().manager.as_ref().map_or(&[][..], |manager| &manager.listen);
        if engine.is_stopping() || addresses == self.configured {
            return;
        }
        let wanted = addresses.to_vec();
        let is_obsolete = |origin: Origin| origin.is_configured && !wanted.contains(&origin.asked);
        // Old sockets are closed first, because one address may cover another.
        for listener in self.open.extract_if(.., |listener| is_obsolete(listener.origin)) {
            net.close_listener(listener.index);
            engine.listener_closed(listener.address);
        }
        self.waiting.retain(|waiting| !is_obsolete(waiting.origin));
        for asked in &wanted {
            let origin = Origin { asked: *asked, is_configured: true };
            if !self.has(origin) {
                self.bind_or_wait(origin, LISTEN_RETRY_FIRST, net, engine);
            }
        }
        self.configured = wanted;
    }

    /// Closes all listeners, and drops the waiting addresses.
    pub(super) fn close_all<N: Net>(&mut self, net: &mut N, engine: &mut Engine) {
        for listener in self.open.drain(..) {
            net.close_listener(listener.index);
            engine.listener_closed(listener.address);
        }
        self.waiting.clear();
    }

    /// Binds the waiting addresses that are due.
    fn bind_due<N: Net>(&mut self, net: &mut N, engine: &mut Engine) {
        let now = engine.now();
        let due: Vec<Waiting> = self.waiting.extract_if(.., |waiting| waiting.retry_at <= now).collect();
        for Waiting { origin, pause, .. } in due {
            self.bind_or_wait(origin, (pause * 2).min(MAX_LISTEN_RETRY), net, engine);
        }
    }

    fn close_broken<N: Net>(&mut self, net: &mut N, engine: &mut Engine) {
        let broken: Vec<Listener> = self.open.extract_if(.., |listener| listener.broken.is_some()).collect();
        for Listener { index, origin, address, broken, .. } in broken {
            net.close_listener(index);
            engine.listener_closed(address);
            // The embedder may have published a port that the system chose, so the same port is bound again.
            let origin = if origin.is_configured { origin } else { Origin { asked: address, ..origin } };
            if let Some(error) = broken {
                self.wait_to_bind(origin, LISTEN_RETRY_FIRST, &error, engine);
            }
        }
    }

    fn bind_or_wait<N: Net>(&mut self, origin: Origin, pause: Duration, net: &mut N, engine: &mut Engine) {
        match self.bind(origin, net) {
            Ok(address) => engine.listener_bound(address),
            Err(error) => self.wait_to_bind(origin, pause, &error, engine),
        }
    }

    fn wait_to_bind(&mut self, origin: Origin, pause: Duration, error: &io::Error, engine: &mut Engine) {
        self.waiting.push(Waiting { origin, retry_at: engine.now().plus(pause), pause });
        engine.listener_failed(origin.asked, error, pause);
    }

    fn bind<N: Net>(&mut self, origin: Origin, net: &mut N) -> io::Result<SocketAddr> {
        let index = self.next_index();
        let address = net.listen(index, origin.asked)?;
        self.open.push(Listener::new(index, origin, address));
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

    fn manager(listen: &[SocketAddr]) -> Option<ManagerConfig> {
        Some(ManagerConfig { listen: listen.to_vec(), ..ManagerConfig::new(Network::Regtest) })
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

    /// Returns each open listener's index and address.
    fn open(reactor: &Reactor<SimNet, Idle>) -> Vec<(u32, SocketAddr)> {
        reactor.listeners.open.iter().map(|listener| (listener.index, listener.address)).collect()
    }

    #[test]
    fn req_e32_kept_addresses_keep_their_sockets_when_others_are_added_and_removed() {
        let world = World::new(1, Instant::ZERO);
        let mut reactor = reactor(&world, &[here(1), here(0), here(3)]);
        let before = open(&reactor);
        assert_eq!(before.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1, 2]);
        let own = reactor.listen(here(9)).unwrap();
        reconfigure(&mut reactor, &[here(4), here(0), here(1)]);
        assert_eq!(open(&reactor), [before[0], before[1], (3, own), (4, here(4))]);
        assert_eq!(world.open_descriptors(0), 2 + 4, "the third address's socket is still open, or another was closed");
        reconfigure(&mut reactor, &[here(3)]);
        assert_eq!(open(&reactor), [(3, own), (5, here(3))], "an index was reused, or the wrong listeners are open");
        reconfigure(&mut reactor, &[]);
        assert_eq!(open(&reactor), [(3, own)], "the embedder's listener was closed, or another one is open");
    }

    #[test]
    fn req_e32_a_waiting_address_is_dropped_when_the_configuration_removes_it() {
        let world = World::new(1, Instant::ZERO);
        let mut reactor = reactor(&world, &[]);
        world.fail_sometimes(0, Site::Listen, EADDRINUSE, 1);
        reconfigure(&mut reactor, &[here(1), here(2)]);
        assert_eq!((open(&reactor), reactor.listeners.waiting.len()), (vec![], 2));
        reconfigure(&mut reactor, &[here(2)]);
        assert_eq!(reactor.stats().counters.listen_failures, 2, "a waiting address was tried early");
        world.clear_faults();
        world.advance(LISTEN_RETRY_FIRST);
        reactor.poll_once(Duration::ZERO).unwrap();
        assert_eq!((open(&reactor).len(), open(&reactor)[0].1), (1, here(2)));
        assert_eq!(reactor.listeners.wait(), Wait::Forever);
    }

    #[test]
    fn accept_pauses_are_logged_at_most_once_a_minute() {
        const TICKS_PER_SECOND: u32 = 20;
        let world = World::new(1, Instant::ZERO);
        let mut reactor = reactor(&world, &[here(1)]);
        let mut stranger = world.host();
        let mut logged = Vec::new();
        for second in 0..150 {
            // Every other second, descriptors are free. Each second, one more connection needs a descriptor.
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
    fn the_index_of_a_closed_listener_identifies_no_listener() {
        let world = World::new(1, Instant::ZERO);
        let mut reactor = reactor(&world, &[here(1)]);
        reconfigure(&mut reactor, &[here(2)]);
        assert!(reactor.listeners.by_index(0).is_none());
        assert!(reactor.listeners.by_index(1).is_some());
    }
}
