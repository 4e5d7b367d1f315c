//! One tab on a disk in memory. What it asks of the disk and of the locks is answered at once; what it asks of the network
//! waits for the test.

use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use driftline_core::{
    Code, CollectionSpec, Config, DraftKind, Engine, HttpRequest, HttpResponse, Input, LiveEvent,
    MutationDraft, OpId, Output, RemoteSpec, RetryPolicy, Scope, Strategy, Timestamp, TransactionDraft, TxId,
    spec::{CollectionId, EventWrite, Mapping, RemoteId},
    view::{RemoteView, TransactionState},
};
use serde_json::Value;

use super::{Asked, Kind, Line, Recorded, Said, address, own};
use crate::journal::MemoryDisk;

/// A tab with one collection, `todos`, whose rows are the backend's entity `todo`.
pub struct Client {
    engine: Engine<Value>,
    disk: MemoryDisk<Value>,
    now: Timestamp,
    remote: RemoteId,
    todos: CollectionId,
    requests: VecDeque<(OpId, HttpRequest)>,
    frames: VecDeque<Value>,
    pushed: Vec<Asked>,
    wants_live: bool,
    is_live: bool,
    last_pull: Option<Asked>,
    errors: Vec<Code>,
}

impl Client {
    /// Opens a tab on an empty disk, which connects the backend.
    #[must_use]
    pub fn new(backend: &impl Recorded) -> Self {
        let mut engine = Engine::new(Config { seed: [7; 32], pending_max: 1_000 });
        let now = Timestamp(1_700_000_000_000);
        let retry = RetryPolicy { jitter: false, ..RetryPolicy::default() };
        let spec = RemoteSpec {
            id: "recorded".into(),
            backend: backend.backend(),
            retry: retry.clone(),
            ping_ms: None,
        };
        let remote = engine.connect(now, spec).expect("a new tab has no remote");
        let todos = CollectionSpec {
            id: "todos".into(),
            remote: Some((remote, "todo".into())),
            persist: None,
            has_sync: false,
            has_await_sync: false,
            functions: Vec::new(),
            merges: Vec::new(),
            strategy: Strategy::Ordered(Scope::Object),
            retry,
            concurrent_persists: 6,
            version: 1,
            migrate: None,
            key_field: Some("id".into()),
            mirror: false,
            mapping: backend.event_name().map(mapping),
        };
        let todos = engine.register(now, todos).expect("a new tab has no collection");
        let mut client = Self {
            engine,
            disk: MemoryDisk::default(),
            now,
            remote,
            todos,
            requests: VecDeque::new(),
            frames: VecDeque::new(),
            pushed: Vec::new(),
            wants_live: false,
            is_live: false,
            last_pull: None,
            errors: Vec::new(),
        };
        client.settle();
        client
    }

    /// Opens the live connection if the tab wants one.
    pub fn open_live(&mut self) {
        if self.wants_live && !self.is_live {
            self.is_live = true;
            self.input(Input::Live(self.remote, LiveEvent::Opened));
        }
    }

    /// Whether it is open.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// Takes the next question of a kind; what was asked before it is not answered any more.
    ///
    /// # Panics
    /// If there is none.
    pub fn asked(&mut self, backend: &impl Recorded, kind: Kind) -> (Asked, Option<OpId>) {
        let (asked, op) = self.next(backend, kind).unwrap_or_else(|| {
            panic!("the client asks for no {kind:?}; waiting: {:?} {:?}", self.requests, self.frames)
        });
        match kind {
            Kind::Push => self.pushed.push(asked.clone()),
            Kind::Pull => self.last_pull = Some(asked.clone()),
        }
        (asked, op)
    }

    /// Whether a question of a kind waits.
    pub fn asks(&mut self, backend: &impl Recorded, kind: Kind) -> bool {
        let request = self
            .requests
            .iter()
            .any(|(_, request)| backend.kind(&Asked::Request(request.clone())) == Some(kind));
        request || self.frames.iter().any(|frame| backend.kind(&Asked::Frame(frame.clone())) == Some(kind))
    }

    fn next(&mut self, backend: &impl Recorded, kind: Kind) -> Option<(Asked, Option<OpId>)> {
        while let Some(frame) = self.frames.pop_front() {
            let asked = Asked::Frame(frame);
            if backend.kind(&asked) == Some(kind) {
                return Some((asked, None));
            }
        }
        let at = self
            .requests
            .iter()
            .position(|(_, request)| backend.kind(&Asked::Request(request.clone())) == Some(kind))?;
        let (op, request) = self.requests.remove(at)?;
        Some((Asked::Request(request), Some(op)))
    }

    /// Answers a question with recorded words, and gives the question.
    pub fn answer(&mut self, backend: &impl Recorded, kind: Kind, what: Said) -> Asked {
        let (asked, op) = self.asked(backend, kind);
        let said = backend.said(what, Some(&asked));
        let text = address(&own_text(&said, &self.pushed), &asked);
        match op {
            None => self.hear(text),
            Some(op) => {
                let response = HttpResponse { status: said.status, retry_after_ms: None, body: text };
                self.input(Input::RequestAnswered(op, Ok(response)));
            }
        }
        asked
    }

