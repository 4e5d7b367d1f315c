//! The file planner under random schedules: a disk, a store, a remote and a person that do anything at
//! any time, crashes included. A safety phase under faults; then the faults heal, and everything must
//! arrive and come to rest. `DRIFTLINE_FILE_SEEDS=10000` runs more; a failure names its seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use driftline_core::{
    OpId, Timestamp,
    files::{
        Config, DeleteOutcome, Digest, Failure, FailureKind, FileEngine, FileId, Input, Output, RecordFacts,
        Stored, TransferKind, TransferStatus,
    },
};
use rand_core::{RngCore, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the number of seeds is an option of the test, not of the core"
)]
fn nothing_is_lost_nothing_is_crowded_and_everything_comes_to_rest() {
    let seeds = std::env::var("DRIFTLINE_FILE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(50);
    for seed in 0..seeds {
        let outcome = std::panic::catch_unwind(|| World::run(seed, false));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

#[test]
fn one_seed_run_twice_gives_the_same_outputs() {
    for seed in 0..10 {
        assert_eq!(World::run(seed, true), World::run(seed, true), "seed {seed}");
    }
}

/// Everything around the planner.
struct World {
    random: Xoshiro256PlusPlus,
    now: Timestamp,
    engine: FileEngine,
    /// What survives a crash.
    disk: BTreeSet<Digest>,
    store: BTreeMap<Digest, Stored>,
    records: BTreeMap<FileId, RecordFacts>,
    remote: BTreeSet<Digest>,
    /// What does not.
    asked: Vec<Output>,
    running: BTreeMap<OpId, (TransferKind, Digest)>,
    loaded: BTreeMap<(TransferKind, Digest), u64>,
    evictions: u32,
    wake: Option<Timestamp>,
    faults: bool,
    traced: bool,
    trace: String,
}

impl World {
    fn run(seed: u64, traced: bool) -> String {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let now = Timestamp(1_700_000_000_000);
        let mut world = Self {
            engine: FileEngine::new(config(), seed_of(&mut random)),
            random,
            now,
            disk: BTreeSet::new(),
            store: BTreeMap::new(),
            records: BTreeMap::new(),
            remote: BTreeSet::new(),
            asked: vec![],
            running: BTreeMap::new(),
            loaded: BTreeMap::new(),
            evictions: 0,
            wake: None,
            faults: true,
            traced,
            trace: String::new(),
        };
        world.boot();
        for _ in 0..300 {
            world.step();
            world.check();
        }
        world.heal();
        world.trace
    }

    fn boot(&mut self) {
        self.engine = FileEngine::new(config(), seed_of(&mut self.random));
        self.asked.clear();
        self.running.clear();
        self.loaded.clear();
        self.wake = None;
        let states = self.store.iter().map(|(hash, stored)| (*hash, stored.clone())).collect();
        let records = Input::Records {
            upserts: self.records.values().cloned().collect(),
            removed: vec![],
            complete: true,
        };
        if self.pick(2) == 0 {
            self.input(Input::Restored(states));
            self.input(records);
        } else {
            self.input(records);
            self.input(Input::Restored(states));
        }
        let unknown = self
            .disk
            .iter()
            .filter(|hash| !self.store.get(hash).is_some_and(|stored| stored.local))
            .map(|hash| (*hash, size(*hash)));
        self.input(Input::Found(unknown.collect()));
    }

    fn step(&mut self) {
        match self.pick(24) {
            0..=7 => self.answer(),
            8..=10 => self.move_bytes(),
            11 | 12 => self.save(),
            13 => self.twin(),
            14 => self.remove(),
            15 => self.arrive(),
            16 => self.wish(),
            17 => self.input(Input::Pause),
            18 => self.input(Input::Resume),
            19 => {
                let online = self.pick(2) == 0;
                self.input(Input::Online(online));
            }
            20 => self.boot(),
            _ => {
                self.now = self.now + self.random.next_u64() % 90_000;
                self.input(Input::Timer);
            }
        }
    }

    /// A save, in this tab or another: intent, publish, maybe the news of it, then the record.
    fn save(&mut self) {
        let hash = self.digest();
        let before = self.store.get(&hash).cloned().unwrap_or_default();
        let stored = before.saved(size(hash), self.now);
        self.store.insert(hash, stored.clone());
        if self.pick(10) == 0 {
            return self.boot();
        }
        self.disk.insert(hash);
        self.input(Input::Saved(hash, stored));
        if self.pick(10) == 0 {
            return self.boot();
        }
        let id = FileId(format!("r{}", self.pick(8)));
        // A record's own remote key goes with the bytes that it names.
        self.put_record(id, hash, false);
    }

    fn twin(&mut self) {
        if let Some(record) = self.any_record() {
            let id = FileId(format!("t{}", self.pick(4)));
            self.put_record(id, record.hash, record.remote);
        }
    }

    /// Another device's file: its record, and perhaps its bytes.
    fn arrive(&mut self) {
        let hash = self.digest();
        self.remote.insert(hash);
        let id = FileId(format!("o{}", self.pick(6)));
        self.put_record(id, hash, true);
    }

    fn put_record(&mut self, id: FileId, hash: Digest, remote: bool) {
        let facts = RecordFacts { id: id.clone(), hash, size: size(hash), remote, auto_download: true };
        self.records.insert(id, facts.clone());
        self.input(Input::Records { upserts: vec![facts], removed: vec![], complete: true });
    }

    fn remove(&mut self) {
        if let Some(record) = self.any_record() {
            self.records.remove(&record.id);
            self.input(Input::Records { upserts: vec![], removed: vec![record.id], complete: true });
        }
    }

    fn wish(&mut self) {
        let hash = self.digest();
        let input = match self.pick(6) {
            0 => Input::Wanted(hash),
            1 => Input::Prioritize(hash),
            2 => Input::EnqueueUpload(hash),
            3 => Input::Cancel(hash),
            4 => Input::Pin(hash, self.pick(2) == 0),
            _ => {
                self.evictions += 1;
                Input::Evict(self.evictions, hash)
            }
        };
        self.input(input);
    }

    /// Answers one open look, write or deletion, in any order.
    fn answer(&mut self) {
        if self.asked.is_empty() {
            return;
        }
        // In any order, save that one blob's operations are performed in the order they were asked for.
        let any = hash_of(&self.asked[self.random.next_u64() as usize % self.asked.len()]);
        let n = self.asked.iter().position(|output| hash_of(output) == any).expect("it is there");
        let fails = self.faults && self.pick(8) == 0;
        let input = match self.asked.remove(n) {
            Output::Probe(op, hash) => Input::Probed(op, self.disk.contains(&hash).then(|| size(hash))),
            Output::StoreState(op, hash, mut stored) => {
                if !fails {
                    if let Some(there) = self.store.get(&hash) {
                        stored.absorb_saves(there);
                    }
                    self.store.insert(hash, stored);
                }
                Input::StateStored(op, !fails)
            }
            Output::ForgetState(op, hash, saves) => {
                if !fails && self.store.get(&hash).is_some_and(|there| there.saves <= saves) {
                    self.store.remove(&hash);
                }
                Input::StateStored(op, !fails)
            }
            Output::DeleteBlob { op, hash, saves } => match self.store.get_mut(&hash) {
                Some(there) if there.saves > saves => Input::Deleted(op, DeleteOutcome::Kept(there.clone())),
                _ if fails => Input::Deleted(op, DeleteOutcome::Busy),
                there => {
                    if let Some(there) = there {
                        there.local = false;
                    }
                    // A crash between the two leaves the blob, and a state that asks the disk.
                    if self.faults && self.pick(10) == 0 {
                        return self.boot();
                    }
                    self.disk.remove(&hash);
                    Input::Deleted(op, DeleteOutcome::Deleted)
                }
            },
            other => unreachable!("{other:?} is not answered"),
        };
        self.input(input);
    }

    /// Lets one transfer get on, end well, or fail.
    fn move_bytes(&mut self) {
        let Some((&op, &(kind, hash))) =
            self.running.iter().nth(self.random.next_u64() as usize % self.running.len().max(1))
        else {
            return;
        };
        let total = size(hash);
        let input = match self.pick(if self.faults { 14 } else { 4 }) {
            0 | 1 => Input::Progressed(op, self.random.next_u64() % (total + 1)),
            2..=4 => self.finish(op, kind, hash),
            n => {
                let kinds = [
                    FailureKind::Unreachable,
                    FailureKind::AuthRequired,
                    FailureKind::Temporary(None),
                    FailureKind::Temporary(Some(5_000)),
                    FailureKind::TooLarge(None),
                    FailureKind::DigestMismatch,
                    FailureKind::QuotaExceeded,
                    FailureKind::Rejected,
                    FailureKind::Temporary(None),
                ];
                // The answer got lost, the bytes did not.
                if kind == TransferKind::Upload && self.pick(3) == 0 {
                    self.remote.insert(hash);
                }
                self.running.remove(&op);
                Input::Failed(op, failure(kinds[n - 5]))
            }
        };
        self.input(input);
    }

    fn finish(&mut self, op: OpId, kind: TransferKind, hash: Digest) -> Input {
        self.running.remove(&op);
        match kind {
            TransferKind::Upload if !self.disk.contains(&hash) => {
                return Input::Failed(op, failure(FailureKind::LocalMissing));
            }
            TransferKind::Upload => _ = self.remote.insert(hash),
            TransferKind::Download if !self.remote.contains(&hash) => {
                return Input::Failed(op, failure(FailureKind::NotFound));
            }
            TransferKind::Download => _ = self.disk.insert(hash),
        }
        self.loaded.remove(&(kind, hash));
        Input::Finished(op)
    }

    fn input(&mut self, input: Input) {
        self.engine.handle_input(self.now, input);
        while let Some(output) = self.engine.poll_output() {
            if self.traced {
                writeln!(self.trace, "{} {output:?}", self.now.0).expect("a String takes all");
            }
            self.perform(output);
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Start { op, kind, hash, size: told, offset, .. } => {
                assert!(
                    !self.running.values().any(|running| *running == (kind, hash)),
                    "two transfers of one blob"
                );
                assert_eq!(told, size(hash));
                assert!(offset <= told);
                self.running.insert(op, (kind, hash));
            }
            Output::Cancel(op) => {
                assert!(self.running.remove(&op).is_some(), "what does not run is not cancelled");
                self.engine.handle_input(self.now, Input::Failed(op, failure(FailureKind::Aborted)));
            }
            Output::Progress { kind, hash, loaded, total, .. } => {
                assert!(loaded <= total);
                let before = self.loaded.insert((kind, hash), loaded).unwrap_or(0);
                assert!(loaded >= before, "progress went from {before} back to {loaded}");
                if loaded == total {
                    self.loaded.remove(&(kind, hash));
                }
            }
            Output::RecordUploaded { hash, files } => {
                assert!(
                    self.remote.contains(&hash),
                    "a record is told of bytes that the remote does not have"
                );
                for id in files {
                    if let Some(facts) = self.records.get_mut(&id).filter(|facts| facts.hash == hash) {
                        facts.remote = true;
                        let upserts = vec![facts.clone()];
                        self.engine.handle_input(
                            self.now,
                            Input::Records { upserts, removed: vec![], complete: true },
                        );
                    }
                }
            }
            Output::DeleteBlob { hash, .. } => {
                let unsafe_now =
                    self.records.values().any(|facts| facts.hash == hash) && !self.remote.contains(&hash);
                assert!(!unsafe_now, "the only copy of a wanted file is given up");
                self.asked.push(output);
            }
            Output::Probe(..) | Output::StoreState(..) | Output::ForgetState(..) => self.asked.push(output),
            Output::Wake(wake) => self.wake = wake.map(|(at, _)| at),
            Output::StateChanged(_)
            | Output::StateRemoved(_)
            | Output::Evicted(..)
            | Output::StatusChanged(_) => {}
        }
    }

    fn check(&self) {
        let uploads = self.running.values().filter(|(kind, _)| *kind == TransferKind::Upload).count();
        assert!(uploads <= config().max_concurrent_uploads);
        assert!(self.running.len() - uploads <= config().max_concurrent_downloads);
        for facts in self.records.values() {
            let somewhere = self.disk.contains(&facts.hash) || self.remote.contains(&facts.hash);
            assert!(somewhere, "the bytes of {:?} are nowhere", facts.id);
        }
    }

    /// No more faults; whoever gave up is asked again: all must be everywhere, and all must rest.
    fn heal(&mut self) {
        self.faults = false;
        self.input(Input::Online(true));
        self.input(Input::Resume);
        let all: Vec<_> = self.records.values().map(|facts| facts.hash).collect();
        for hash in all {
            self.input(Input::EnqueueUpload(hash));
            self.input(Input::EnqueueDownload(hash));
        }
        for _ in 0..100_000 {
            if !self.asked.is_empty() {
                self.answer();
            } else if !self.running.is_empty() {
                self.move_bytes();
            } else if let Some(at) = self.wake {
                self.now = self.now.max(at);
                self.input(Input::Timer);
            } else {
                break;
            }
            self.check();
        }
        assert!(self.engine.status().idle, "not at rest: {:?}", self.engine.status());
        for facts in self.records.values() {
            assert!(self.remote.contains(&facts.hash) && facts.remote, "{:?} was not uploaded", facts.id);
            assert!(
                self.disk.contains(&facts.hash),
                "{:?} was not downloaded: {:?}",
                facts.id,
                self.engine.state(&facts.id)
            );
            let state = self.engine.state(&facts.id).expect("a record has a state");
            assert_eq!(
                (state.upload_status, state.download_status),
                (TransferStatus::Done, TransferStatus::Done)
            );
        }
        let wanted: BTreeSet<_> = self.records.values().map(|facts| facts.hash).collect();
        assert!(self.disk.is_subset(&wanted), "blobs that nothing refers to are left behind");
        assert!(
            self.store.keys().all(|hash| wanted.contains(hash)),
            "states that nothing refers to are left behind"
        );
    }

    fn any_record(&mut self) -> Option<RecordFacts> {
        let n = self.pick(self.records.len().max(1));
        self.records.values().nth(n).cloned()
    }

    fn digest(&mut self) -> Digest {
        Digest([self.pick(10) as u8 + 1; 32])
    }

    fn pick(&mut self, below: usize) -> usize {
        (self.random.next_u64() % below as u64) as usize
    }
}

fn config() -> Config {
    Config { max_concurrent_uploads: 2, max_concurrent_downloads: 3, ..Config::default() }
}

fn hash_of(output: &Output) -> Digest {
    match output {
        Output::Probe(_, hash)
        | Output::StoreState(_, hash, _)
        | Output::ForgetState(_, hash, _)
        | Output::DeleteBlob { hash, .. } => *hash,
        other => unreachable!("{other:?} is not answered"),
    }
}

fn seed_of(random: &mut Xoshiro256PlusPlus) -> [u8; 32] {
    let mut seed = [0; 32];
    random.fill_bytes(&mut seed);
    seed
}

fn size(hash: Digest) -> u64 {
    u64::from(hash.0[0]) * 1_000
}

fn failure(kind: FailureKind) -> Failure {
    Failure { kind, message: "it did not work".into() }
}
