//! Which collection holds the rows of which table: those that are registered, and those that only the journal knows.

use std::rc::Rc;

use super::{Engine, collection::Collection};
use crate::Value;

impl<V: Value> Engine<V> {
    /// The collection with this name, made if only the journal knows it.
    pub(super) fn collection_named(&mut self, name: &Rc<str>) -> usize {
        if let Some(&index) = self.collections_by_name.get(name) {
            return index;
        }
        let index = self.collections.len();
        self.collections.push(Collection::new(name.clone()));
        self.collections_by_name.insert(name.clone(), index);
        self.collections_by_table.entry(name.clone()).or_insert(index);
        index
    }

    /// The collection that holds the synced rows of a table.
    pub(super) fn collection_of_table(&mut self, table: &Rc<str>) -> usize {
        match self.collections_by_table.get(table) {
            Some(&index) => index,
            None => self.collection_named(table),
        }
    }

    /// Makes a collection the holder of a remote's table, with the rows that were read before it was registered.
    pub(super) fn adopt(&mut self, index: usize, table: Rc<str>) {
        let known = self.collections_by_table.insert(table.clone(), index);
        self.collections[index].table = table;
        let Some(known) = known.filter(|&known| known != index) else { return };
        let rows = core::mem::take(&mut self.collections[known].rows);
        // What was noted of the rows is noted again where they are now.
        self.dirty.retain(|&(collection, ..)| collection != known);
        let doubts = core::mem::take(&mut self.journal.mirror_doubts);
        for (collection, row) in doubts.iter() {
            if collection != known {
                self.journal.mirror_doubts.insert(collection, row);
            }
        }
        self.collections[index].ever_synced |= self.collections[known].ever_synced;
        let touched: Vec<usize> = self
            .touched_rows
            .iter()
            .filter(|&(collection, _)| collection == known)
            .map(|(_, bucket)| bucket)
            .collect();
        for bucket in touched {
            self.touched_rows.remove(known, bucket);
            self.touched_rows.insert(index, bucket);
        }
        for (key, row) in rows {
            let ix = self.collections[index].row_ix(&key);
            let own = self.collections[index].row_mut(ix);
            own.synced = row.synced;
            own.provisional = row.provisional;
            self.refresh_unless_quiet(index, ix);
            self.mirror_later(index, ix);
        }
    }
}
