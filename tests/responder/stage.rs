//! A responder, on whose loop every invariant is checked, and a loop with any number of peers that ask it for things.

use peerloop::api::{ChecksumVerdict, Chunk, Delivery, Event, Frame};
use peerloop::error::CloseReason;
use peerloop::load::{Responder, ResponderConfig, ResponderCounts};
use peerloop::protocol::CommandName;
use peerloop::sim::invariant::Checked;
use peerloop::sim::{Actor, Driver, RunOutcome, SimNet, World};
use peerloop::time::Instant;
use peerloop::wire::{
    BlockHeader, BlockStreamEvent, BlockStreamParser, Hash256, Header, HeadersRef, Inventory, InventoryItem, Locator,
    MessageRef, StreamedBlock, Tx, TxOutRef,
};
use peerloop::{Config, Ctx, Handler, Network, PeerId, Reactor};
use std::net::SocketAddr;
use std::time::Duration;

/// A message, or a pong, that arrived from the responder.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    /// The peer's position in the order of the dials.
    pub(crate) peer: usize,
    pub(crate) command: CommandName,
    pub(crate) payload: Vec<u8>,
}

/// A block that arrived.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedBlock {
    pub(crate) peer: usize,
    pub(crate) block: StreamedBlock,
    pub(crate) checksum: ChecksumVerdict,
}

/// The handler of the peers that ask.
#[derive(Default)]
pub(crate) struct Asker {
    dials: Vec<SocketAddr>,
    pub(crate) peers: Vec<PeerId>,
    pub(crate) ready: Vec<Instant>,
    pub(crate) arrivals: Vec<Arrival>,
    /// The planned and the received moment of each answered ping.
    pub(crate) pongs: Vec<(Instant, Instant)>,
    pub(crate) blocks: Vec<ReceivedBlock>,
    /// The headers of arriving blocks.
    pub(crate) block_headers: Vec<Header>,
    parsers: Vec<BlockStreamParser>,
    pub(crate) closed: Vec<(usize, Instant, CloseReason)>,
}

impl Asker {
    fn index(&self, peer: PeerId) -> usize {
        self.peers.iter().position(|of| *of == peer).unwrap()
    }
}

impl Handler for Asker {
    type Request = ();

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        self.peers = self.dials.iter().map(|address| ctx.connect(*address).unwrap()).collect();
        self.parsers = vec![BlockStreamParser::new(); self.peers.len()];
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        match event {
            Event::Ready { .. } => self.ready.push(ctx.now()),
            Event::Pong { planned, received, .. } => self.pongs.push((planned, received)),
            Event::Closed { reason, .. } => self.closed.push((self.index(peer), ctx.now(), reason)),
            _ => {}
        }
    }

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, header: &Header) -> Delivery {
        match header.command {
            CommandName::BLOCK => {
                self.block_headers.push(*header);
                Delivery::Chunks
            }
            _ => Delivery::Buffer,
        }
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
        let (command, payload) = (frame.command(), frame.payload().to_vec());
        self.arrivals.push(Arrival { at: ctx.now(), peer: self.index(peer), command, payload });
    }

    fn on_chunk(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, chunk: Chunk<'_>) {
        let (index, mut unread) = (self.index(peer), chunk.bytes());
        while let Some(event) = self.parsers[index].advance(&mut unread).unwrap() {
            if let BlockStreamEvent::End(block) = event {
                let checksum = chunk.last().expect("the block ends with its payload");
                self.blocks.push(ReceivedBlock { peer: index, block, checksum });
                self.parsers[index] = BlockStreamParser::new();
                let (at, command) = (ctx.now(), CommandName::BLOCK);
                self.arrivals.push(Arrival { at, peer: index, command, payload: Vec::new() });
            }
        }
    }
}

pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) node: Checked<Responder>,
    pub(crate) asker: Reactor<SimNet, Asker>,
}

impl Stage {
    /// Returns a responder with `peers` ready peers.
    pub(crate) fn new(config: ResponderConfig, peers: usize) -> Self {
        Self::on(World::new(5, Instant::from_nanos(77)), config, peers, |config| config)
    }

    /// Returns a responder with `peers` ready peers in this world; `change` changes the configuration of the peers'
    /// loop.
    pub(crate) fn on(
        world: World,
        config: ResponderConfig,
        peers: usize,
        change: impl FnOnce(Config) -> Config,
    ) -> Self {
        Self::with_seeds(world, config, peers, change, 11)
    }

