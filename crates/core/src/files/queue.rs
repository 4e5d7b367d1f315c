//! Whose turn is next, in one direction.

use std::collections::BTreeSet;

use crate::files::Digest;

/// Blobs that wait for their turn: those that somebody waits for first, then small before large.
#[derive(Debug, Default)]
pub(super) struct Queue {
    order: BTreeSet<Turn>,
    bytes: u64,
}

/// A place in the order; fields are compared from the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    unasked: bool,
    size: u64,
    hash: Digest,
}

impl Queue {
    pub(super) fn insert(&mut self, asked: bool, size: u64, hash: Digest) -> Turn {
        let turn = Turn { unasked: !asked, size, hash };
        if self.order.insert(turn) {
            self.bytes = self.bytes.saturating_add(size);
        }
        turn
    }

    pub(super) fn remove(&mut self, turn: Turn) {
        if self.order.remove(&turn) {
            self.bytes = self.bytes.saturating_sub(turn.size);
        }
    }

    pub(super) fn first(&self) -> Option<Digest> {
        self.order.first().map(|turn| turn.hash)
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}
