//! A tab on a disk in memory, for scenarios: what the engine asks of the disk and of the locks is answered
//! at once, what it asks of the app and of the network waits for the test.

#![allow(dead_code, clippy::unwrap_used)]

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use driftline_core::{
    CollectionSpec, CommitError, Config, DraftKind, Engine, Error, HttpRequest, HttpResponse, Input,
    LeaseName, LiveEndpoint, LiveEvent, Loaded, LogRead, MutationDraft, OpId, Output, Record, RemoteSpec,
    RetryPolicy, RowChange, Scope, Strategy, Timestamp, TransactionDraft, TxEvent, TxId, Value as _,
    spec::{BackendSpec, CollectionId, MizuDialect, MizuPoke, RemoteId},
    view::TransactionState,
};
use serde_json::Value;

/// What all tabs of a browser share.
#[derive(Default)]
pub struct Shared {
    pub log: BTreeMap<u64, Record<Value>>,
    pub segments: BTreeMap<String, Record<Value>>,
    pub checkpoint: u64,
    pub next: u64,
    pub epochs: BTreeMap<LeaseName, u64>,
    pub mirror: BTreeMap<String, Value>,
    pub commits: usize,
    /// Taken by the next commits, in order.
    pub fail: Vec<CommitError>,
    /// The browser has lost another one of this name.
    pub is_anew: bool,
}

pub type Disk = Rc<RefCell<Shared>>;

pub struct Persist {
    pub op: OpId,
    pub transaction: TxId,
    pub attempt: u32,
}

/// One tab.
pub struct Tab {
    pub engine: Engine<Value>,
    pub disk: Disk,
    pub now: Timestamp,
    pub persists: Vec<Persist>,
    pub awaits: Vec<(OpId, TxId)>,
    pub requests: Vec<(OpId, RemoteId, HttpRequest)>,
    pub events: Vec<(TxId, TxEvent)>,
    pub rows: BTreeMap<CollectionId, BTreeMap<String, Value>>,
    pub changes: Vec<RowChange<Value>>,
    pub errors: Vec<(driftline_core::Code, String)>,
    pub claims: Vec<LeaseName>,
    pub synced: Vec<CollectionId>,
    pub ready: Vec<CollectionId>,
    pub rekeyed: Vec<(String, String)>,
    pub live: Vec<RemoteId>,
    /// Where the last one was opened.
    pub endpoint: Option<LiveEndpoint>,
    /// What was sent over live connections.
    pub frames: Vec<String>,
    pub wake: Option<Timestamp>,
    /// Whether leases are granted as soon as they are claimed.
    pub grants: bool,
    /// Whether reads of the log wait, as those of a frozen tab do.
    pub holds_reads: bool,
    pub reads: Vec<(OpId, u64)>,
    /// What pings were answered with.
    pub pinged: Vec<Option<String>>,
    /// What was told to the other tabs.
    pub notes: Vec<driftline_core::TabNote>,
}

impl Tab {
    pub fn open(disk: &Disk, seed: u8) -> Self {
        Self::open_with(disk, seed, true)
    }

    pub fn open_with(disk: &Disk, seed: u8, grants: bool) -> Self {
        let engine = Engine::new(Config { seed: [seed; 32], pending_max: 1_000 });
        let mut tab = Self {
            engine,
            disk: disk.clone(),
            now: Timestamp(1_700_000_000_000),
            persists: Vec::new(),
            awaits: Vec::new(),
            requests: Vec::new(),
            events: Vec::new(),
            rows: BTreeMap::new(),
            changes: Vec::new(),
            errors: Vec::new(),
            claims: Vec::new(),
            synced: Vec::new(),
            ready: Vec::new(),
            rekeyed: Vec::new(),
            live: Vec::new(),
            endpoint: None,
            frames: Vec::new(),
            wake: None,
            grants,
            holds_reads: false,
            reads: Vec::new(),
            pinged: Vec::new(),
            notes: Vec::new(),
        };
        tab.settle();
        tab
    }

