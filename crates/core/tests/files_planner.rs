//! The file planner, driven by hand: what it decides, one behaviour a test.

use driftline_core::{
    OpId, Timestamp,
    files::{
        Config, DeleteOutcome, Digest, Failure, FailureKind, FileEngine, FileId, Held, Input, LaneState,
        Output, READER_GRACE_MS, RecordFacts, Stored, TransferError, TransferKind, TransferStatus,
    },
};

#[test]
fn a_saved_file_is_uploaded_once_for_all_its_records_and_they_are_told_when_that_is_durable() {
    let mut rig = Rig::new();
    rig.save(1, 100);
    rig.records(&[record("a", 1, 100, false), record("b", 1, 100, false)]);
    let op = rig.started(TransferKind::Upload, 1);
    rig.input(Input::Finished(op));
    assert_eq!(rig.take_uploaded(), None, "told before it was durable");
    rig.store_all();
    assert_eq!(rig.take_uploaded(), Some(vec![id("a"), id("b")]));
    assert!(rig.engine.status().idle);
}

#[test]
fn a_crash_between_upload_and_record_tells_the_record_again_without_a_second_upload() {
    let mut rig = Rig::new();
    rig.restore(vec![(
        digest(1),
        Stored { size: 5, saves: 1, local: true, uploaded: true, ..Stored::default() },
    )]);
    rig.records(&[record("a", 1, 5, false)]);
    assert_eq!(rig.take_uploaded(), Some(vec![id("a")]));
    assert!(rig.starts.is_empty());
}

#[test]
fn small_files_go_before_large_ones_and_what_somebody_waits_for_before_both() {
    let mut rig = Rig::with(Config { max_concurrent_downloads: 1, ..Config::default() });
    rig.records(&[record("x", 9, 1, true)]);
    rig.absent(9);
    rig.records(&[record("a", 1, 300, true), record("b", 2, 200, true), record("c", 3, 100, true)]);
    (1..=3).for_each(|n| rig.absent(n));
    rig.input(Input::Wanted(digest(1)));
    for n in [9, 1, 3, 2] {
        let op = rig.started(TransferKind::Download, n);
        rig.input(Input::Finished(op));
    }
}

#[test]
fn a_file_without_a_remote_key_waits_for_the_device_that_has_it() {
    let mut rig = Rig::new();
    rig.records(&[record("a", 1, 10, false)]);
    rig.absent(1);
    assert!(rig.starts.is_empty());
    assert_eq!(rig.download_status("a"), TransferStatus::Pending);
    rig.records(&[record("a", 1, 10, true)]);
    rig.started(TransferKind::Download, 1);
}

#[test]
fn an_unreachable_remote_spends_no_attempt_and_is_tried_again_when_the_network_returns() {
    let mut rig = Rig::new();
    rig.save(1, 100);
    rig.records(&[record("a", 1, 100, false)]);
    for _ in 0..50 {
        let op = rig.started(TransferKind::Upload, 1);
        rig.fail(op, FailureKind::Unreachable);
        assert_eq!(rig.engine.status().held, Some(Held::Offline));
        rig.input(Input::Online(false));
        assert!(rig.starts.is_empty());
        rig.input(Input::Online(true));
    }
    rig.started(TransferKind::Upload, 1);
    assert_eq!(rig.store.iter().filter(|(_, stored)| stored.upload.attempts > 0).count(), 0);
}

#[test]
fn temporary_failures_back_off_within_bounds_and_then_give_up_with_a_retryable_error() {
    let mut rig = Rig::new();
    rig.save(1, 100);
    rig.records(&[record("a", 1, 100, false)]);
    for attempt in 0..5 {
        let op = rig.started(TransferKind::Upload, 1);
        let failed_at = rig.now;
        rig.fail(op, FailureKind::Temporary(None));
        if attempt < 4 {
            rig.run_to_wake();
            assert!(rig.now.0 - failed_at.0 <= 1_000 << attempt);
        }
    }
    let error = rig.engine.state(&id("a")).expect("a record").last_error.expect("an error");
    assert!(error.retryable);
    rig.input(Input::Online(false));
    rig.input(Input::Online(true));
    rig.started(TransferKind::Upload, 1);
}

