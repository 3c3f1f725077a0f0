//! The laws of the fuzz targets, the same that the library's own tests replay.
//!
//! A target in `src/bin` passes libFuzzer's bytes to its law and does nothing else.

#[path = "../../../tests/corpus/laws/mod.rs"]
mod laws;

/// Returns the law with this name.
///
/// # Panics
///
/// If there is no such law.
pub fn law(name: &str) -> fn(&[u8]) {
    laws::LAWS.into_iter().find(|law| law.name == name).expect("a target has the name of its law").check
}
