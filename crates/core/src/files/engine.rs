//! The planner itself: its inputs, and what each changes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    OpId, Timestamp,
    files::{
        Digest, FileId, FileState, Input, Output, RecordFacts, Status, Stored, TransferKind,
        answers::LOCAL_MISSING_CODE,
        blob::{Blob, Local, Phase, Record},
        queue::Queue,
    },
    random::Random,
};

/// What an app may set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Uploads at a time.
    pub max_concurrent_uploads: usize,
    /// Downloads at a time.
    pub max_concurrent_downloads: usize,
    /// Whether what is saved is uploaded without being asked for.
    pub auto_upload: bool,
    /// Attempts without a byte moved until a transfer is given up.
    pub max_attempts: u32,
    /// The first back-off's bound in milliseconds; it doubles with each attempt.
    pub base_delay_ms: u64,
    /// The largest back-off in milliseconds.
    pub max_delay_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_concurrent_uploads: 2,
            max_concurrent_downloads: 4,
            auto_upload: true,
            max_attempts: 5,
            base_delay_ms: 1_000,
            max_delay_ms: 60_000,
        }
    }
}

/// Plans the transfers of one database. The module's docs have the contract.
#[derive(Debug)]
pub struct FileEngine {
    pub(super) config: Config,
    pub(super) random: Random,
    pub(super) blobs: BTreeMap<Digest, Blob>,
    pub(super) by_id: BTreeMap<FileId, Digest>,
    pub(super) uploads: Queue,
    pub(super) downloads: Queue,
    pub(super) running: BTreeMap<OpId, (TransferKind, Digest)>,
    pub(super) ops: BTreeMap<OpId, Digest>,
    pub(super) next_op: u64,
    pub(super) dirty: BTreeSet<Digest>,
    /// Transfers in a back-off.
    pub(super) waiting: BTreeSet<(Digest, TransferKind)>,
    pub(super) busy: BTreeSet<Digest>,
    pub(super) failed: BTreeSet<Digest>,
    pub(super) timers: BTreeSet<(Timestamp, Digest)>,
    pub(super) outputs: VecDeque<Output>,
    pub(super) restored: bool,
    /// When all records had been told.
    pub(super) complete_since: Option<Timestamp>,
    pub(super) paused: bool,
    pub(super) auth_held: bool,
    pub(super) quota_held: bool,
    pub(super) online: bool,
    pub(super) unreachable: u32,
    pub(super) reconnect_at: Option<Timestamp>,
    pub(super) told_status: Option<Status>,
    pub(super) told_wake: Option<Timestamp>,
}

impl FileEngine {
    /// A planner that knows nothing yet. `seed` feeds the jitter of its back-offs.
    #[must_use]
    pub fn new(config: Config, seed: [u8; 32]) -> Self {
        Self {
            config,
            random: Random::new(seed),
            blobs: BTreeMap::new(),
            by_id: BTreeMap::new(),
            uploads: Queue::default(),
            downloads: Queue::default(),
            running: BTreeMap::new(),
            ops: BTreeMap::new(),
            next_op: 0,
            dirty: BTreeSet::new(),
            waiting: BTreeSet::new(),
            busy: BTreeSet::new(),
            failed: BTreeSet::new(),
            timers: BTreeSet::new(),
            outputs: VecDeque::new(),
            restored: false,
            complete_since: None,
            paused: false,
            auth_held: false,
            quota_held: false,
            online: true,
            unreachable: 0,
            reconnect_at: None,
            told_status: None,
            told_wake: None,
        }
    }

