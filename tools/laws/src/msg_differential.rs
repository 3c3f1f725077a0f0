//! This library and the crate `bitcoin` agree on every message that both know: the same payloads accepted, the same
//! values, the same bytes when encoded. They may differ where their protocols do; [`judge`] lists the differences.

use crate::{judge, theirs};

/// Checks the payload after the first byte, which selects the command.
pub(crate) fn check(data: &[u8]) {
    let Some((first, payload)) = data.split_first() else { return };
    judge::judge(theirs::COMMON[usize::from(*first) % theirs::COMMON.len()], payload);
}
