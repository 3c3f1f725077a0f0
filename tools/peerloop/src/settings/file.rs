//! A file of settings: TOML, one key for each, nothing below another.

use super::table::{self, SETTINGS};
use super::{Given, Source};
use crate::exit::Failure;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// A file of settings, as it was read.
#[derive(Clone, Debug)]
pub(crate) struct SettingsFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl SettingsFile {
    /// Reads the whole file, or says what is to be done.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self { path: path.to_owned(), text }),
            Err(error) => Err(format!(
                "reading the settings in {}: {error}; name a file that `run --print-config` could have written",
                path.display()
            )),
        }
    }

    /// All that it says. The first key that is no setting, and the first value of another kind, end it.
    pub(super) fn given(&self) -> Result<Vec<Given>, Failure> {
        let table = DeTable::parse(&self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.failure(at, error.message())
        })?;
        let given = table.get_ref().iter().map(|(key, value)| {
            let at = key.span().start;
            let name = key.get_ref().as_ref();
            let setting = SETTINGS.iter().position(|setting| setting.name == name);
            let setting = setting.ok_or_else(|| self.failure(at, &unknown(name)))?;
            let texts = texts_of(value.get_ref(), SETTINGS[setting].kind.is_list());
            let texts = texts.map_err(|why| self.failure(value.span().start, &format!("{name}: {why}")))?;
            Ok(Given { setting, source: Source::File { path: self.path.clone(), line: self.line_of(at) }, texts })
        });
        given.collect()
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
        Some(setting) => format!("there is no setting `{name}`; is it `{}`?", setting.name),
        None => format!("there is no setting `{name}`; --print-config lists all"),
    }
}

fn texts_of(value: &DeValue<'_>, is_list: bool) -> Result<Vec<String>, String> {
    match value {
        DeValue::Array(elements) if is_list => elements.iter().map(|element| text_of(element.get_ref())).collect(),
        _ if is_list => Err(format!("is a list: write [ ] around the {}", value.type_str())),
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
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => Err(format!("takes no {}", value.type_str())),
    }
}
