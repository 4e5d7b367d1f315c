//! Sets of rows, as one number a row: one kind of tree serves all sets of numbers, which keeps the wasm small.

use std::collections::BTreeSet;

/// A set of pairs of a collection's index and a number below it: a row, or a segment.
#[derive(Default)]
pub(super) struct RowSet(BTreeSet<u64>);

impl RowSet {
    pub fn insert(&mut self, collection: usize, row: usize) {
        self.0.insert(pair(collection, row));
    }

    pub fn remove(&mut self, collection: usize, row: usize) {
        self.0.remove(&pair(collection, row));
    }

    pub fn contains(&self, collection: usize, row: usize) -> bool {
        self.0.contains(&pair(collection, row))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The pairs in order: by collection, then by number.
    pub fn iter(&self) -> impl Iterator<Item = (usize, usize)> {
        self.0.iter().map(|&pair| ((pair >> 32) as usize, (pair & u64::from(u32::MAX)) as usize))
    }
}

fn pair(collection: usize, row: usize) -> u64 {
    ((collection as u64) << 32) | row as u64
}
