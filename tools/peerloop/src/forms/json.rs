//! The run document as JSON, for programs: exactly the model.

use crate::model::Document;
use crate::output::json;
use std::io::{self, Write};

/// Writes the document.
pub(crate) fn write(document: &Document, out: &mut dyn Write) -> io::Result<()> {
    json::write(document, out)
}