    /// Takes an answer, a fact, a wish or the timer. An answer to an operation that is not open is ignored.
    pub fn handle_input(&mut self, now: Timestamp, input: Input) {
        match input {
            Input::Restored(states) => {
                self.restored = true;
                for (hash, stored) in states {
                    self.restore(hash, stored);
                }
                self.dirty.extend(self.blobs.keys().copied());
            }
            Input::Records { upserts, removed, complete } => {
                for facts in upserts {
                    self.upsert(now, facts);
                }
                for id in removed {
                    self.remove(now, &id);
                }
                if complete && self.complete_since.is_none() {
                    self.complete_since = Some(now);
                    self.dirty.extend(self.blobs.keys().copied());
                }
            }
            Input::Saved(hash, stored) => {
                let blob = self.blobs.entry(hash).or_default();
                blob.stored.absorb_saves(&stored);
                blob.stored.evicted = false;
                blob.size = stored.size;
                blob.local = Local::Present;
                blob.stored.local = true;
                // Its record is on its way: what was decided before it was saved does not count.
                blob.unreferenced_since = None;
                if blob.stored.upload.error.as_ref().is_some_and(|error| error.code == LOCAL_MISSING_CODE) {
                    blob.stored.upload.error = None;
                }
                self.dirty.insert(hash);
            }
            Input::Found(blobs) => {
                for (hash, size) in blobs {
                    let blob = self.blobs.entry(hash).or_default();
                    if blob.local == Local::Unknown {
                        blob.local = Local::Present;
                        blob.stored.local = true;
                        blob.size = size;
                        self.dirty.insert(hash);
                    }
                }
            }
            Input::Probed(op, size) => self.probed(op, size),
            Input::StateStored(op, stored) => self.state_stored(now, op, stored),
            Input::Deleted(op, outcome) => self.deleted(now, op, outcome),
            Input::Progressed(op, loaded) => self.progressed(op, loaded),
            Input::Finished(op) => self.finished(op),
            Input::Failed(op, failure) => self.failed(now, op, &failure),
            Input::Wanted(hash) | Input::EnqueueDownload(hash) => self.ask(hash, TransferKind::Download),
            Input::EnqueueUpload(hash) => self.ask(hash, TransferKind::Upload),
            Input::Prioritize(hash) => {
                if let Some(blob) = self.blobs.get_mut(&hash) {
                    requeue_first(&mut self.uploads, blob, TransferKind::Upload);
                    requeue_first(&mut self.downloads, blob, TransferKind::Download);
                    self.dirty.insert(hash);
                }
            }
            Input::Cancel(hash) => {
                if let Some(blob) = self.blobs.get_mut(&hash) {
                    for kind in [TransferKind::Upload, TransferKind::Download] {
                        if blob.needs(kind, self.config.auto_upload) {
                            blob.state_mut(kind).cancelled = true;
                        }
                    }
                    self.dirty.insert(hash);
                }
            }
            Input::Pin(hash, pinned) => {
                if let Some(blob) = self.blobs.get_mut(&hash) {
                    blob.stored.pinned = pinned;
                    blob.stored.evicted &= !pinned;
                    self.dirty.insert(hash);
                }
            }
            Input::Evict(request, hash) => self.evict(request, hash),
            Input::Pause => {
                self.paused = true;
                self.end_running();
            }
            Input::Resume => {
                self.paused = false;
                self.auth_held = false;
                self.quota_held = false;
                self.reach_again();
            }
            Input::Online(online) => {
                let returned = online && !self.online;
                self.online = online;
                if returned {
                    self.reach_again();
                }
            }
            Input::Timer => {
                while let Some(&(at, hash)) = self.timers.first() {
                    if at > now {
                        break;
                    }
                    self.timers.pop_first();
                    if let Some(blob) = self.blobs.get_mut(&hash) {
                        blob.wake = None;
                    }
                    self.dirty.insert(hash);
                }
                // The driver's timer is spent; what is still due is set anew.
                self.told_wake = None;
            }
        }
        self.settle(now);
    }

    /// The next effect or event, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The state of a record's file on this device.
    #[must_use]
    pub fn state(&self, id: &FileId) -> Option<FileState> {
        let hash = *self.by_id.get(id)?;
        let blob = self.blobs.get(&hash)?;
        Some(blob.file_state(hash, id, &blob.view(self.config.auto_upload)))
    }

    /// The states of all records' files, for a tab that has just joined.
    pub fn states(&self) -> impl Iterator<Item = FileState> {
        self.by_id.keys().filter_map(|id| self.state(id))
    }

    /// The whole, as it is now.
    #[must_use]
    pub fn status(&self) -> Status {
        let moving = self
            .running
            .values()
            .filter_map(|(kind, hash)| self.blobs.get(hash).map(|blob| (blob.lane(*kind).loaded, blob.size)));
        let (loaded, total) = moving.fold((0, 0), |sum: (u64, u64), one| (sum.0 + one.0, sum.1 + one.1));
        let uploading = self.running_of(TransferKind::Upload);
        Status {
            uploading,
            downloading: self.running.len() - uploading,
            queued: self.uploads.len() + self.downloads.len() + self.waiting.len(),
            held: self.held(),
            loaded,
            total: total + self.uploads.bytes() + self.downloads.bytes(),
            idle: self.restored && self.complete_since.is_some() && self.busy.is_empty(),
        }
    }