#[test]
fn a_wait_that_the_remote_asks_for_is_kept() {
    let mut rig = Rig::new();
    rig.save(1, 100);
    rig.records(&[record("a", 1, 100, false)]);
    let op = rig.started(TransferKind::Upload, 1);
    rig.fail(op, FailureKind::Temporary(Some(90_000)));
    let before = rig.now;
    rig.run_to_wake();
    assert_eq!(rig.now.0 - before.0, 90_000);
    rig.started(TransferKind::Upload, 1);
}

#[test]
fn a_transfer_that_gets_on_is_never_given_up_however_often_it_breaks() {
    let mut rig = Rig::new();
    rig.save(1, 1_000);
    rig.records(&[record("a", 1, 1_000, false)]);
    for n in 1..=100 {
        let op = rig.started(TransferKind::Upload, 1);
        rig.input(Input::Progressed(op, n * 10));
        rig.fail(op, FailureKind::Temporary(None));
        rig.run_to_wake();
    }
}

#[test]
fn progress_never_goes_backwards_when_a_download_starts_over() {
    let mut rig = Rig::new();
    rig.records(&[record("a", 1, 100, true)]);
    rig.absent(1);
    let op = rig.started(TransferKind::Download, 1);
    rig.input(Input::Progressed(op, 80));
    rig.fail(op, FailureKind::DigestMismatch);
    rig.run_to_wake();
    assert_eq!(rig.fresh, Some(true), "wrong bytes are thrown away");
    let op = rig.started(TransferKind::Download, 1);
    rig.input(Input::Progressed(op, 10));
    rig.input(Input::Progressed(op, 90));
    assert_eq!(rig.progress, [80, 90]);
}

#[test]
fn wrong_bytes_are_fetched_again_twice_and_then_are_an_error() {
    let mut rig = Rig::new();
    rig.records(&[record("a", 1, 100, true)]);
    rig.absent(1);
    for _ in 0..3 {
        let op = rig.started(TransferKind::Download, 1);
        rig.fail(op, FailureKind::DigestMismatch);
        rig.run_to_wake();
    }
    assert!(rig.starts.is_empty());
    assert_eq!(rig.error_code("a"), "digest_mismatch");
    assert_eq!(rig.download_status("a"), TransferStatus::Error);
    rig.input(Input::Wanted(digest(1)));
    rig.started(TransferKind::Download, 1);
}

#[test]
fn a_file_too_large_for_the_remote_is_an_error_at_once_that_survives_a_reload() {
    let mut rig = Rig::new();
    rig.save(1, 100);
    rig.records(&[record("a", 1, 100, false)]);
    let op = rig.started(TransferKind::Upload, 1);
    rig.fail(op, FailureKind::TooLarge(Some(50)));
    assert_eq!(rig.error_code("a"), "too_large");
    let stored = rig.store.clone();
    let mut rig = Rig::new();
    rig.restore(stored);
    rig.records(&[record("a", 1, 100, false)]);
    assert!(rig.starts.is_empty());
    let error = rig.engine.state(&id("a")).expect("a record").last_error.expect("an error");
    assert_eq!((error.code.as_str(), error.limit_bytes, error.retryable), ("too_large", Some(50), false));
}

#[test]
fn a_refused_token_holds_everything_until_resume() {
    let mut rig = Rig::new();
    rig.save(1, 100);
    rig.records(&[record("a", 1, 100, false)]);
    let op = rig.started(TransferKind::Upload, 1);
    rig.fail(op, FailureKind::AuthRequired);
    assert_eq!(rig.engine.status().held, Some(Held::Auth));
    rig.save(2, 10);
    rig.records(&[record("b", 2, 10, false)]);
    rig.input(Input::Online(true));
    assert!(rig.starts.is_empty());
    rig.input(Input::Resume);
    rig.started(TransferKind::Upload, 2);
    rig.started(TransferKind::Upload, 1);
}

#[test]
fn pause_ends_what_runs_and_resume_goes_on_where_it_was() {
    let mut rig = Rig::new();
    rig.save(1, 100);
    rig.records(&[record("a", 1, 100, false)]);
    let op = rig.started(TransferKind::Upload, 1);
    rig.input(Input::Progressed(op, 64));
    rig.input(Input::Pause);
    assert_eq!(rig.cancelled, [op]);
    rig.fail(op, FailureKind::Aborted);
    assert!(rig.starts.is_empty());
    rig.input(Input::Resume);
    assert_eq!(rig.starts[0].3, 64);
}

