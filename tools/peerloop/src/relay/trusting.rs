//! The upstreams' addresses as trusted networks, so that no cap, rate limit or ban applies to them.
//!
//! The addresses of names change while the loop runs. Each second the networks are compared with those that the loop
//! is known to have, and passed to the loop until it has them. Nothing here waits for a reply.

use crate::settings::Node;
use crate::status::take_reply;
use peerloop::api::Pending;
use peerloop::config::{ConfigChange, UpdateError};
use peerloop::{Config, Handle};

/// The loop's reply to a new configuration.
type Reply = Result<Vec<ConfigChange>, UpdateError>;

/// The update of a running loop's trusted networks.
#[derive(Debug, Default)]
pub(super) struct Trusting {
    /// The configuration that was last passed to the loop.
    passed: Config,
    pending: Option<Pending<Reply>>,
    /// The last refusal, which is reported once.
    refusal: Option<UpdateError>,
}

impl Trusting {
    /// Stores the loop's configuration in `node` if the loop has replied to the last update. Then passes the loop a new
    /// one, if the trusted networks differ from the upstreams' addresses in `node`. Returns the reason of a refusal.
    pub(super) fn tick<C>(&mut self, node: &mut Node, handle: &Handle<C>) -> Option<String> {
        let mut reported = None;
        match take_reply(&mut self.pending) {
            Some(Ok(_changes)) => {
                node.config.clone_from(&self.passed);
                self.refusal = None;
            }
            Some(Err(refusal)) if self.refusal.as_ref() != Some(&refusal) => {
                reported = Some(format!("trusting the upstreams' new addresses: {refusal}; nothing has changed"));
                self.refusal = Some(refusal);
            }
            Some(Err(_)) | None => {}
        }
        if self.pending.is_none() {
            let mut new = node.clone();
            apply_upstreams(&mut new);
            if new.config != node.config {
                self.passed = new.config;
                // If the queue is full, the next attempt follows in a second.
                self.pending = handle.update_config(self.passed.clone()).ok();
            }
        }
        reported
    }

    /// Ignores the reply to the last update, because the loop has a later configuration.
    pub(super) fn forget(&mut self) {
        self.pending = None;
    }
}

/// Sets the trusted networks to the user's own and the upstreams' addresses.
pub(super) fn apply_upstreams(node: &mut Node) {
    let Node { config, relay, .. } = node;
    let addresses = relay.resolved.iter().flat_map(|target| &target.addresses);
    let trusted = &mut config.manager.as_mut().expect("the settings have a manager").trusted;
    trusted.clone_from(&relay.trusted);
    for host in addresses.map(|address| address.ip().to_canonical()) {
        let network = (host, if host.is_ipv4() { 32 } else { 128 });
        if !trusted.contains(&network) {
            trusted.push(network);
        }
    }
}
