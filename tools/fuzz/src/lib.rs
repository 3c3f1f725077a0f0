//! The laws of the fuzz targets, which are those that the library's own tests replay.
//!
//! A target in `src/bin` hands libFuzzer's bytes to its law and does nothing else.

#[path = "../../../tests/corpus/laws/mod.rs"]
mod laws;

/// The law of this name.
///
/// # Panics
///
/// If there is none.
pub fn law(name: &str) -> fn(&[u8]) {
    laws::LAWS.into_iter().find(|law| law.name == name).expect("a target has the name of its law").check
}