    /// The live connection brings recorded words by itself; those of LiveStore's 0.4 belong to the live pull.
    pub fn broadcast(&mut self, backend: &impl Recorded, what: Said) {
        let text = own_text(&backend.said(what, None), &self.pushed);
        let text = match &self.last_pull {
            Some(pull @ Asked::Frame(frame)) if frame["tag"].is_string() => address(&text, pull),
            _ => text,
        };
        self.hear(text);
    }

    fn hear(&mut self, text: String) {
        assert!(self.is_live, "nothing is heard over a connection that is not open");
        self.input(Input::Live(self.remote, LiveEvent::Frame(text)));
    }

    /// Lets time pass.
    pub fn advance(&mut self, ms: u64) {
        self.now = self.now + ms;
        self.input(Input::Timer);
    }

    /// Asks for what is new, now.
    pub fn pull_now(&mut self) {
        self.engine.pull_now(self.now, self.remote).expect("the remote is connected");
        self.settle();
    }

    /// Writes rows, each in a transaction of its own, in one turn.
    pub fn insert(&mut self, rows: &[Value]) -> Vec<TxId> {
        let insert = |row: &Value| {
            let mutation = MutationDraft {
                collection: self.todos,
                key: row["id"].as_str().expect("a row has an id").to_owned(),
                kind: DraftKind::Insert(row.clone()),
                size_bytes: row.to_string().len() as u64,
            };
            let draft = TransactionDraft {
                mutations: vec![mutation],
                strategy: None,
                function: None,
                metadata: None,
            };
            self.engine.transact(self.now, draft).expect("the row is not there yet")
        };
        let written = rows.iter().map(insert).collect();
        self.settle();
        written
    }

    /// The rows that show, by key.
    #[must_use]
    pub fn rows(&self) -> BTreeMap<String, Value> {
        self.engine.rows(self.todos).map(|(key, row)| (key.to_owned(), row.clone())).collect()
    }

    /// A transaction's state.
    ///
    /// # Panics
    /// If there is no such transaction.
    #[must_use]
    pub fn state(&self, tx: TxId) -> TransactionState {
        self.engine.transaction(tx).expect("the transaction was written here").state
    }

    /// How the remote stands.
    ///
    /// # Panics
    /// Never: it is connected from the beginning.
    #[must_use]
    pub fn remote(&self) -> RemoteView {
        self.engine.remote(self.remote).expect("the remote is connected")
    }

    /// How many transactions are unfinished.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.engine.status().pending
    }

    /// The errors that the app was told.
    #[must_use]
    pub fn errors(&self) -> &[Code] {
        &self.errors
    }

    fn input(&mut self, input: Input<Value>) {
        self.engine.handle_input(self.now, input);
        self.settle();
    }

    fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            while let Some(output) = self.engine.poll_output() {
                self.act(output);
            }
            if !self.engine.wants_turn_end() {
                return;
            }
            self.engine.handle_input(self.now, Input::TurnEnded);
        }
        panic!("the engine does not come to rest");
    }

    fn act(&mut self, output: Output<Value>) {
        let input = match output {
            Output::Load(op) => Input::Loaded(op, Ok(self.disk.load())),
            Output::Commit(op, commit) => Input::Committed(op, self.disk.append(&commit)),
            Output::ReadLog(op, after) => Input::LogRead(op, Ok(self.disk.read_log(after))),
            Output::Checkpoint(op, checkpoint) => {
                Input::Checkpointed(op, Ok(self.disk.checkpoint(&checkpoint)))
            }
            Output::ClaimLease(lease) => {
                let epoch = self.disk.raise_epoch(&lease);
                Input::LeaseGained(lease, epoch)
            }
            Output::Request(op, _, request) => return self.requests.push_back((op, request)),
            Output::Cancel(op) => return self.requests.retain(|(other, _)| *other != op),
            Output::SendFrame(_, frame) => {
                let frame = serde_json::from_str(&frame).expect("frames are JSON");
                return self.frames.push_back(frame);
            }
            Output::OpenLive(..) => return self.wants_live = true,
            Output::CloseLive(_) => {
                (self.wants_live, self.is_live) = (false, false);
                return self.frames.clear();
            }
            Output::Error { code, .. } => return self.errors.push(code),
            _ => return,
        };
        self.engine.handle_input(self.now, input);
    }
}

/// What a test may turn over before something runs in a circle.
const TURNS_MAX: usize = 10_000;

fn own_text(said: &Line, pushed: &[Asked]) -> String {
    if pushed.is_empty() { said.text.clone() } else { own(&said.text, pushed) }
}

/// Rows as the recorded apps named them: one event that makes a row.
fn mapping(name: &'static str) -> Mapping<Value> {
    Mapping {
        to_events: Some(Rc::new(move |mutation| {
            Ok(vec![(name.to_owned(), mutation.changes.clone().unwrap_or_default())])
        })),
        apply: Some(Rc::new(move |event, args| {
            let id = args["id"].as_str().filter(|_| event == name);
            Ok(id.map(|id| EventWrite::Put(id.to_owned(), args.clone())).into_iter().collect())
        })),
    }
}
