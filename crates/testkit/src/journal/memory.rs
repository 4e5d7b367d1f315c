//! A journal in memory: the semantics of the IndexedDB one, with crash points.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::Future,
    rc::Rc,
};

use driftline_core::{Checkpoint, Commit, CommitError, Loaded, LogRead, Record, Value};

use super::{JournalHarness, JournalStore};

/// What one database has on disk. Each method is one transaction.
#[derive(Clone, Debug)]
pub struct MemoryDisk<V> {
    log: BTreeMap<u64, Record<V>>,
    // IndexedDB's key generator: what it gave out in a completed transaction, it never gives out again.
    last_number: u64,
    checkpoint: u64,
    segments: BTreeMap<String, Record<V>>,
    epochs: BTreeMap<String, u64>,
    mirror: BTreeMap<String, V>,
}

impl<V> Default for MemoryDisk<V> {
    fn default() -> Self {
        Self {
            log: BTreeMap::new(),
            last_number: 0,
            checkpoint: 0,
            segments: BTreeMap::new(),
            epochs: BTreeMap::new(),
            mirror: BTreeMap::new(),
        }
    }
}

impl<V: Value> MemoryDisk<V> {
    /// Reads everything.
    pub fn load(&self) -> Loaded<V> {
        Loaded {
            checkpoint: self.checkpoint,
            segments: self.segments.iter().map(|(name, record)| (name.clone(), record.clone())).collect(),
            log: self.log.iter().map(|(number, record)| (*number, record.clone())).collect(),
            is_anew: false,
        }
    }

    /// Appends a record if its fences stand.
    ///
    /// # Errors
    /// [`CommitError::Fenced`] names the first lease whose epoch is another; nothing has changed then.
    pub fn append(&mut self, commit: &Commit<V>) -> Result<u64, CommitError> {
        if let Some(fence) = commit.fences.iter().find(|fence| self.epoch(&fence.lease) != fence.epoch) {
            return Err(CommitError::Fenced(fence.lease.clone()));
        }
        self.last_number += 1;
        self.log.insert(self.last_number, commit.record.clone());
        for put in &commit.mirror {
            match &put.row {
                Some(row) => self.mirror.insert(put.key.clone(), row.clone()),
                None => self.mirror.remove(&put.key),
            };
        }
        Ok(self.last_number)
    }

    /// Reads the log after a number.
    pub fn read_log(&self, after: u64) -> LogRead<V> {
        LogRead {
            checkpoint: self.checkpoint,
            records: self
                .log
                .range(after.saturating_add(1)..)
                .map(|(number, record)| (*number, record.clone()))
                .collect(),
        }
    }

    /// Writes a checkpoint if what it stands on is still so.
    pub fn checkpoint(&mut self, checkpoint: &Checkpoint<V>) -> bool {
        let last = self.log.last_key_value().map_or(self.checkpoint, |(number, _)| *number);
        if last != checkpoint.upto || self.checkpoint != checkpoint.replaces {
            return false;
        }
        for name in &checkpoint.deletes {
            self.segments.remove(name);
        }
        for (name, record) in &checkpoint.puts {
            self.segments.insert(name.clone(), record.clone());
        }
        self.checkpoint = checkpoint.upto;
        self.log = self.log.split_off(&checkpoint.upto.saturating_add(1));
        true
    }

    /// Raises a lease's epoch and answers it.
    pub fn raise_epoch(&mut self, lease: &str) -> u64 {
        let epoch = self.epochs.entry(lease.to_owned()).or_default();
        *epoch += 1;
        *epoch
    }

    /// A lease's epoch; zero if it was never raised.
    pub fn epoch(&self, lease: &str) -> u64 {
        self.epochs.get(lease).copied().unwrap_or_default()
    }

    /// The mirrored rows.
    pub fn mirror(&self) -> impl Iterator<Item = (&str, &V)> {
        self.mirror.iter().map(|(key, row)| (key.as_str(), row))
    }

    /// How many records the log has.
    pub fn log_len(&self) -> usize {
        self.log.len()
    }
}

/// Where the next write of a [`MemoryJournal`] goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CrashPoint {
    /// The transaction aborts with this error: nothing of it is kept.
    Abort(CommitError),
    /// The process dies before the transaction completed: nothing of it is kept.
    BeforeComplete,
    /// The process dies after it completed and before anybody was told: all of it is kept.
    AfterComplete,
}

/// A connection to a [`MemoryDisk`]. Clones are connections of their own to the same disk.
#[derive(Clone, Debug)]
pub struct MemoryJournal<V> {
    disk: Rc<RefCell<MemoryDisk<V>>>,
    next: RefCell<Option<CrashPoint>>,
    dead: Cell<bool>,
}

impl<V: Value> MemoryJournal<V> {
    /// Connects to a disk.
    pub fn new(disk: Rc<RefCell<MemoryDisk<V>>>) -> Self {
        Self { disk, next: RefCell::new(None), dead: Cell::new(false) }
    }

