//! SIGHUP: the settings are read again, and the loop applies them completely or not at all.
//!
//! One line reports all changes by the names of their settings, or the reason why nothing has changed. The book, the
//! metrics address and most of a relay's own settings never change while the program runs: if they differ, each such
//! line states that a restart is necessary. The library's own line about the change is not logged.

use super::console::Console;
use super::life::{RequestOf, Task};
use super::manager;
use crate::exit::Failure;
use crate::settings::{self, Effective, Node, name_of};
use crate::status::wait_for;
use log::Level;
use peerloop::Handle;
use peerloop::config::{Config, ConfigChange, DialMode, Field};

/// The mode of a relay that dials no peer but its upstreams.
const NO_PEERS: DialMode = DialMode::Fixed(Vec::new());

/// Applies the settings in `read`, stores the applied ones in `node` and reports the changes, or reports why nothing
/// has changed. `has_file` states whether a settings file is named.
pub(super) fn reload<T: Task>(
    task: &mut T,
    read: Result<Effective, Failure>,
    has_file: bool,
    node: &mut Node,
    handle: &Handle<RequestOf<T>>,
    console: &Console,
) {
    match read.map(|effective| effective.node) {
        Err(failure) => refused(&unchanged(&failure.message), console),
        Ok(new) => match update(&new.config, handle) {
            Err(why) => refused(&why, console),
            Ok(changes) => {
                let of_task = task.reload(node, &new, handle);
                let lines = describe(&changes, of_task, node, &new, has_file);
                console.say(Level::Info, &format!("SIGHUP: {}", lines.join("; ")));
                log::set_max_level(new.log_level);
                (node.config, node.log_level) = (new.config, new.log_level);
                node.relay.apply(new.relay);
            }
        },
    }
}

fn refused(why: &str, console: &Console) {
    console.say(Level::Error, &format!("SIGHUP: {why}"));
}

fn unchanged(why: &str) -> String {
    format!("{why}; nothing has changed")
}

/// Passes a configuration to the loop, and waits at most a second for the reply. Returns the changes, or the reason why
/// none is known.
fn update<C>(config: &Config, handle: &Handle<C>) -> Result<Vec<ConfigChange>, String> {
    let pending = handle.update_config(config.clone()).map_err(|refused| unchanged(&refused.to_string()))?;
    match wait_for(pending) {
        Some(Ok(changes)) => Ok(changes),
        Some(Err(error)) => Err(unchanged(&error.to_string())),
        None => Err("the loop did not reply in time, and may apply the settings later".to_owned()),
    }
}

/// Describes the changes, including those of the task's own settings and those that need a restart.
fn describe(changes: &[ConfigChange], of_task: Vec<String>, old: &Node, new: &Node, has_file: bool) -> Vec<String> {
    let line = |ConfigChange { field, old, new, effect, .. }: &ConfigChange| {
        format!("{} from {old} to {new}, {effect}", name_of(*field))
    };
    let is_switched = old.relay.find_peers != new.relay.find_peers;
    // A relay without `find_peers` has an empty fixed list, which is no setting of the user.
    let is_derived = is_switched && [old, new].map(|node| &manager(&node.config).mode).contains(&&NO_PEERS);
    let said = changes.iter().filter(|change| !(is_derived && change.field == Field::Mode));
    let mut lines: Vec<String> = said.map(line).collect();
    if is_switched {
        let (old, new) = (old.relay.find_peers, new.relay.find_peers);
        lines.push(format!("find_peers from {old} to {new}, for the next dials"));
    }
    if old.log_level != new.log_level {
        let level = |node: &Node| node.log_level.to_string().to_lowercase();
        lines.push(format!("log_level from {} to {}, at once", level(old), level(new)));
    }
    lines.extend(of_task);
    let fixed = settings::changes_after_restart(old, new);
    lines.extend(fixed.iter().map(|name| format!("{name} changes when the node is restarted")));
    if lines.is_empty() {
        let why = if has_file { "" } else { ": there is no settings file to read again; name one with --config" };
        lines.push(format!("no setting has changed{why}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::LevelFilter;
    use peerloop::channel::NoHandler;
    use peerloop::{MioNet, Network, Reactor};
    use std::path::PathBuf;

    #[test]
    fn each_change_is_described_even_if_it_needs_a_restart() {
        let old = Node::default();
        let mut new = old.clone();
        new.config.spin = false;
        new.log_level = LevelFilter::Debug;
        new.book = Some(PathBuf::from("b"));
        let changes = old.config.changes_to(&new.config).unwrap();
        let lines = describe(&changes, Vec::new(), &old, &new, true);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].contains("spin") && lines[0].contains("true") && lines[0].contains("false"), "{lines:?}");
        assert_eq!(lines[1], "log_level from info to debug, at once");
        assert!(lines[2].starts_with("book changes when"), "{lines:?}");
        assert_eq!(describe(&[], Vec::new(), &old, &old, true), ["no setting has changed"]);
        assert!(describe(&[], Vec::new(), &old, &old, false)[0].ends_with("name one with --config"));
    }

    #[test]
    fn find_peers_is_described_by_its_own_name_and_not_by_the_mode_that_it_determines() {
        let node = |mode: DialMode, find_peers: bool| {
            let mut node = Node::default();
            node.config.manager.as_mut().expect("the configuration has a manager").mode = mode;
            node.relay.find_peers = find_peers;
            node
        };
        let (without, with) = (node(NO_PEERS, false), node(DialMode::Normal, true));
        let lines =
            |old: &Node, new: &Node| describe(&old.config.changes_to(&new.config).unwrap(), Vec::new(), old, new, true);
        assert_eq!(lines(&without, &with), ["find_peers from false to true, for the next dials"]);
        assert_eq!(lines(&with, &without), ["find_peers from true to false, for the next dials"]);
        let fixed = node(DialMode::Fixed(vec!["192.0.2.1:8333".parse().unwrap()]), false);
        assert_eq!(lines(&without, &fixed).len(), 1);
        assert!(lines(&with, &fixed)[0].starts_with("fixed_peers from normal to fixed"), "{:?}", lines(&with, &fixed));
    }

    #[test]
    fn a_loop_that_does_not_reply_delays_no_signal() {
        let config = Config::managed(Network::Regtest);
        let idle: Reactor<MioNet, NoHandler> = Reactor::new(config.clone(), NoHandler).expect("a loop can be created");
        let why = update(&config, &idle.handle()).expect_err("the loop does not run");
        assert!(why.contains("did not reply in time") && !why.contains("nothing has changed"), "{why}");
    }

    #[test]
    fn a_change_is_described_by_the_name_of_its_setting() {
        let old = Node::default();
        let mut new = old.clone();
        let manager = new.config.manager.as_mut().expect("the configuration has a manager");
        manager.mode = DialMode::Fixed(vec!["192.0.2.1:8333".parse().unwrap()]);
        let changes = old.config.changes_to(&new.config).unwrap();
        let lines = describe(&changes, Vec::new(), &old, &new, true);
        assert_eq!(lines, ["fixed_peers from normal to fixed [192.0.2.1:8333], for the next dials"]);
    }
}
