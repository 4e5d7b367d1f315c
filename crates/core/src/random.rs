//! Randomness, from a seed: identifiers and the jitter of back-offs.

use rand_core::{RngCore, SeedableRng};
use rand_xoshiro::{SplitMix64, Xoshiro256PlusPlus};

use crate::{Timestamp, TxId};

/// A seeded source of identifiers and jitter.
#[derive(Debug)]
pub(crate) struct Random(Xoshiro256PlusPlus);

impl Random {
    /// Any two seeds give sources that have nothing in common, also where they differ in one bit only.
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(Xoshiro256PlusPlus::from_seed(mixed(seed)))
    }

    /// A UUID of version 7 (RFC 9562 section 5.7). Its time is for people to read; nothing sorts by it.
    pub(crate) fn tx_id(&mut self, now: Timestamp) -> TxId {
        let mut bytes = [0; 10];
        self.0.fill_bytes(&mut bytes);
        TxId(uuid::Builder::from_unix_timestamp_millis(now.0, &bytes).into_uuid().as_u128())
    }

    /// A whole number from 0 to `max`, both included.
    pub(crate) fn up_to(&mut self, max: u64) -> u64 {
        // The bias of a plain remainder is below 2^-32 for any back-off, and a back-off needs no better.
        if max == u64::MAX { self.0.next_u64() } else { self.0.next_u64() % (max + 1) }
    }
}

/// Spreads each bit of a seed over all of it; no two seeds become the same one. The generator itself does that
/// only after some dozens of draws, and two tabs with the seeds 1 and 2 would draw the same identifiers first.
fn mixed(mut seed: [u8; 32]) -> [u8; 32] {
    let mut carried = 0;
    for _ in 0..2 {
        for word in seed.chunks_exact_mut(8) {
            let own = u64::from_le_bytes(word.try_into().expect("a chunk has eight bytes"));
            carried = SplitMix64::seed_from_u64(own ^ carried).next_u64();
            word.copy_from_slice(&carried.to_le_bytes());
        }
    }
    seed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_that_differ_in_one_bit_draw_other_identifiers_from_the_first_on() {
        let mut drawn = std::collections::BTreeSet::new();
        for byte in 0..32 {
            for bit in 0..8 {
                let mut seed = [0; 32];
                seed[byte] = 1 << bit;
                let mut random = Random::new(seed);
                drawn.extend((0..4).map(|_| random.tx_id(Timestamp(1)).0));
            }
        }
        assert_eq!(drawn.len(), 32 * 8 * 4);
    }
}
