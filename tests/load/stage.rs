//! A generator and the node that it tests under load, in one virtual world.

use peerloop::api::Pending;
use peerloop::load::{
    self, Generator, GeneratorRequest, Plan, Progress, Rate, Report, Responder, ResponderConfig, Workload,
};
use peerloop::sim::{Actor, Driver, RunOutcome, SimNet, World};
use peerloop::time::Instant;
use peerloop::{Config, Network, Reactor};
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) const RATE: u64 = 100;

pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) node: Reactor<SimNet, Responder>,
    pub(crate) generator: Reactor<SimNet, Generator>,
}

/// Returns a plan of ten peers and a hundred pings a second. The warm-up lasts one second, the run ten seconds, and the
/// drain at most two seconds.
pub(crate) fn plan(target: SocketAddr) -> Plan {
    Plan::new(vec![target], 10, Rate::per_second(20))
        .with_rate(Rate::per_second(RATE), Duration::from_secs(10))
        .with_warmup(Duration::from_secs(1))
        .with_drain(Duration::from_secs(2))
}

/// Gives a plan a constant rate for its whole duration.
pub(crate) fn set_rate(plan: &mut Plan, rate: Rate) {
    plan.stages = vec![load::Stage::constant(rate, plan.duration())];
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(crate) fn with(change: impl FnOnce(&mut Plan)) -> Self {
        Self::on(config().with_max_links(1_000), change)
    }

    /// Returns a stage whose node has this configuration.
    pub(crate) fn on(node_config: Config, change: impl FnOnce(&mut Plan)) -> Self {
        Self::between(node_config, config(), change)
    }

    /// Returns a stage with these configurations of the node and of the generator.
    pub(crate) fn between(node_config: Config, own_config: Config, change: impl FnOnce(&mut Plan)) -> Self {
        Self::build(node_config, own_config, change, |generator| generator)
    }

    /// Returns a stage with these configurations, whose generator is changed before it starts.
    pub(crate) fn build(
        node_config: Config,
        own_config: Config,
        change: impl FnOnce(&mut Plan),
        equip: impl FnOnce(Generator) -> Generator,
    ) -> Self {
        Self::against(Responder::default(), node_config, own_config, change, equip)
    }

    /// Returns a stage whose generator has this workload, against a responder with these settings.
    pub(crate) fn of(
        workload: Box<dyn Workload>,
        node: ResponderConfig,
        change: impl FnOnce(&mut Plan),
        equip: impl FnOnce(Generator) -> Generator,
    ) -> Self {
        let node_config = node.loop_config(config());
        let equip = |generator| equip(generator).with_workload(workload);
        Self::against(Responder::new(node), node_config, config(), change, equip)
    }

    fn against(
        responder: Responder,
        node_config: Config,
        own_config: Config,
        change: impl FnOnce(&mut Plan),
        equip: impl FnOnce(Generator) -> Generator,
    ) -> Self {
        let world = World::new(7, Instant::from_nanos(123_456_789));
        let mut node = Reactor::with_net(node_config, world.host(), responder).unwrap();
        let address = SocketAddr::new(node.net().ip(), 18_444);
        node.listen(address).unwrap();
        let mut plan = plan(address);
        change(&mut plan);
        let generator = equip(Generator::new(plan));
        let generator = Reactor::with_net(own_config, world.host(), generator).unwrap();
        Self { world, node, generator }
    }

    pub(crate) fn run_for(&mut self, time: Duration) -> RunOutcome {
        let actors: &mut [&mut dyn Actor] = &mut [&mut self.generator, &mut self.node];
        Driver::new(&self.world).run_until(self.world.now().plus(time), actors).unwrap()
    }

    /// Advances the time while neither loop runs. The generator is late afterwards, as if its thread had been denied
    /// the CPU.
    pub(crate) fn stall_generator(&self, time: Duration) {
        self.world.advance(time);
    }

    /// Runs the generator for this time, while the node's loop does not run.
    pub(crate) fn stall_node(&mut self, time: Duration) {
        let until = self.world.now().plus(time);
        Driver::new(&self.world).run_until(until, &mut [&mut self.generator]).unwrap();
    }

    /// Runs the node until it has nothing to do, while the generator's loop does not run.
    pub(crate) fn run_node(&mut self) {
        Driver::new(&self.world).run_until(self.world.now(), &mut [&mut self.node]).unwrap();
    }

    /// Runs for this time with a node whose loop runs once per millisecond, so that a reply needs up to a millisecond.
    pub(crate) fn run_with_slow_node(&mut self, millis: u64) {
        for _ in 0..millis {
            self.stall_node(Duration::from_millis(1));
            self.run_node();
        }
    }

    pub(crate) fn request(&self, request: GeneratorRequest) {
        self.generator.handle().request(request).unwrap();
    }

    pub(crate) fn progress(&mut self) -> Progress {
        let (reply, pending) = Pending::new();
        self.request(GeneratorRequest::Progress(reply));
        self.run_for(Duration::ZERO);
        pending.wait().unwrap()
    }

    /// Runs both loops for a minute and returns the report. Asserts that the generator has closed all its peers.
    pub(crate) fn finish(mut self) -> Report {
        let driver = Driver::new(&self.world);
        let until = self.world.now().plus(Duration::from_secs(60));
        let actors: &mut [&mut dyn Actor] = &mut [&mut self.generator, &mut self.node];
        driver.run_until(until, actors).unwrap();
        assert_eq!(self.generator.stats().links, 0, "the generator still has peers");
        self.generator.into_handler().into_report()
    }
}

pub(crate) fn config() -> Config {
    let pong_timeout = Duration::from_secs(200);
    Config::new(Network::Regtest).with_seed(Some(11)).with_ping_interval(Duration::ZERO).with_pong_timeout(pong_timeout)
}
