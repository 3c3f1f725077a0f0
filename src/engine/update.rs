//! A new configuration for a running loop.
//!
//! The configuration is applied between two requests in a turn, as a whole or not at all. Most settings are read
//! where they are needed, so they apply at once. Derived values are recomputed, and a walk over the links (see
//! [`rearming`](super::rearming)) updates the timers. A lowered limit never closes a connection. If a banned host is
//! no longer trusted, its connections are closed.

use super::greeting::HandshakeFrames;
use super::{Engine, framer_rules};
use crate::api::ControlEvent;
use crate::config::{Config, ConfigChange, Field, UpdateError};
use crate::state::LoopState;

impl Engine {
    /// Applies `config`, unless this is a dry run, and returns the changes.
    pub(super) fn update_config(&mut self, config: Config, dry_run: bool) -> Result<Vec<ConfigChange>, UpdateError> {
        let changes = self.state.config.changes_to(&config)?;
        if dry_run || changes.is_empty() {
            return Ok(changes);
        }
        let max_announced_bytes = self.rules.limits.max_message_bytes;
        self.rules = framer_rules(&config);
        // Peers may continue to use a higher limit that was announced to them.
        let limit = &mut self.rules.limits.max_message_bytes;
        *limit = max_announced_bytes.max(*limit);
        self.memory.set_gathered_max_bytes(config.max_buffered_total_bytes);
        self.frames = HandshakeFrames::new(&config);
        if self.state.links.timeouts.update(&config, self.state.clocks.now()) {
            self.rearming.begin();
        }
        self.state.telemetry.measure_peers(config.measure_peers);
        self.state.config = config;
        self.config_updated(&changes);
        Ok(changes)
    }

