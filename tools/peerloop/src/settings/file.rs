//! A settings file: TOML with one table, `[relay]`. Each key is the name of a setting.

use super::table::{self, RELAY, SETTINGS};
use super::{Given, Source};
use crate::exit::Failure;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread::Builder;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A settings file, as it was read.
#[derive(Clone, Debug)]
pub(crate) struct SettingsFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// Maximum time to read a settings file. Reading a pipe without a writer, or a disk that hangs, would otherwise block
/// for ever.
const MAX_READ: Duration = Duration::from_secs(5);

/// Maximum size of a settings file; all settings with their comments need about 10 KiB.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Maximum number of reads in progress, each on a thread of its own. A further read fails at once, so blocked reads
/// do not accumulate threads.
const MAX_STUCK: usize = 4;

/// Number of reads in progress.
static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

impl SettingsFile {
    /// Reads the whole file within [`MAX_READ`], or returns an error message.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        Self::read_within(path, MAX_READ)
    }

    pub(super) fn read_within(path: &Path, patience: Duration) -> Result<Self, String> {
        let failed = |why: &str| format!("reading the settings in {}: {why}", path.display());
        if UNDER_WAY.fetch_add(1, Ordering::Relaxed) >= MAX_STUCK {
            UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
            return Err(failed("earlier reads are still blocked; check the disk, or the writer of the pipe"));
        }
        let (sender, receiver) = channel();
        let file = path.to_owned();
        let thread = Builder::new().name("settings".to_owned()).spawn(move || {
            let text = File::open(file).and_then(|file| {
                let mut text = String::new();
                file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map(|_| text)
            });
            UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
            // If the read lasted longer than `patience`, there is no receiver any more.
            let _ = sender.send(text);
        });
        if let Err(error) = thread {
            UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
            return Err(failed(&format!("starting a thread: {error}")));
        }
        match receiver.recv_timeout(patience) {
            Ok(Ok(text)) if text.len() as u64 > MAX_FILE_BYTES => {
                Err(failed(&format!("the file is larger than {MAX_FILE_BYTES} bytes; name a settings file")))
            }
            Ok(Ok(text)) => Ok(Self { path: path.to_owned(), text }),
            Ok(Err(error)) => Err(failed(&format!("{error}; use a file in the format of `run --print-config`"))),
            Err(_) => {
                let secs = patience.as_secs();
                Err(failed(&format!(
                    "not finished within {secs} s; check the disk, or the program that writes to the pipe"
                )))
            }
        }
    }

    /// Returns all values. Fails if the file is not TOML, a key is unknown, a value's type does not fit its setting, or
    /// an integer in hexadecimal, octal or binary is too large.
    pub(super) fn given(&self) -> Result<Vec<Given>, Failure> {
        let table = DeTable::parse(&self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.failure(at, &format!("{}{}", error.message(), self.hint(at)))
        })?;
        let mut given = Vec::new();
        for (key, value) in table.get_ref() {
            let (at, name) = (key.span().start, key.get_ref().as_ref());
            match value.get_ref() {
                // A value that is no table is the former name of the version's flag.
                DeValue::Table(table) if name == RELAY => {
                    for (key, value) in table {
                        let (at, name) = (key.span().start, key.get_ref().as_ref());
                        let setting = table::position_in_relay(name);
                        let setting = setting.ok_or_else(|| self.failure(at, &unknown_in_relay(name)))?;
                        given.push(self.value(setting, name, at, value)?);
                    }
                }
                _ => {
                    let setting = table::position_of(name).filter(|setting| !SETTINGS[*setting].is_of_relay);
                    let setting = setting.ok_or_else(|| self.failure(at, &unknown(name)))?;
                    given.push(self.value(setting, name, at, value)?);
                }
            }
        }
        Ok(given)
    }

    /// Returns the value of the setting with this position in the table.
    fn value(&self, setting: usize, name: &str, at: usize, value: &Spanned<DeValue<'_>>) -> Result<Given, Failure> {
        let texts = texts_of(value.get_ref(), SETTINGS[setting].kind.is_list());
        let texts = texts.map_err(|why| self.failure(value.span().start, &format!("{name}: {why}")))?;
        Ok(Given { setting, source: Source::File { path: self.path.clone(), line: self.line_of(at) }, texts })
    }

    /// Returns a hint for a file with the table `[relay]` and, before it, the former name of the version's flag.
    fn hint(&self, at: usize) -> &'static str {
        let (before, after) = self.text.split_at_checked(at).unwrap_or_default();
        let is_table = before.ends_with('[') && after.starts_with("relay]");
        if is_table && !before.contains("[relay]") { "; rename `relay = ..` to `relay_flag`" } else { "" }
    }

    fn failure(&self, at: usize, why: &str) -> Failure {
        let why = why.lines().collect::<Vec<_>>().join("; ");
        Failure::usage(format!("{}:{}: {why}", self.path.display(), self.line_of(at)))
    }

    fn line_of(&self, at: usize) -> usize {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }
}

fn unknown(name: &str) -> String {
    match table::nearest(&name.to_lowercase().replace('-', "_")) {
        Some(setting) => {
            let place = if setting.is_of_relay { " in the table [relay]" } else { "" };
            format!("there is no setting `{name}`; did you mean `{}`{place}?", setting.name)
        }
        None => format!("there is no setting `{name}`; --print-config lists all"),
    }
}

fn unknown_in_relay(name: &str) -> String {
    let key = name.to_lowercase().replace('-', "_");
    if table::position_of(&key).is_some() {
        return format!("there is no setting `{name}` in [relay]; move it above the line [relay]");
    }
    match table::nearest(&format!("{RELAY}_{key}")) {
        Some(setting) if setting.is_of_relay => {
            format!("there is no setting `{name}` in [relay]; did you mean `{}`?", setting.name)
        }
        Some(_) | None => format!("there is no setting `{name}` in [relay]; relay --print-config lists all"),
    }
}

fn texts_of(value: &DeValue<'_>, is_list: bool) -> Result<Vec<String>, String> {
    match value {
        DeValue::Array(elements) if is_list => elements.iter().map(|element| text_of(element.get_ref())).collect(),
        _ if is_list => Err(format!("must be a list: write [ ] around the {}", value.type_str())),
        _ => Ok(vec![text_of(value)?]),
    }
}

fn text_of(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        DeValue::Integer(number) => match u64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Ok(number.to_string()),
            Err(_) => Err("the number is too large".to_owned()),
        },
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Boolean(is_on) => Ok(is_on.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            Err(format!("has the wrong type {}", value.type_str()))
        }
    }
}