    /// Ends turns until nothing more happens.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            self.drain();
            if !self.engine.wants_turn_end() {
                return;
            }
            self.input(Input::TurnEnded);
        }
        panic!("the engine does not come to rest");
    }

    /// Takes what the engine puts out, without ending the turn.
    pub fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            self.act(output);
        }
    }

    pub fn input(&mut self, input: Input<Value>) {
        self.engine.handle_input(self.now, input);
    }

    /// Lets time pass, and the timer fire.
    pub fn advance(&mut self, ms: u64) {
        self.now = self.now + ms;
        self.input(Input::Timer);
        self.settle();
    }

    fn act(&mut self, output: Output<Value>) {
        match output {
            Output::Load(op) => {
                let disk = self.disk.borrow();
                let loaded = Loaded {
                    checkpoint: disk.checkpoint,
                    segments: disk
                        .segments
                        .iter()
                        .map(|(name, record)| (name.clone(), record.clone()))
                        .collect(),
                    log: disk.log.iter().map(|(seq, record)| (*seq, record.clone())).collect(),
                    is_anew: disk.is_anew,
                };
                drop(disk);
                self.input(Input::Loaded(op, Ok(loaded)));
            }
            Output::Commit(op, commit) => {
                let mut disk = self.disk.borrow_mut();
                let result = if disk.fail.is_empty() {
                    match commit
                        .fences
                        .iter()
                        .find(|fence| disk.epochs.get(&fence.lease) != Some(&fence.epoch))
                    {
                        Some(fence) => Err(CommitError::Fenced(fence.lease.clone())),
                        None => {
                            disk.next += 1;
                            disk.commits += 1;
                            let seq = disk.next;
                            disk.log.insert(seq, commit.record);
                            for put in commit.mirror {
                                match put.row {
                                    Some(row) => disk.mirror.insert(put.key, row),
                                    None => disk.mirror.remove(&put.key),
                                };
                            }
                            Ok(seq)
                        }
                    }
                } else {
                    Err(disk.fail.remove(0))
                };
                drop(disk);
                self.input(Input::Committed(op, result));
            }
            Output::ReadLog(op, after) if self.holds_reads => self.reads.push((op, after)),
            Output::ReadLog(op, after) => {
                let disk = self.disk.borrow();
                let read = LogRead {
                    checkpoint: disk.checkpoint,
                    records: disk
                        .log
                        .range(after + 1..)
                        .map(|(seq, record)| (*seq, record.clone()))
                        .collect(),
                };
                drop(disk);
                self.input(Input::LogRead(op, Ok(read)));
            }
            Output::Checkpoint(op, checkpoint) => {
                let mut disk = self.disk.borrow_mut();
                let stands = disk.checkpoint == checkpoint.replaces && disk.next == checkpoint.upto;
                if stands {
                    disk.checkpoint = checkpoint.upto;
                    for name in checkpoint.deletes {
                        disk.segments.remove(&name);
                    }
                    disk.segments.extend(checkpoint.puts);
                    disk.log = disk.log.split_off(&(checkpoint.upto + 1));
                }
                drop(disk);
                self.input(Input::Checkpointed(op, Ok(stands)));
            }
            Output::Persist { op, transaction, attempt, .. } => {
                self.persists.push(Persist { op, transaction, attempt })
            }
            Output::AwaitSync { op, transaction, .. } => self.awaits.push((op, transaction)),
            Output::Request(op, remote, request) => self.requests.push((op, remote, request)),
            Output::Cancel(op) => {
                self.persists.retain(|persist| persist.op != op);
                self.awaits.retain(|(other, _)| *other != op);
                self.requests.retain(|(other, ..)| *other != op);
            }
            Output::ReleaseLease(name) => self.claims.retain(|other| *other != name),
            Output::ClaimLease(name) => {
                self.claims.push(name.clone());
                if self.grants {
                    self.grant(&name);
                }
            }
            Output::Rekeyed { from, to, .. } => self.rekeyed.push((from, to)),
            Output::Rows(collection, changes) => {
                let rows = self.rows.entry(collection).or_default();
                for change in &changes {
                    assert_eq!(
                        rows.get(&change.key),
                        change.previous.as_ref(),
                        "a change says what showed before"
                    );
                    match &change.value {
                        Some(value) => rows.insert(change.key.clone(), value.clone()),
                        None => rows.remove(&change.key),
                    };
                }
                self.changes.extend(changes);
            }
            Output::Transaction(id, event) => self.events.push((id, event)),
            Output::Ready(collection) => self.ready.push(collection),
            Output::Synced(collection) => self.synced.push(collection),
            Output::OpenLive(remote, endpoint) => {
                self.live.push(remote);
                self.endpoint = Some(endpoint);
            }
            Output::SendFrame(remote, frame) => {
                assert!(self.live.contains(&remote), "nothing is sent over a closed connection");
                self.frames.push(frame);
            }
            Output::CloseLive(remote) => self.live.retain(|other| *other != remote),
            Output::Error { code, error, .. } => self.errors.push((code, error.message)),
            Output::Wake(at, _) => self.wake = Some(at),
            Output::Pinged(_, failed) => self.pinged.push(failed.map(|error| error.code)),
            Output::TellTabs(note) => self.notes.push(note),
            Output::StartSync(_) | Output::StopSync(_) | Output::SyncedRows(_) | Output::Status => {}
        }
    }

    pub fn grant(&mut self, name: &str) {
        let epoch = {
            let mut disk = self.disk.borrow_mut();
            let epoch = disk.epochs.entry(name.to_owned()).or_default();
            *epoch += 1;
            *epoch
        };
        self.input(Input::LeaseGained(name.to_owned(), epoch));
    }

    pub fn register(&mut self, id: &str) -> CollectionId {
        self.register_with(id, |_| {})
    }

    pub fn register_with(
        &mut self,
        id: &str,
        change: impl FnOnce(&mut CollectionSpec<Value>),
    ) -> CollectionId {
        let mut spec = spec(id);
        change(&mut spec);
        let collection = self.engine.register(self.now, spec).unwrap();
        self.settle();
        collection
    }

    pub fn connect_mizu(&mut self) -> RemoteId {
        self.connect_mizu_with(RetryPolicy::default())
    }

    pub fn connect_mizu_with(&mut self, retry: RetryPolicy) -> RemoteId {
        let remote = self
            .engine
            .connect(
                self.now,
                RemoteSpec {
                    id: "mizu:demo".into(),
                    backend: BackendSpec::Mizu {
                        scope: "demo".into(),
                        dialect: MizuDialect::V03,
                        poke: Some(MizuPoke::EventSource),
                        poke_url: None,
                    },
                    retry,
                    ping_ms: None,
                },
            )
            .unwrap();
        self.settle();
        remote
    }

    pub fn connect(&mut self, backend: BackendSpec) -> RemoteId {
        // Where a ping is a request, it would stand among those that a test answers.
        let is_by_request = matches!(backend, BackendSpec::S2 { .. } | BackendSpec::S2Proxy { .. });
        self.connect_with(backend, (!is_by_request).then_some(driftline_core::spec::PING_MS))
    }

    pub fn connect_with(&mut self, backend: BackendSpec, ping_ms: Option<u64>) -> RemoteId {
        let spec = RemoteSpec { id: "remote".into(), backend, retry: RetryPolicy::default(), ping_ms };
        let remote = self.engine.connect(self.now, spec).unwrap();
        self.settle();
        remote
    }

    /// A collection whose rows come from a remote.
    pub fn register_at(&mut self, id: &str, remote: RemoteId, entity: &str) -> CollectionId {
        self.register_with(id, |spec| {
            spec.remote = Some((remote, entity.into()));
            spec.persist = None;
            spec.has_sync = false;
        })
    }

    /// The live connection brings something.
    pub fn hear(&mut self, remote: RemoteId, event: LiveEvent) {
        self.input(Input::Live(remote, event));
        self.settle();
    }

    pub fn insert(&mut self, collection: CollectionId, key: &str, row: Value) -> Result<TxId, Error> {
        self.write(collection, key, DraftKind::Insert(row))
    }

    pub fn update(&mut self, collection: CollectionId, key: &str, changes: Value) -> Result<TxId, Error> {
        self.write(collection, key, DraftKind::Update(changes))
    }

    pub fn delete(&mut self, collection: CollectionId, key: &str) -> Result<TxId, Error> {
        self.write(collection, key, DraftKind::Delete)
    }

    pub fn write(
        &mut self,
        collection: CollectionId,
        key: &str,
        kind: DraftKind<Value>,
    ) -> Result<TxId, Error> {
        self.transact(vec![draft(collection, key, kind)])
    }

    pub fn transact(&mut self, mutations: Vec<MutationDraft<Value>>) -> Result<TxId, Error> {
        let result = self.engine.transact(
            self.now,
            TransactionDraft { mutations, strategy: None, function: None, metadata: None },
        );
        self.drain();
        result
    }

    pub fn state(&self, id: TxId) -> TransactionState {
        self.engine.transaction(id).unwrap().state
    }

    pub fn shows(&self, collection: CollectionId) -> BTreeMap<String, Value> {
        let engine: BTreeMap<String, Value> =
            self.engine.rows(collection).map(|(key, row)| (key.to_owned(), row.clone())).collect();
        assert_eq!(
            engine,
            self.rows.get(&collection).cloned().unwrap_or_default(),
            "the app's rows are the engine's"
        );
        engine
    }

    /// Answers the oldest `persist` call.
    pub fn answer_persist(
        &mut self,
        result: Result<driftline_core::PersistOk, driftline_core::Failure>,
    ) -> TxId {
        let persist = self.persists.remove(0);
        self.input(Input::PersistAnswered(persist.op, result));
        self.settle();
        persist.transaction
    }

    /// Answers the reads that waited.
    pub fn release_reads(&mut self) {
        for (op, after) in std::mem::take(&mut self.reads) {
            self.act(Output::ReadLog(op, after));
        }
        self.settle();
    }

    /// Answers the oldest `awaitSync`.
    pub fn answer_await(&mut self, result: Result<(), driftline_core::ErrorInfo>) -> TxId {
        let (op, tx) = self.awaits.remove(0);
        self.input(Input::AwaitSyncAnswered(op, result));
        self.settle();
        tx
    }

    /// Answers the oldest request.
    pub fn answer_request(&mut self, status: u16, body: &str) -> HttpRequest {
        let (op, _, request) = self.requests.remove(0);
        self.input(Input::RequestAnswered(
            op,
            Ok(HttpResponse { status, retry_after_ms: None, body: body.to_owned() }),
        ));
        self.settle();
        request
    }

    pub fn events_of(&self, id: TxId) -> Vec<TxEvent> {
        self.events
            .iter()
            .filter(|(other, event)| *other == id && *event != TxEvent::Changed)
            .map(|(_, event)| event.clone())
            .collect()
    }
}

