//! The fuzz targets' laws: those that the library's own tests replay, and the one that asks another implementation.
//!
//! A target in `src/bin` hands libFuzzer's bytes to its law and does nothing else.

#[path = "../../../tests/corpus/laws/mod.rs"]
mod laws;
mod msg_differential;

/// The law of this name.
///
/// # Panics
///
/// If there is none.
pub fn law(name: &str) -> fn(&[u8]) {
    let laws = laws::LAWS.into_iter().chain([("msg_differential", msg_differential::check as fn(&[u8]))]);
    laws.into_iter().find(|(found, _)| *found == name).expect("a target has the name of its law").1
}