    /// Makes the next write go wrong. After a crash the connection answers nothing but errors.
    pub fn crash_next_write(&self, point: CrashPoint) {
        *self.next.borrow_mut() = Some(point);
    }

    fn read<T>(&self, read: impl FnOnce(&MemoryDisk<V>) -> T) -> Result<T, CommitError> {
        if self.dead.get() { Err(crashed()) } else { Ok(read(&self.disk.borrow())) }
    }

    fn write<T>(
        &self,
        write: impl FnOnce(&mut MemoryDisk<V>) -> Result<T, CommitError>,
    ) -> Result<T, CommitError> {
        if self.dead.get() {
            return Err(crashed());
        }
        match self.next.borrow_mut().take() {
            None => write(&mut self.disk.borrow_mut()),
            Some(CrashPoint::Abort(error)) => Err(error),
            Some(CrashPoint::BeforeComplete) => {
                self.dead.set(true);
                Err(crashed())
            }
            Some(CrashPoint::AfterComplete) => {
                self.dead.set(true);
                write(&mut self.disk.borrow_mut())?;
                Err(crashed())
            }
        }
    }
}

impl<V: Value> JournalStore<V> for MemoryJournal<V> {
    async fn load(&self) -> Result<Loaded<V>, CommitError> {
        self.read(MemoryDisk::load)
    }

    async fn append(&self, commit: &Commit<V>) -> Result<u64, CommitError> {
        self.write(|disk| disk.append(commit))
    }

    async fn read_log(&self, after: u64) -> Result<LogRead<V>, CommitError> {
        self.read(|disk| disk.read_log(after))
    }

    async fn checkpoint(&self, checkpoint: &Checkpoint<V>) -> Result<bool, CommitError> {
        self.write(|disk| Ok(disk.checkpoint(checkpoint)))
    }

    async fn raise_epoch(&self, lease: &str) -> Result<u64, CommitError> {
        self.write(|disk| Ok(disk.raise_epoch(lease)))
    }

    async fn mirrored(&self) -> Result<Vec<(String, V)>, CommitError> {
        self.read(|disk| disk.mirror().map(|(key, row)| (key.to_owned(), row.clone())).collect())
    }
}

/// Opens memory journals by name, for the suite.
#[derive(Default)]
pub struct MemoryHarness {
    disks: BTreeMap<String, Rc<RefCell<MemoryDisk<serde_json::Value>>>>,
}

impl JournalHarness for MemoryHarness {
    type Value = serde_json::Value;
    type Store = MemoryJournal<serde_json::Value>;

    fn open(&mut self, database: &str) -> impl Future<Output = Self::Store> {
        let disk = self.disks.entry(database.to_owned()).or_default();
        core::future::ready(MemoryJournal::new(Rc::clone(disk)))
    }
}

fn crashed() -> CommitError {
    CommitError::Unavailable("the process died".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block_on;

    fn disk() -> Rc<RefCell<MemoryDisk<serde_json::Value>>> {
        Rc::default()
    }

    fn commit(byte: u8) -> Commit<serde_json::Value> {
        Commit {
            record: Record { bytes: vec![byte], values: Vec::new() },
            fences: Vec::new(),
            mirror: Vec::new(),
        }
    }

    fn bytes_on(disk: &Rc<RefCell<MemoryDisk<serde_json::Value>>>) -> Vec<u8> {
        disk.borrow().load().log.into_iter().flat_map(|(_, record)| record.bytes).collect()
    }

    #[test]
    fn an_aborted_write_leaves_nothing_and_the_next_one_works() {
        let disk = disk();
        let journal = MemoryJournal::new(Rc::clone(&disk));
        let error = CommitError::Quota { usage_bytes: 9, quota_bytes: 10 };
        journal.crash_next_write(CrashPoint::Abort(error.clone()));
        assert_eq!(block_on(journal.append(&commit(1))), Err(error));
        assert_eq!(block_on(journal.append(&commit(2))), Ok(1));
        assert_eq!(bytes_on(&disk), [2]);
    }

    #[test]
    fn a_crash_before_completion_leaves_what_completed_earlier() {
        let disk = disk();
        let journal = MemoryJournal::new(Rc::clone(&disk));
        assert_eq!(block_on(journal.append(&commit(1))), Ok(1));
        journal.crash_next_write(CrashPoint::BeforeComplete);
        assert!(block_on(journal.append(&commit(2))).is_err());
        assert!(block_on(journal.load()).is_err(), "a dead connection answers nothing");
        assert_eq!(bytes_on(&disk), [1]);
    }

    #[test]
    fn a_crash_after_completion_keeps_what_nobody_was_told_of() {
        let disk = disk();
        let journal = MemoryJournal::new(Rc::clone(&disk));
        journal.crash_next_write(CrashPoint::AfterComplete);
        assert!(block_on(journal.append(&commit(1))).is_err());
        assert_eq!(bytes_on(&disk), [1]);
    }
}