#[test]
fn a_cancelled_transfer_stays_cancelled_over_a_reload_until_somebody_asks() {
    let mut rig = Rig::new();
    rig.save(1, 100);
    rig.records(&[record("a", 1, 100, false)]);
    let op = rig.started(TransferKind::Upload, 1);
    rig.input(Input::Cancel(digest(1)));
    rig.fail(op, FailureKind::Aborted);
    let stored = rig.store.clone();
    let mut rig = Rig::new();
    rig.restore(stored);
    rig.records(&[record("a", 1, 100, false)]);
    assert!(rig.starts.is_empty());
    rig.input(Input::EnqueueUpload(digest(1)));
    rig.started(TransferKind::Upload, 1);
}

#[test]
fn a_twins_deletion_keeps_the_blob_and_the_last_ones_deletion_drops_it_after_the_grace() {
    let mut rig = Rig::new();
    rig.save(1, 100);
    rig.records(&[record("a", 1, 100, true), record("b", 1, 100, true)]);
    rig.remove("a");
    rig.advance(READER_GRACE_MS * 2);
    assert!(rig.deletes.is_empty());
    rig.remove("b");
    rig.advance(READER_GRACE_MS - 1);
    assert!(rig.deletes.is_empty());
    rig.advance(1);
    let (op, saves) = rig.deletes.pop().expect("a deletion");
    assert_eq!(saves, 1);
    rig.input(Input::Deleted(op, DeleteOutcome::Deleted));
    assert!(rig.store.is_empty(), "its state is forgotten with it");
}

#[test]
fn a_blob_that_another_tab_saves_again_is_kept_and_uploaded() {
    let mut rig = Rig::new();
    rig.save(1, 100);
    rig.records(&[record("a", 1, 100, false)]);
    let op = rig.started(TransferKind::Upload, 1);
    rig.remove("a");
    rig.fail(op, FailureKind::Aborted);
    rig.advance(READER_GRACE_MS);
    let (op, _) = rig.deletes.pop().expect("a deletion");
    let again = Stored { size: 100, saves: 2, saved_at: Some(rig.now), local: true, ..Stored::default() };
    rig.input(Input::Deleted(op, DeleteOutcome::Kept(again)));
    rig.records(&[record("c", 1, 100, false)]);
    rig.started(TransferKind::Upload, 1);
}

#[test]
fn nothing_is_deleted_before_all_records_are_told() {
    let mut rig = Rig::new();
    rig.engine = FileEngine::new(Config::default(), [0; 32]);
    let old = Stored {
        size: 5,
        saves: 1,
        saved_at: Some(Timestamp(0)),
        local: true,
        uploaded: true,
        ..Stored::default()
    };
    rig.restore(vec![(digest(1), old)]);
    rig.advance(READER_GRACE_MS * 1_000);
    assert!(rig.deletes.is_empty());
    rig.input(Input::Records { upserts: vec![], removed: vec![], complete: true });
    rig.advance(READER_GRACE_MS);
    assert_eq!(rig.deletes.len(), 1, "an orphan goes once it is sure to be one");
}

#[test]
fn only_what_the_remote_has_and_nobody_pinned_is_evicted_and_it_does_not_come_back_by_itself() {
    let mut rig = Rig::new();
    rig.save(1, 100);
    rig.records(&[record("a", 1, 100, false)]);
    rig.input(Input::Evict(1, digest(1)));
    assert_eq!(rig.evicted.pop(), Some((1, false)));
    let op = rig.started(TransferKind::Upload, 1);
    rig.input(Input::Finished(op));
    rig.input(Input::Evict(4, digest(1)));
    assert_eq!(rig.evicted.pop(), Some((4, false)), "not before the upload is durably known");
    rig.store_all();
    rig.input(Input::Pin(digest(1), true));
    rig.input(Input::Evict(2, digest(1)));
    assert_eq!(rig.evicted.pop(), Some((2, false)));
    rig.input(Input::Pin(digest(1), false));
    rig.input(Input::Evict(3, digest(1)));
    let (op, _) = rig.deletes.pop().expect("a deletion");
    rig.input(Input::Deleted(op, DeleteOutcome::Deleted));
    assert_eq!(rig.evicted.pop(), Some((3, true)));
    assert!(rig.starts.is_empty());
    rig.input(Input::Wanted(digest(1)));
    rig.started(TransferKind::Download, 1);
}

