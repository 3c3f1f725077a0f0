//! SipHash-2-4: a fast keyed 64-bit hash for short inputs. An attacker without the key cannot construct collisions.

/// The two halves of a SipHash key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SipKey {
    /// The first eight bytes, little-endian.
    pub k0: u64,
    /// The last eight bytes, little-endian.
    pub k1: u64,
}

impl SipKey {
    /// Returns the SipHash-2-4 of `bytes` (Aumasson and Bernstein, "SipHash: a fast short-input PRF").
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        let mut state = SipState::new(*self);
        let (words, rest) = bytes.as_chunks();
        for word in words {
            state.absorb(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        last[7] = bytes.len() as u8;
        state.absorb(u64::from_le_bytes(last));
        state.finish()
    }
}

/// A hash state that absorbs its input word by word. The last word holds the input's remaining bytes, with the input's
/// length modulo 256 in the highest byte.
#[derive(Clone)]
pub(crate) struct SipState([u64; 4]);

impl SipState {
    pub(crate) const fn new(key: SipKey) -> Self {
        Self([
            key.k0 ^ 0x736f_6d65_7073_6575,
            key.k1 ^ 0x646f_7261_6e64_6f6d,
            key.k0 ^ 0x6c79_6765_6e65_7261,
            key.k1 ^ 0x7465_6462_7974_6573,
        ])
    }

    pub(crate) fn absorb(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.round();
        self.0[0] ^= word;
    }

    pub(crate) fn finish(mut self) -> u64 {
        self.0[2] ^= 0xff;
        (0..4).for_each(|_| self.round());
        self.0.iter().fold(0, |hash, word| hash ^ word)
    }

    const fn round(&mut self) {
        let [mut v0, mut v1, mut v2, mut v3] = self.0;
        v0 = v0.wrapping_add(v1);
        v1 = v1.rotate_left(13) ^ v0;
        v0 = v0.rotate_left(32);
        v2 = v2.wrapping_add(v3);
        v3 = v3.rotate_left(16) ^ v2;
        v0 = v0.wrapping_add(v3);
        v3 = v3.rotate_left(21) ^ v0;
        v2 = v2.wrapping_add(v1);
        v1 = v1.rotate_left(17) ^ v2;
        v2 = v2.rotate_left(32);
        self.0 = [v0, v1, v2, v3];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: SipKey = SipKey { k0: 0x0706_0504_0302_0100, k1: 0x0f0e_0d0c_0b0a_0908 };

    #[test]
    fn the_hashes_match_the_reference() {
        let bytes: Vec<u8> = (0..64).collect();
        // From `vectors_sip64` of the reference implementation, by the input's length.
        for (len, hash) in [
            (0, 0x726f_db47_dd0e_0e31_u64),
            (1, 0x74f8_39c5_93dc_67fd),
            (2, 0x0d6c_8009_d9a9_4f5a),
            (3, 0x8567_6696_d7fb_7e2d),
            (4, 0xcf27_94e0_2771_87b7),
            (5, 0x1876_5564_cd99_a68d),
            (6, 0xcbc9_466e_58fe_e3ce),
            (7, 0xab02_00f5_8b01_d137),
            (8, 0x93f5_f579_9a93_2462),
            (15, 0xa129_ca61_49be_45e5),
            (16, 0x3f2a_cc7f_57c2_9bdb),
            (63, 0x958a_324c_eb06_4572),
        ] {
            assert_eq!(KEY.hash(&bytes[..len]), hash, "{len} bytes");
        }
    }

    #[test]
    fn inputs_with_different_counts_of_trailing_zeros_have_different_hashes() {
        assert_ne!(KEY.hash(&[0]), KEY.hash(&[0, 0]));
        assert_ne!(KEY.hash(&[0; 7]), KEY.hash(&[0; 8]));
    }
}
