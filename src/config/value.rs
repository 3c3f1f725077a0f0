//! The text of a setting's value in a report of changes.
//!
//! The text is for people: a long list is truncated, and no value is parsed from its text.

use super::{DialMode, Multistreams};
use std::fmt;
use std::time::Duration;

/// The maximum number of list elements in a change's text. The whole list may have 100,000 elements.
const MAX_LISTED: usize = 8;

/// A value of a field that can be changed while the loop runs.
pub(super) trait Value {
    /// Formats the value for a [`ConfigChange`](super::ConfigChange).
    fn text(&self) -> String;
}

macro_rules! values_shown_by_debug {
    ($($type:ty),+) => {
        $(impl Value for $type {
            fn text(&self) -> String {
                format!("{self:?}")
            }
        })+
    };
}

values_shown_by_debug!(bool, f64, i32, u16, u32, u64, Duration, String);

impl Value for usize {
    fn text(&self) -> String {
        match *self {
            Self::MAX => "no limit".to_owned(),
            limit => limit.to_string(),
        }
    }
}

impl<T: fmt::Debug> Value for Vec<T> {
    fn text(&self) -> String {
        list_text(self)
    }
}

impl Value for DialMode {
    fn text(&self) -> String {
        match self {
            Self::Normal => "normal".to_owned(),
            Self::Fixed(peers) => format!("fixed {}", list_text(peers)),
        }
    }
}

impl Value for Multistreams {
    fn text(&self) -> String {
        self.to_string()
    }
}

fn list_text<T: fmt::Debug>(list: &[T]) -> String {
    let shown: Vec<String> = list.iter().take(MAX_LISTED).map(|element| format!("{element:?}")).collect();
    match list.len().saturating_sub(MAX_LISTED) {
        0 => format!("[{}]", shown.join(", ")),
        more => format!("[{}, and {more} more]", shown.join(", ")),
    }
}
