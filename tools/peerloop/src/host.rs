//! Facts about this machine that identify it in a result: its name, its kernel and its CPU.
//!
//! Two results can be compared only if these facts are known. A fact that the system does not report is missing.

use rustix::system::uname;
use std::fs;

/// The facts about this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) name: Option<String>,
    /// The kernel's name and release: `Linux 6.1.0`.
    pub(crate) kernel: Option<String>,
    pub(crate) cpu_model: Option<String>,
}

impl Host {
    /// Reads the facts.
    pub(crate) fn read() -> Self {
        let system = uname();
        let text = |part: &std::ffi::CStr| {
            part.to_str().ok().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let kernel = text(system.sysname()).zip(text(system.release()));
        let of_tree = || read("/proc/device-tree/model").map(|text| text.trim_matches(['\0', '\n', ' ']).to_owned());
        Self {
            name: text(system.nodename()),
            kernel: kernel.map(|(name, release)| format!("{name} {release}")),
            cpu_model: read("/proc/cpuinfo").as_deref().and_then(parse_cpu_model).or_else(of_tree),
        }
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// Parses the model of the first CPU in `/proc/cpuinfo`. The line's name depends on the architecture.
fn parse_cpu_model(text: &str) -> Option<String> {
    const NAMES: [&str; 4] = ["model name", "cpu model", "Model", "Hardware"];
    let values = NAMES.iter().filter_map(|name| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        lines
            .find(|(key, _)| key.trim() == *name)
            .map(|(_, value)| value.split_whitespace().collect::<Vec<_>>().join(" "))
    });
    values.into_iter().find(|model| !model.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_model_is_parsed_on_every_architecture() {
        let intel = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel\t\t: 85\nmodel name\t: Xeon(R)   CPU @ 2.00GHz\n";
        assert_eq!(parse_cpu_model(intel).as_deref(), Some("Xeon(R) CPU @ 2.00GHz"));
        assert_eq!(parse_cpu_model("processor : 0\nModel : Raspberry Pi 4\n").as_deref(), Some("Raspberry Pi 4"));
        for text in ["", "processor : 0\n", "model name\n", "model name : \n"] {
            assert_eq!(parse_cpu_model(text), None, "{text}");
        }
    }

    #[test]
    fn this_machine_has_a_name_and_a_kernel() {
        let host = Host::read();
        assert!(host.name.is_some() && host.kernel.is_some_and(|kernel| kernel.contains(' ')));
    }
}