    pub(crate) fn with_seeds(
        world: World,
        config: ResponderConfig,
        peers: usize,
        change: impl FnOnce(Config) -> Config,
        node_seed: u64,
    ) -> Self {
        let node_config = config.loop_config(quiet()).with_seed(Some(node_seed));
        let mut node = Checked::new(&world, world.host(), node_config, Responder::new(config)).unwrap();
        let address = node.listen(SocketAddr::new(node.net().ip(), 18_444)).unwrap();
        let asker = Asker { dials: vec![address; peers], ..Asker::default() };
        let asker = Reactor::with_net(change(quiet()).with_seed(Some(12)), world.host(), asker).unwrap();
        let mut stage = Self { world, node, asker };
        stage.run_for(Duration::ZERO);
        assert_eq!(stage.asker.handler().ready.len(), peers);
        stage
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let until = self.world.now().plus(time);
        let actors: &mut [&mut dyn Actor] = &mut [&mut self.asker, &mut self.node];
        assert_eq!(Driver::new(&self.world).run_until(until, actors).unwrap(), RunOutcome::TimeOver);
    }

    /// Sends a message from a peer at this moment.
    pub(crate) fn send(&mut self, peer: usize, message: &MessageRef<'_>) {
        self.asker.act(|asker, ctx| ctx.send(asker.peers[peer], message)).unwrap();
    }

    /// Sends a ping from a peer at this moment.
    pub(crate) fn ping(&mut self, peer: usize) {
        self.asker.act(|asker, ctx| ctx.ping(asker.peers[peer], ctx.now())).unwrap();
    }

    pub(crate) fn get(&mut self, peer: usize, items: &[InventoryItem]) {
        self.send(peer, &MessageRef::GetData(Inventory::from_items(items.iter().copied()).as_ref()));
    }

    pub(crate) fn announce(&mut self, peer: usize, items: &[InventoryItem]) {
        self.send(peer, &MessageRef::Inv(Inventory::from_items(items.iter().copied()).as_ref()));
    }

    pub(crate) fn get_headers(&mut self, peer: usize, after: Hash256) {
        let locator = Locator::from_hashes(70_016, [after], Hash256::ZERO);
        self.send(peer, &MessageRef::GetHeaders(locator.as_ref()));
    }

    /// Returns the hashes of the chain's first blocks after the genesis block, which a peer requests.
    pub(crate) fn block_hashes(&mut self, peer: usize) -> Vec<Hash256> {
        self.get_headers(peer, genesis());
        self.run_for(Duration::ZERO);
        let arrival = self.asker.handler_mut().arrivals.pop().unwrap();
        assert_eq!(arrival.command, CommandName::HEADERS);
        HeadersRef::decode(&arrival.payload).unwrap().iter().map(|item| item.header.hash()).collect()
    }

    /// Removes and returns everything that has arrived, without the moments.
    pub(crate) fn arrived(&mut self) -> Vec<(usize, CommandName, Vec<u8>)> {
        let arrivals = std::mem::take(&mut self.asker.handler_mut().arrivals);
        arrivals.into_iter().map(|arrival| (arrival.peer, arrival.command, arrival.payload)).collect()
    }

    pub(crate) fn counts(&self) -> ResponderCounts {
        let stats = self.node.stats();
        self.node.handler().snapshot(stats.ready, &stats.counters).counts
    }

    pub(crate) fn now(&self) -> Instant {
        self.world.now()
    }
}

impl Drop for Stage {
    /// Checks that every invariant held.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.node.sweep();
            assert_eq!(self.node.violations(), []);
        }
    }
}

/// Returns the configuration of a loop without pings of its own.
fn quiet() -> Config {
    Config::new(Network::Regtest).with_ping_interval(Duration::ZERO).with_pong_timeout(Duration::from_secs(100_000))
}

pub(crate) fn genesis() -> Hash256 {
    BlockHeader::genesis_of(Network::Regtest).hash()
}

/// Returns a transaction of about `len` bytes.
pub(crate) fn tx(number: u32, len: usize) -> Tx {
    Tx::from_parts(1, &[], &[TxOutRef { value: 1, script: &vec![0x51; len] }], number)
}

pub(crate) fn unknown(number: u8) -> InventoryItem {
    InventoryItem::tx(Hash256::from_bytes([number; 32]))
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn encoded(items: &[InventoryItem]) -> Vec<u8> {
    let mut payload = Vec::new();
    Inventory::from_items(items.iter().copied()).as_ref().encode(&mut payload);
    payload
}
