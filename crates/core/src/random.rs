//! Randomness, from a seed: identifiers and the jitter of back-offs.

use rand_core::{RngCore, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::{Timestamp, TxId};

/// A seeded source of identifiers and jitter.
#[derive(Debug)]
pub(crate) struct Random(Xoshiro256PlusPlus);

impl Random {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(Xoshiro256PlusPlus::from_seed(seed))
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