pub fn spec<V>(id: &str) -> CollectionSpec<V> {
    CollectionSpec {
        id: id.into(),
        remote: None,
        persist: Some(1),
        has_sync: true,
        has_await_sync: false,
        functions: Vec::new(),
        merges: Vec::new(),
        strategy: Strategy::Ordered(Scope::Object),
        retry: RetryPolicy { jitter: false, ..RetryPolicy::default() },
        concurrent_persists: 6,
        version: 1,
        migrate: None,
        key_field: Some("id".into()),
        mirror: false,
        mapping: None,
    }
}

pub fn draft(collection: CollectionId, key: &str, kind: DraftKind<Value>) -> MutationDraft<Value> {
    let size_bytes = match &kind {
        DraftKind::Insert(row) | DraftKind::Update(row) => row.to_json().unwrap().len() as u64,
        DraftKind::Delete => 0,
    };
    MutationDraft { collection, key: key.into(), kind, size_bytes }
}

pub fn permanent(message: &str) -> driftline_core::Failure {
    driftline_core::Failure {
        kind: driftline_core::FailureKind::Permanent,
        error: driftline_core::ErrorInfo {
            name: "NonRetriableError".into(),
            message: message.into(),
            ..Default::default()
        },
    }
}

pub fn temporary(message: &str) -> driftline_core::Failure {
    driftline_core::Failure {
        kind: driftline_core::FailureKind::Temporary { after_ms: None, counts_attempt: true },
        error: driftline_core::ErrorInfo {
            name: "Error".into(),
            message: message.into(),
            ..Default::default()
        },
    }
}

pub fn opened(remote: RemoteId) -> Input<Value> {
    Input::Live(remote, LiveEvent::Opened)
}