#[test]
fn what_the_state_decides_costs_no_look_at_the_disk() {
    let mut rig = Rig::new();
    let known =
        |n: u8| (digest(n), Stored { size: 5, saves: 1, local: true, uploaded: true, ..Stored::default() });
    rig.restore((0..100).map(known).collect());
    let records: Vec<_> = (0..100).map(|n| record(&n.to_string(), n, 5, true)).collect();
    rig.records(&records);
    assert!(rig.probes.is_empty() && rig.starts.is_empty());
}

#[test]
fn a_save_that_crashed_before_it_was_published_is_found_out_and_shown() {
    let mut rig = Rig::new();
    rig.restore(vec![(digest(1), Stored { size: 5, saves: 1, ..Stored::default() })]);
    rig.records(&[record("a", 1, 5, false)]);
    rig.absent(1);
    assert_eq!(rig.error_code("a"), "not_found");
    rig.save(1, 5);
    rig.started(TransferKind::Upload, 1);
}

#[test]
fn a_state_that_could_not_be_written_is_written_again_before_anyone_is_told() {
    let mut rig = Rig::new();
    rig.save(1, 100);
    rig.records(&[record("a", 1, 100, false)]);
    let op = rig.started(TransferKind::Upload, 1);
    rig.refuse_writes = true;
    rig.input(Input::Finished(op));
    rig.store_all();
    assert_eq!(rig.take_uploaded(), None);
    rig.refuse_writes = false;
    rig.run_to_wake();
    assert_eq!(rig.take_uploaded(), Some(vec![id("a")]));
}

#[test]
fn the_stored_state_reads_back_as_it_was_written_and_takes_an_empty_one() {
    let error = TransferError {
        code: "too_large".into(),
        message: "m".into(),
        retryable: false,
        limit_bytes: Some(1 << 40),
    };
    let upload = LaneState { attempts: 3, cancelled: true, error: Some(error) };
    let stored = Stored {
        size: 1 << 34,
        saves: 2,
        saved_at: Some(Timestamp(9)),
        pinned: true,
        upload,
        ..Stored::default()
    };
    let text = serde_json::to_string(&stored).expect("plain data");
    assert_eq!(serde_json::from_str::<Stored>(&text).expect("its own text"), stored);
    assert_eq!(serde_json::from_str::<Stored>("{}").expect("all fields have defaults"), Stored::default());
}

/// A driver that answers looks and writes by itself, and leaves transfers and deletions to the test.
struct Rig {
    engine: FileEngine,
    now: Timestamp,
    restored: bool,
    store: Vec<(Digest, Stored)>,
    on_disk: Vec<Digest>,
    refuse_writes: bool,
    pending_writes: Vec<(OpId, Digest, Option<Stored>)>,
    hold_writes: bool,
    starts: Vec<(OpId, TransferKind, Digest, u64)>,
    fresh: Option<bool>,
    cancelled: Vec<OpId>,
    probes: Vec<Digest>,
    deletes: Vec<(OpId, u32)>,
    evicted: Vec<(u32, bool)>,
    uploaded: Option<Vec<FileId>>,
    progress: Vec<u64>,
    wake: Option<Timestamp>,
}

