//! The results of a bench: one model, [`Document`], and its output formats.
//!
//! The model is built once, when the run has ended, and every format only renders it: [`text`] for people, [`hgrm`]
//! for plots, and the serialized model for programs.

mod build;
mod document;
mod ending;
pub(super) mod hgrm;
#[cfg(test)]
mod tests;
pub(super) mod text;
mod view;

pub(super) use document::Document;
pub(super) use ending::explain;