    /// Whether a partial download of this blob may still be gone on with; what is not, may be swept.
    #[must_use]
    pub fn expects_partial(&self, hash: &Digest) -> bool {
        self.complete_since.is_none()
            || self
                .blobs
                .get(hash)
                .is_some_and(|blob| !blob.records.is_empty() && blob.local != Local::Present)
    }

    fn restore(&mut self, hash: Digest, stored: Stored) {
        let Some(blob) = self.blobs.get_mut(&hash) else {
            self.blobs.insert(hash, Blob::restored(stored));
            return;
        };
        // Records, a save or a wish came first: the past goes under them.
        let fresh = core::mem::replace(blob, Blob::restored(stored));
        blob.records = fresh.records;
        blob.stored.absorb_saves(&fresh.stored);
        blob.stored.pinned |= fresh.stored.pinned;
        blob.upload.asked = fresh.upload.asked;
        blob.download.asked = fresh.download.asked;
        if fresh.local == Local::Present {
            blob.local = Local::Present;
            blob.stored.local = true;
        }
        if blob.size == 0 {
            blob.size = fresh.size;
        }
    }

    fn upsert(&mut self, now: Timestamp, facts: RecordFacts) {
        if self.by_id.get(&facts.id).is_some_and(|old| *old != facts.hash) {
            self.detach(now, &facts.id);
        }
        self.by_id.insert(facts.id.clone(), facts.hash);
        let blob = self.blobs.entry(facts.hash).or_default();
        blob.size = blob.size.max(facts.size);
        blob.unreferenced_since = None;
        let record = blob.records.entry(facts.id).or_insert(Record {
            remote: false,
            auto_download: false,
            announced: false,
            shown: false,
        });
        // A record that was written anew without its remote key is told again.
        record.announced &= facts.remote || !record.remote;
        record.remote = facts.remote;
        record.auto_download = facts.auto_download;
        self.dirty.insert(facts.hash);
    }

    fn remove(&mut self, now: Timestamp, id: &FileId) {
        self.detach(now, id);
        if self.by_id.remove(id).is_some() {
            self.outputs.push_back(Output::StateRemoved(id.clone()));
        }
    }

    fn detach(&mut self, now: Timestamp, id: &FileId) {
        let Some(&hash) = self.by_id.get(id) else { return };
        let Some(blob) = self.blobs.get_mut(&hash) else { return };
        if let Some(record) = blob.records.remove(id) {
            // What the remote has, it has, also without the record that said so.
            blob.stored.uploaded |= record.remote;
        }
        if blob.records.is_empty() {
            blob.unreferenced_since = Some(now);
        }
        self.dirty.insert(hash);
    }

    fn ask(&mut self, hash: Digest, kind: TransferKind) {
        let Some(blob) = self.blobs.get_mut(&hash) else { return };
        let queue = match kind {
            TransferKind::Upload => &mut self.uploads,
            TransferKind::Download => &mut self.downloads,
        };
        requeue_first(queue, blob, kind);
        blob.ask(kind);
        self.dirty.insert(hash);
    }

    /// The network is back, or somebody says so: nothing waits for it any longer, and what was given up
    /// for a reason that may have passed is tried again.
    fn reach_again(&mut self) {
        self.unreachable = 0;
        self.reconnect_at = None;
        for hash in core::mem::take(&mut self.failed) {
            let Some(blob) = self.blobs.get_mut(&hash) else { continue };
            for kind in [TransferKind::Upload, TransferKind::Download] {
                let kept = blob.state_mut(kind);
                if kept.error.as_ref().is_some_and(|error| error.retryable) {
                    kept.error = None;
                    kept.attempts = 0;
                }
            }
            self.dirty.insert(hash);
        }
    }
}

/// Puts it ahead of the others; settling gives it its new place.
fn requeue_first(queue: &mut Queue, blob: &mut Blob, kind: TransferKind) {
    let lane = blob.lane_mut(kind);
    if let Phase::Queued(turn) = lane.phase {
        queue.remove(turn);
        lane.phase = Phase::Idle;
    }
    lane.asked = true;
}