impl Rig {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        Self {
            engine: FileEngine::new(config, [7; 32]),
            now: Timestamp(1_700_000_000_000),
            restored: false,
            store: vec![],
            on_disk: vec![],
            refuse_writes: false,
            pending_writes: vec![],
            hold_writes: false,
            starts: vec![],
            fresh: None,
            cancelled: vec![],
            probes: vec![],
            deletes: vec![],
            evicted: vec![],
            uploaded: None,
            progress: vec![],
            wake: None,
        }
    }

    fn restore(&mut self, states: Vec<(Digest, Stored)>) {
        self.restored = true;
        self.store = states.clone();
        self.input(Input::Restored(states));
    }

    fn records(&mut self, upserts: &[RecordFacts]) {
        self.begin();
        self.input(Input::Records { upserts: upserts.to_vec(), removed: vec![], complete: true });
    }

    fn remove(&mut self, name: &str) {
        self.input(Input::Records { upserts: vec![], removed: vec![id(name)], complete: true });
    }

    fn begin(&mut self) {
        if !self.restored {
            self.restore(vec![]);
        }
    }

    fn save(&mut self, n: u8, size: u64) {
        self.begin();
        self.on_disk.push(digest(n));
        let before = self
            .store
            .iter()
            .find(|(hash, _)| *hash == digest(n))
            .map(|(_, stored)| stored.clone())
            .unwrap_or_default();
        let stored = before.saved(size, self.now);
        self.put(digest(n), Some(stored.clone()));
        self.input(Input::Saved(digest(n), stored));
    }

    fn absent(&mut self, n: u8) {
        assert!(!self.on_disk.contains(&digest(n)));
    }

    fn put(&mut self, hash: Digest, value: Option<Stored>) {
        self.store.retain(|(other, _)| *other != hash);
        self.store.extend(value.map(|stored| (hash, stored)));
    }

    fn input(&mut self, input: Input) {
        // An upload's end is the one write whose timing a test looks at.
        self.hold_writes = matches!(input, Input::Finished(_));
        self.engine.handle_input(self.now, input);
        self.drain();
    }

    fn store_all(&mut self) {
        for (op, hash, value) in std::mem::take(&mut self.pending_writes) {
            if !self.refuse_writes {
                self.put(hash, value);
            }
            self.engine.handle_input(self.now, Input::StateStored(op, !self.refuse_writes));
        }
        self.drain();
    }

    fn fail(&mut self, op: OpId, kind: FailureKind) {
        self.input(Input::Failed(op, Failure { kind, message: "it did not work".into() }));
    }

    fn advance(&mut self, ms: u64) {
        self.now = self.now + ms;
        self.input(Input::Timer);
    }

    fn run_to_wake(&mut self) {
        if let Some(at) = self.wake {
            self.now = self.now.max(at);
            self.input(Input::Timer);
        }
    }

    fn started(&mut self, kind: TransferKind, n: u8) -> OpId {
        self.store_all();
        let (op, started, hash, _) = *self.starts.first().expect("a start");
        assert_eq!((started, hash), (kind, digest(n)));
        self.starts.remove(0);
        op
    }

    fn take_uploaded(&mut self) -> Option<Vec<FileId>> {
        self.uploaded.take()
    }

    fn download_status(&self, name: &str) -> TransferStatus {
        self.engine.state(&id(name)).expect("a record").download_status
    }

    fn error_code(&self, name: &str) -> String {
        self.engine.state(&id(name)).expect("a record").last_error.expect("an error").code
    }

    fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Probe(op, hash) => {
                    self.probes.push(hash);
                    let size = self.on_disk.contains(&hash).then_some(1);
                    self.engine.handle_input(self.now, Input::Probed(op, size));
                }
                Output::StoreState(op, hash, stored) => self.write(op, hash, Some(stored)),
                Output::ForgetState(op, hash, _) => self.write(op, hash, None),
                Output::DeleteBlob { op, saves, .. } => self.deletes.push((op, saves)),
                Output::Start { op, kind, hash, offset, fresh, .. } => {
                    self.fresh = Some(fresh);
                    self.starts.push((op, kind, hash, offset));
                }
                Output::Cancel(op) => self.cancelled.push(op),
                Output::Progress { loaded, .. } => self.progress.push(loaded),
                Output::RecordUploaded { files, .. } => self.uploaded = Some(files),
                Output::Evicted(request, gone) => self.evicted.push((request, gone)),
                Output::Wake(wake) => self.wake = wake.map(|(at, _)| at),
                Output::StateChanged(_) | Output::StateRemoved(_) | Output::StatusChanged(_) => {}
            }
        }
    }

    fn write(&mut self, op: OpId, hash: Digest, value: Option<Stored>) {
        if self.hold_writes {
            self.pending_writes.push((op, hash, value));
        } else {
            if !self.refuse_writes {
                self.put(hash, value);
            }
            self.engine.handle_input(self.now, Input::StateStored(op, !self.refuse_writes));
        }
    }
}

fn digest(n: u8) -> Digest {
    Digest([n; 32])
}

fn id(name: &str) -> FileId {
    FileId(name.into())
}

fn record(name: &str, n: u8, size: u64, remote: bool) -> RecordFacts {
    RecordFacts { id: id(name), hash: digest(n), size, remote, auto_download: true }
}
