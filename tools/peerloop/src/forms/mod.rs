//! The output forms of a run: each renders the run document, and nothing else.
//!
//! [`text`] and [`html`] are for people, [`json`] for programs, [`hlog`] and [`hgrm`] for the tools of HdrHistogram,
//! and [`csv`] for spreadsheets.

pub(crate) mod csv;
pub(crate) mod hgrm;
pub(crate) mod hlog;
pub(crate) mod html;
pub(crate) mod json;
pub(crate) mod prom;
pub(crate) mod text;

use crate::model::Document;
use std::io::{self, Write};

/// A function that writes a run in one form.
pub(crate) type Form = fn(&Document, &mut dyn Write) -> io::Result<()>;