    /// Reports the changes, passes the new configuration to the manager, and closes connections of banned hosts that
    /// are no longer trusted. The reactor updates the listeners.
    fn config_updated(&mut self, changes: &[ConfigChange]) {
        for change in changes {
            log::info!("configuration: {change}");
        }
        let fields = changes.iter().map(|change| change.field).collect();
        self.state.outbox.emit(ControlEvent::ConfigUpdated { fields });
        let LoopState { manager, config, clocks, .. } = &mut self.state;
        if let (Some(manager), Some(config)) = (manager, &config.manager) {
            manager.reconfigure(config, clocks.moment());
        }
        if changes.iter().any(|change| change.field == Field::Trusted)
            && let Ok(bans) = self.state.bans()
        {
            self.state.close_banned(&bans);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::NoHandler;
    use crate::config::ManagerConfig;
    use crate::id::LinkId;
    use crate::limits::EXPIRIES_PER_TURN;
    use crate::link::row::Link;
    use crate::protocol::Network;
    use crate::time::{Instant, Wait};
    use crate::wheel::tick_at_or_after;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Duration;

    fn config() -> Config {
        Config::new(Network::Regtest)
    }

    fn engine() -> Engine {
        Engine::new(config(), StdRng::seed_from_u64(1), Arc::new(Instant::ZERO))
    }

    #[test]
    fn each_turn_rearms_a_bounded_number_of_timers_after_an_update() {
        const LINKS: usize = 2 * EXPIRIES_PER_TURN + 1;
        let mut engine = engine();
        let ids: Vec<LinkId> =
            (0..LINKS).map(|_| engine.accept(([192, 0, 2, 1], 8_333).into()).expect("there is room")).collect();
        ids.iter().for_each(|id| engine.handshake(*id).tcp_connected(&mut NoHandler));
        let sooner = Duration::from_secs(3);
        let tick = tick_at_or_after(Instant::ZERO.plus(sooner));
        let followed = |engine: &Engine| {
            ids.iter().filter(|id| engine.state.links.wheel.armed_tick(id.slot() as u32) == Some(tick)).count()
        };
        let changes = engine.update_config(Config { handshake_timeout: sooner, ..config() }, false);
        assert_eq!(changes.map(|changes| changes.len()), Ok(1));
        engine.dispatch_control_events(&mut NoHandler);
        for turn in 0..3 {
            assert_eq!(followed(&engine), turn * EXPIRIES_PER_TURN);
            assert_eq!(engine.wait(), Wait::Zero, "the loop waits although some timers are not rearmed yet");
            engine.rearm_after_update();
        }
        assert_eq!(followed(&engine), LINKS);
        assert_eq!(engine.wait(), Wait::Until(Instant::ZERO.plus(sooner)));
    }

    #[test]
    fn a_new_pong_timeout_applies_before_the_timer_is_rearmed() {
        let mut engine = Engine::new(
            Config { pong_timeout: Duration::from_secs(1), ..config() },
            StdRng::seed_from_u64(1),
            Arc::new(Instant::ZERO),
        );
        let id = engine.accept(([192, 0, 2, 1], 8_333).into()).expect("there is room");
        engine.handshake(id).tcp_connected(&mut NoHandler);
        let link = engine.state.links.table.get_mut(id).expect("the link is live");
        assert!(link.peer.ping_pong_mut().record_ping(1, Instant::ZERO));
        let late = Instant::ZERO.plus(Duration::from_secs(1));
        engine.state.clocks.advance(late);
        engine.state.clocks.input_seen_until = late;
        engine.update_config(config(), false).expect("the configuration may change");
        engine.timer_due(id.slot() as u32);
        assert_eq!(engine.state.links.table.get(id).map(Link::is_open), Some(true));
        engine
            .update_config(Config { pong_timeout: Duration::from_secs(1), ..config() }, false)
            .expect("the configuration may change back");
        engine.timer_due(id.slot() as u32);
        assert_eq!(engine.state.links.table.get(id).map(Link::is_open), Some(false));
    }

    #[test]
    fn later_deadlines_need_no_walk_over_the_links_but_enabling_pings_does() {
        let mut engine = engine();
        engine.accept(([192, 0, 2, 1], 8_333).into()).expect("there is room");
        let Config { connect_timeout, handshake_timeout, ping_interval, .. } = config();
        let later = Config {
            connect_timeout: connect_timeout * 2,
            handshake_timeout: handshake_timeout * 2,
            ping_interval: ping_interval * 2,
            ..config()
        };
        assert_eq!(engine.update_config(later.clone(), false).map(|changes| changes.len()), Ok(3));
        assert!(!engine.rearming.is_under_way());
        let never = Config { ping_interval: Duration::ZERO, ..later.clone() };
        assert_eq!(engine.update_config(never, false).map(|changes| changes.len()), Ok(1));
        assert!(!engine.rearming.is_under_way());
        assert_eq!(engine.update_config(later, false).map(|changes| changes.len()), Ok(1));
        assert!(engine.rearming.is_under_way(), "no timer is being rearmed although pings may be due");
    }

    #[test]
    fn a_waiting_dial_has_no_deadline_and_uses_the_new_timeout_when_it_starts() {
        let mut engine = engine();
        let id = engine.state.connect(SocketAddr::from(([192, 0, 2, 1], 8_333))).expect("there is room");
        let sooner = Config { connect_timeout: Duration::from_millis(1), ..config() };
        engine.update_config(sooner, false).expect("the configuration may change");
        engine.rearm_after_update();
        assert_eq!(engine.state.links.wheel.armed_tick(id.slot() as u32), None);
        engine.state.clocks.advance(Instant::ZERO.plus(Duration::from_secs(9)));
        engine.connect_starting(id);
        let tick = tick_at_or_after(engine.state.clocks.now().plus(Duration::from_millis(1)));
        assert_eq!(engine.state.links.wheel.armed_tick(id.slot() as u32), Some(tick));
    }

    #[test]
    fn an_update_cannot_remove_the_manager() {
        let managed = Config { manager: Some(ManagerConfig::new(Network::Regtest)), ..config() };
        let mut engine = Engine::new(managed, StdRng::seed_from_u64(1), Arc::new(Instant::ZERO));
        for dry_run in [true, false] {
            let fields = vec![Field::Manager];
            assert_eq!(engine.update_config(config(), dry_run), Err(UpdateError::Fixed { fields }));
        }
        assert!(engine.state.manager.is_some() && engine.state.config.manager.is_some());
    }

    #[test]
    fn a_refused_update_or_a_dry_run_changes_nothing() {
        let mut engine = engine();
        let id = engine.accept(([192, 0, 2, 1], 8_333).into()).expect("there is room");
        engine.handshake(id).tcp_connected(&mut NoHandler);
        let good = Config { handshake_timeout: Duration::from_secs(1), max_message_bytes: 9_000_000, ..config() };
        let bad = Config { max_links: 0, ..good.clone() };
        let fixed = Config { network: Network::Mainnet, ..good.clone() };
        let managed = Config { manager: Some(ManagerConfig::new(Network::Regtest)), ..good.clone() };
        let before = format!("{engine:?}");
        assert_eq!(engine.update_config(good.clone(), true).map(|changes| changes.len()), Ok(2));
        assert!(engine.update_config(bad, false).is_err());
        assert!(engine.update_config(fixed, false).is_err());
        assert!(engine.update_config(managed, false).is_err(), "a running loop accepted a manager");
        assert_eq!(engine.update_config(config(), false), Ok(Vec::new()));
        assert_eq!(format!("{engine:?}"), before);
        assert!(engine.update_config(good, false).is_ok());
        assert_ne!(format!("{engine:?}"), before);
    }
}
