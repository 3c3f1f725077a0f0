//! peerloop and the crate `bitcoin` accept the same payloads, read the same values and encode the same bytes, for
//! every message that both know. [`judge`] lists the intended differences.

use crate::{judge, theirs};

/// Checks a payload. The first byte of `data` selects the command, and the other bytes are the payload.
pub(crate) fn check(data: &[u8]) {
    let Some((first, payload)) = data.split_first() else { return };
    judge::judge(theirs::COMMON[usize::from(*first) % theirs::COMMON.len()], payload);
}
