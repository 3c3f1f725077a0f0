//! Property: after each random step, the loop soon sleeps and holds exactly one slot for each peer that is not over
//! capacity. A final stop closes all links and makes all changes durable.

use super::{Fate, Stage, asking, host};
use crate::channel::NoHandler;
use crate::config::{DialMode, ManagerConfig};
use crate::error::{Disconnect, IoStep};
use crate::limits::SHUTDOWN_GRACE;
use crate::manager::store::{PeerStatus, StoreError};
use crate::time::Wait;
use proptest::collection::vec;
use proptest::prelude::*;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Clone, Debug)]
enum Step {
    /// Sleeps as long as the loop would, or one hour if the loop would sleep forever.
    Sleep,
    Pass {
        millis: u64,
    },
    Dials {
        fate: Fate,
    },
    Ban {
        number: u8,
        length: Option<Duration>,
    },
    Unban {
        number: u8,
    },
    Remember {
        number: u8,
        status: PeerStatus,
    },
    AnswerSeed {
        peers: u8,
    },
    AnswerBook {
        is_durable: bool,
    },
    Accept {
        number: u8,
    },
    Connect {
        number: u8,
    },
    Close {
        index: usize,
    },
    Reset {
        index: usize,
    },
    AcceptingPauses,
    Configure {
        fixed: u8,
        target: usize,
        more: usize,
        rows: usize,
        evicts: bool,
        trusts: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let fates = vec![
        Fate::Connected,
        Fate::Undecided,
        Fate::NoDescriptors,
        Fate::Failed(ErrorKind::ConnectionRefused),
        Fate::Failed(ErrorKind::NetworkUnreachable),
        Fate::Failed(ErrorKind::AddrNotAvailable),
    ];
    let statuses = vec![PeerStatus::Valid, PeerStatus::Unknown, PeerStatus::Inaccessible];
    let number = 0_u8..8;
    prop_oneof![
        6 => Just(Step::Sleep),
        2 => (0_u64..20_000).prop_map(|millis| Step::Pass { millis }),
        3 => prop::sample::select(fates).prop_map(|fate| Step::Dials { fate }),
        1 => (number.clone(), prop::option::of(0_u64..100)).prop_map(|(number, secs)| {
            Step::Ban { number, length: secs.map(Duration::from_secs) }
        }),
        1 => number.clone().prop_map(|number| Step::Unban { number }),
        3 => (number.clone(), prop::sample::select(statuses))
            .prop_map(|(number, status)| Step::Remember { number, status }),
        1 => (0_u8..8).prop_map(|peers| Step::AnswerSeed { peers }),
        2 => any::<bool>().prop_map(|is_durable| Step::AnswerBook { is_durable }),
        2 => number.clone().prop_map(|number| Step::Accept { number }),
        2 => number.prop_map(|number| Step::Connect { number }),
        2 => (0_usize..8).prop_map(|index| Step::Close { index }),
        2 => (0_usize..8).prop_map(|index| Step::Reset { index }),
        1 => Just(Step::AcceptingPauses),
        2 => (0_u8..8, 1_usize..6, 0_usize..3, 0_usize..3, any::<bool>(), any::<bool>()).prop_map(
            |(fixed, target, more, rows, evicts, trusts)| {
                Step::Configure { fixed, target, more, rows, evicts, trusts }
            }
        ),
    ]
}

impl Stage {
    fn make(&mut self, step: Step) {
        match step {
            Step::Sleep => {
                let time = match self.engine.wait() {
                    Wait::Zero => Duration::ZERO,
                    Wait::Until(moment) => moment.since(self.engine.state.clocks.now()),
                    Wait::Forever => Duration::from_secs(3_600),
                };
                self.pass(time);
            }
            Step::Pass { millis } => self.pass(Duration::from_millis(millis)),
            Step::Dials { fate } => self.fate = fate,
            Step::Ban { number, length } => self.engine.state.ban_by_request(host(number).ip(), length).unwrap(),
            Step::Unban { number } => drop(self.engine.state.unban(host(number).ip())),
            Step::Remember { number, status } => self.remember(&[host(number)], status),
            Step::AnswerSeed { peers } => {
                let peers: Vec<SocketAddr> = (0..peers).map(host).collect();
                for query in std::mem::take(&mut self.questions) {
                    self.answer_seed(query, &peers);
                }
            }
            Step::AnswerBook { is_durable: true } => self.write_all(),
            Step::AnswerBook { is_durable: false } => {
                if let Some(&id) = self.batches.last() {
                    self.answer_batch(id, Err(StoreError::Full));
                }
            }
            Step::Accept { number } => {
                let from = SocketAddr::new(host(number).ip(), 50_000 + self.turns as u16 % 10_000);
                if let Ok(id) = self.engine.accept(from) {
                    self.engine.handshake(id).tcp_connected(&mut NoHandler);
                }
            }
            Step::Connect { number } => drop(self.engine.state.connect(host(number))),
            Step::Close { index } => {
                if let Some(&id) = self.links().get(index) {
                    self.engine.state.links.close(id, Disconnect::Done.into(), self.engine.state.clocks.now());
                }
            }
            Step::Reset { index } => {
                if let Some(&id) = self.links().get(index) {
                    self.engine.failed(id, IoStep::Read, &ErrorKind::ConnectionReset.into());
                }
            }
            Step::AcceptingPauses => self.engine.accepting_paused(&io::Error::from_raw_os_error(24)),
            Step::Configure { fixed, target, more, rows, evicts, trusts } => {
                let mode = match fixed {
                    0 => DialMode::Normal,
                    count => DialMode::Fixed((0..count).map(host).collect()),
                };
                let max_peers = target + more;
                let trusted = if trusts { vec![(host(0).ip(), 30)] } else { Vec::new() };
                let manager =
                    ManagerConfig { mode, target_peers: target, max_peers, evict_inbound: evicts, trusted, ..asking() };
                self.engine.state.config.max_links = max_peers + rows;
                self.reconfigure(manager);
            }
        }
    }

    fn write_all(&mut self) {
        for id in std::mem::take(&mut self.batches) {
            self.answer_batch(id, Ok(()));
        }
    }
}

proptest! {
    #[test]
    fn after_each_random_step_the_loop_sleeps_and_holds_one_slot_per_peer(
        steps in vec(step(), 1..80),
    ) {
        let mut stage = Stage::new(asking());
        for step in steps {
            stage.make(step);
            stage.settle();
            stage.assert_accounts();
        }
        stage.stop();
        for _ in 0..4 {
            stage.settle();
            stage.write_all();
            stage.pass(SHUTDOWN_GRACE);
        }
        prop_assert_eq!((stage.settle(), stage.links()), (Wait::Forever, vec![]));
        prop_assert!(stage.is_durable());
        stage.assert_accounts();
    }
}
