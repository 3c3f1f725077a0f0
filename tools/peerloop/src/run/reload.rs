//! SIGHUP: the settings are read again, and the loop applies them completely or not at all.
//!
//! One line reports all changes by the names of their settings, or the reason why nothing has changed. The book and
//! the metrics address never change while the program runs: if their settings differ, the line states that a restart is
//! necessary. The library's own line about the change is not logged.

use super::console::Console;
use crate::exit::Failure;
use crate::settings::{Effective, Node, name_of};
use log::Level;
use peerloop::Handle;
use peerloop::config::{Config, ConfigChange};

/// Applies the settings in `read`, stores the applied ones in `node` and reports the changes, or reports why nothing
/// has changed. `has_file` states whether a settings file is named.
pub(super) fn reload(
    read: Result<Effective, Failure>,
    has_file: bool,
    node: &mut Node,
    handle: &Handle<()>,
    console: &Console,
) {
    match read.map(|effective| effective.node) {
        Err(failure) => refused(&failure.message, console),
        Ok(new) => match update(&new.config, handle) {
            Err(why) => refused(&why, console),
            Ok(changes) => {
                let lines = describe(&changes, node, &new, has_file);
                console.say(Level::Info, &format!("SIGHUP: {}", lines.join("; ")));
                log::set_max_level(new.log_level);
                (node.config, node.log_level) = (new.config, new.log_level);
            }
        },
    }
}

fn refused(why: &str, console: &Console) {
    console.say(Level::Error, &format!("SIGHUP: {why}; nothing has changed"));
}

fn update(config: &Config, handle: &Handle<()>) -> Result<Vec<ConfigChange>, String> {
    let pending = handle.update_config(config.clone()).map_err(|refused| refused.to_string())?;
    match pending.wait() {
        Ok(Ok(changes)) => Ok(changes),
        Ok(Err(error)) => Err(error.to_string()),
        Err(ended) => Err(ended.to_string()),
    }
}

/// Describes the changes, including those that need a restart.
fn describe(changes: &[ConfigChange], old: &Node, new: &Node, has_file: bool) -> Vec<String> {
    let line = |ConfigChange { field, old, new, effect, .. }: &ConfigChange| {
        format!("{} from {old} to {new}, {effect}", name_of(*field))
    };
    let mut lines: Vec<String> = changes.iter().map(line).collect();
    if old.log_level != new.log_level {
        let level = |node: &Node| node.log_level.to_string().to_lowercase();
        lines.push(format!("log_level from {} to {}, at once", level(old), level(new)));
    }
    for (name, is_same) in [("book", old.book == new.book), ("metrics_addr", old.metrics_addr == new.metrics_addr)] {
        if !is_same {
            lines.push(format!("{name} changes when the node is restarted"));
        }
    }
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
    use peerloop::config::DialMode;
    use std::path::PathBuf;

    #[test]
    fn each_change_is_described_even_if_it_needs_a_restart() {
        let old = Node::default();
        let mut new = old.clone();
        new.config.spin = false;
        new.log_level = LevelFilter::Debug;
        new.book = Some(PathBuf::from("b"));
        let changes = old.config.changes_to(&new.config).unwrap();
        let lines = describe(&changes, &old, &new, true);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].contains("spin") && lines[0].contains("true") && lines[0].contains("false"), "{lines:?}");
        assert_eq!(lines[1], "log_level from info to debug, at once");
        assert!(lines[2].starts_with("book changes when"), "{lines:?}");
        assert_eq!(describe(&[], &old, &old, true), ["no setting has changed"]);
        assert!(describe(&[], &old, &old, false)[0].ends_with("name one with --config"));
    }

    #[test]
    fn a_change_is_described_by_the_name_of_its_setting() {
        let old = Node::default();
        let mut new = old.clone();
        let manager = new.config.manager.as_mut().expect("the configuration has a manager");
        manager.mode = DialMode::Fixed(vec!["192.0.2.1:8333".parse().unwrap()]);
        let changes = old.config.changes_to(&new.config).unwrap();
        let lines = describe(&changes, &old, &new, true);
        assert_eq!(lines, ["fixed_peers from normal to fixed [192.0.2.1:8333], for the next dials"]);
    }
}
