//! The text that describes a scenario, its troops and the kinds of its peers.
//!
//! A report of a violation includes this text. It has everything that was drawn, one feature on each line.

use super::scenario::{Kind, Scenario, Troop, attack_at};
use super::scripted_attacker::{MESSAGES, ROWS, Row};
use peerloop::sim::actor::byzantine::Attack;
use std::fmt;

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "begins at {:?}; its first phase lasts at most {:?}", self.start, self.length)?;
        writeln!(f, "{:?}; pollers {:?} and {:?}", self.conditions, self.poller, self.crowd_poller)?;
        writeln!(f, "pings after {:?}, pongs within {:?}", self.ping_interval, self.pong_timeout)?;
        let [ours, others] = self.multistreams;
        writeln!(f, "multistreams {ours}, and {others} of the other loop")?;
        if let Some(plan) = &self.managed {
            writeln!(f, "{plan}")?;
        }
        let troops = if self.managed.is_some() { &[][..] } else { &self.troops[..] };
        for (host, troop) in troops.iter().enumerate().filter(|(_, troop)| troop.kind != Kind::Nobody) {
            writeln!(f, "host {}: {troop}", host + 1)?;
        }
        for (site, errno, one_in) in &self.faults {
            writeln!(f, "{site:?} fails with errno {errno}, one call in {one_in}")?;
        }
        for (budget, size) in &self.budgets {
            writeln!(f, "{budget:?} shrunk to {size}")?;
        }
        for (at, deed) in &self.deeds {
            writeln!(f, "after {at:?}: {deed:?}")?;
        }
        let Self { spare_inbound, spare_descriptors, ports, is_short_of_memory, .. } = self;
        write!(f, "spare inbound {spare_inbound:?}, spare descriptors {spare_descriptors:?}, ports {ports:?}, ")?;
        write!(f, "short of memory: {is_short_of_memory}")
    }
}

impl fmt::Display for Troop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, count, dials, from, every, manner, pings_every, habit } = self;
        let who = if *dials { "dialling" } else { "dialled" };
        write!(f, "{count} {kind}, {who} from {from:?} every {every:?}, {habit:?}")?;
        if kind.is_honest() {
            write!(f, ", talking {manner:?}, pinging {pings_every:?}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hostile(row) => {
                let Row { threat, what, .. } = &ROWS[*row];
                write!(f, "hostile: {threat}, {what}")
            }
            Self::Attacker(attack) => {
                let Attack { threat, name, .. } = attack_at(*attack);
                write!(f, "hostile: {threat}, {name}")
            }
            Self::Untimely(manners, message) => write!(f, "hostile: {} at {manners:?}", MESSAGES[*message]),
            Self::Nobody | Self::Honest(_) | Self::Rival | Self::Nowhere(_) | Self::Dialler(_) | Self::Acceptor(_) => {
                write!(f, "{self:?}")
            }
        }
    }
}
