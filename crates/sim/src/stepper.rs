//! The engine beside the reference model, step by step: one tab, its disk and its app, which answers when and how
//! the dice say. After each step everything that can be seen must be what the model says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use driftline_core::{
    Code, CollectionSpec, Config, DraftKind, Engine, ErrorInfo, Failure, FailureKind, Input, MutationDraft,
    OpId, Output, PersistOk, RetryPolicy, Scope, Strategy, SyncUpdate, Timestamp, TransactionDraft, TxId,
    spec::{CollectionId, RemoteId},
    view::TransactionState as State,
};
use driftline_testkit::journal::MemoryDisk;
use serde_json::{Map, Value, json};

use crate::{
    dice::Dice,
    ledger::Object,
    model::{BACKOFF_MS, Kind, Model, RETRIES, Tx},
    reference::Effect,
    release::{self, MERGE},
};

/// Two collections with one `persist`, by their place in the simulated app.
const COLLECTIONS: [(usize, &str); 2] = [(2, "notes"), (3, "tags")];
const KEYS: u64 = 3;
/// Steps before a difference that are told with it.
const LAST_STEPS: usize = 30;
/// How often another tab looks.
const LOOK_EVERY_STEPS: u32 = 8;
const EPOCH_MS: u64 = 1_760_000_000_000;

/// Runs so many steps of a seed. What differs from the model, if anything, with the step.
#[must_use]
pub fn compare(seed: u64, steps: u32) -> Option<String> {
    let mut stepper = Stepper::new(seed);
    let mut last: VecDeque<String> = VecDeque::new();
    for step in 0..steps {
        last.push_back(stepper.step());
        let elsewhere = || (step % LOOK_EVERY_STEPS == 0).then(|| stepper.difference_elsewhere()).flatten();
        if let Some(why) = stepper.difference().or_else(elsewhere) {
            let last = last.make_contiguous().join("\n");
            return Some(format!("model seed {seed}, step {step}: {why}; the last steps:\n{last}"));
        }
        if last.len() > LAST_STEPS {
            last.pop_front();
        }
    }
    None
}

struct Stepper {
    dice: Dice,
    now: u64,
    engine: Engine<Value>,
    collections: Vec<CollectionId>,
    disk: MemoryDisk<Value>,
    page: BTreeMap<CollectionId, BTreeMap<String, Value>>,
    persists: BTreeMap<OpId, TxId>,
    awaits: BTreeMap<OpId, TxId>,
    model: Model,
    counter: u64,
}

impl Stepper {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let config = Config { seed: dice.seed(), pending_max: 1_000 };
        let mut stepper = Self {
            model: Model::new(dice.chance(500)),
            dice,
            now: 0,
            engine: Engine::new(config),
            collections: Vec::new(),
            disk: MemoryDisk::default(),
            page: BTreeMap::new(),
            persists: BTreeMap::new(),
            awaits: BTreeMap::new(),
            counter: 0,
        };
        stepper.open();
        stepper
    }

    fn open(&mut self) {
        self.engine = Engine::new(Config { seed: self.dice.seed(), pending_max: 1_000 });
        (self.page, self.persists, self.awaits) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        self.collections.clear();
        for spec in self.specs() {
            let collection = self.engine.register(self.timestamp(), spec).expect("it is registered once");
            self.collections.push(collection);
        }
        self.settle();
    }

    fn specs(&self) -> impl Iterator<Item = CollectionSpec<Value>> + use<> {
        let has_await_sync = self.model.awaits_sync;
        COLLECTIONS.into_iter().map(move |(index, _)| CollectionSpec {
            retry: RetryPolicy {
                retries: RETRIES,
                base_delay_ms: BACKOFF_MS,
                max_delay_ms: 60_000,
                jitter: false,
            },
            strategy: Strategy::Ordered(Scope::Object),
            concurrent_persists: 1_000,
            has_await_sync,
            ..release::collection(index, RemoteId(0), 1)
        })
    }

    fn timestamp(&self) -> Timestamp {
        Timestamp(EPOCH_MS + self.now)
    }

    fn settle(&mut self) {
        self.drain();
        while self.engine.wants_turn_end() {
            self.engine.handle_input(self.timestamp(), Input::TurnEnded);
            self.drain();
        }
    }

    fn drain(&mut self) {
        let now = self.timestamp();
        while let Some(output) = self.engine.poll_output() {
            let input = match output {
                Output::Load(op) => Input::Loaded(op, Ok(self.disk.load())),
                Output::Commit(op, commit) => Input::Committed(op, self.disk.append(&commit)),
                Output::ReadLog(op, after) => Input::LogRead(op, Ok(self.disk.read_log(after))),
                // A checkpoint leaves out what is held back: without one, nothing may be lost.
                Output::Checkpoint(op, _) => Input::Checkpointed(op, Ok(false)),
                Output::ClaimLease(lease) => {
                    let epoch = self.disk.raise_epoch(&lease);
                    Input::LeaseGained(lease, epoch)
                }
                Output::Persist { op, transaction, .. } => {
                    self.persists.insert(op, transaction);
                    continue;
                }
                Output::AwaitSync { op, transaction, .. } => {
                    self.awaits.insert(op, transaction);
                    continue;
                }
                Output::Rows(collection, changes) => {
                    let rows = self.page.entry(collection).or_default();
                    for change in changes {
                        match change.value {
                            Some(row) => rows.insert(change.key, row),
                            None => rows.remove(&change.key),
                        };
                    }
                    continue;
                }
                _ => continue,
            };
            self.engine.handle_input(now, input);
        }
    }

    /// One step of the app's, of its server's or of time's; what it was.
    fn step(&mut self) -> String {
        let what = match self.dice.below(100) {
            0..42 => self.write(),
            42..64 => self.answer_persist(),
            64..72 => self.answer_await(),
            72..80 => self.sync(),
            80..88 => {
                let ms = self.dice.range(1, 4 * BACKOFF_MS);
                self.now += ms;
                self.engine.handle_input(self.timestamp(), Input::Timer);
                format!("{ms} ms later")
            }
            88..91 => self.discard(),
            91..93 => self.retry(),
            93..95 => self.prune(),
            95..96 => {
                self.engine.pause(self.timestamp(), "the app says so");
                self.model.paused = true;
                "paused".to_owned()
            }
            96..98 => {
                self.engine.resume(self.timestamp());
                self.model.paused = false;
                "resumed".to_owned()
            }
            _ => {
                let crash = self.dice.chance(500);
                if crash {
                    // What this turn writes is lost with the tab, and nobody was told otherwise.
                    let before = self.model.txs.len();
                    self.write();
                    self.model.txs.truncate(before);
                }
                self.open();
                self.model.reload(COLLECTIONS[0].1);
                format!("reloaded{}", if crash { " in the middle of a write" } else { "" })
            }
        };
        self.settle();
        self.model.start(self.now);
        what
    }

    fn object(&mut self) -> (CollectionId, Object) {
        let at = self.dice.index(COLLECTIONS.len());
        (self.collections[at], (COLLECTIONS[at].1, format!("k{}", self.dice.below(KEYS))))
    }

    fn write(&mut self) -> String {
        let kind = match self.dice.below(10) {
            0 => Kind::Collection,
            1 => Kind::Parallel,
            2 => Kind::Merged,
            _ => Kind::Object,
        };
        let mut effects: Vec<(Object, Effect)> = Vec::new();
        let mut rows: BTreeMap<Object, (Option<Value>, Option<Value>)> = BTreeMap::new();
        let mut mutations = Vec::new();
        for _ in 0..if self.dice.chance(700) { 1 } else { 3 } {
            let (collection, object) = self.object();
            let shown = self.model.shows(&object);
            let (before, row) = rows.entry(object.clone()).or_insert((shown.clone(), shown));
            self.counter += 1;
            let mut fields = Map::new();
            fields.insert(["a", "b"][self.dice.index(2)].into(), self.counter.into());
            let effect = match row {
                None => Effect::Insert(fields.into()),
                Some(_) if self.dice.chance(250) => Effect::Delete,
                Some(_) if self.dice.chance(100) => Effect::Update(json!({ "a": null })),
                Some(_) => Effect::Update(fields.into()),
            };
            let draft = match &effect {
                Effect::Insert(row) => DraftKind::Insert(row.clone()),
                Effect::Update(changes) => DraftKind::Update(changes.clone()),
                Effect::Delete => DraftKind::Delete,
            };
            mutations.push(MutationDraft { collection, key: object.1.clone(), kind: draft, size_bytes: 10 });
            *row = effect.applied(row.take());
            match effects.iter().position(|(touched, _)| *touched == object) {
                None => effects.push((object, effect)),
                Some(at) => match effects[at].1.clone().then(effect, before.as_ref()) {
                    Some(both) => effects[at].1 = both,
                    None => {
                        effects.remove(at);
                    }
                },
            }
        }
        self.transact(kind, mutations, effects)
    }

    fn transact(
        &mut self,
        kind: Kind,
        mutations: Vec<MutationDraft<Value>>,
        effects: Vec<(Object, Effect)>,
    ) -> String {
        let strategy = Some(match kind {
            Kind::Object => Strategy::Ordered(Scope::Object),
            Kind::Collection => Strategy::Ordered(Scope::Collection),
            Kind::Parallel => Strategy::Parallel { merge: None },
            Kind::Merged => Strategy::Parallel { merge: Some(MERGE.to_owned()) },
        });
        let draft = TransactionDraft { mutations, strategy, function: None, metadata: None };
        let id = match self.engine.transact(self.timestamp(), draft) {
            Ok(id) => id,
            Err(error) => return format!("a good write was refused: {error}"),
        };
        let state = if effects.is_empty() { State::Completed } else { State::Pending };
        let what = format!("wrote {id} {kind:?} {effects:?}");
        // One that comes to nothing is done at once and takes no place in the journal.
        self.model.txs.push(Tx {
            id,
            kind,
            effects,
            state,
            attempts: 0,
            spent: 0,
            retry_at: None,
            cause: None,
        });
        what
    }

    fn answer_persist(&mut self) -> String {
        let open: Vec<(OpId, TxId)> = self.persists.iter().map(|(op, tx)| (*op, *tx)).collect();
        let Some(&(op, tx)) = self.dice.pick(&open) else { return "nothing to answer".to_owned() };
        self.persists.remove(&op);
        let at = self.model.find(tx);
        let error = || ErrorInfo { name: "Error".into(), message: "no".into(), ..ErrorInfo::default() };
        let fails = |kind| Failure { kind, error: error() };
        let result = match self.dice.below(10) {
            0 => Err(fails(FailureKind::Permanent)),
            1..4 => Err(fails(FailureKind::Temporary { after_ms: None, counts_attempt: true })),
            _ => Ok(PersistOk::default()),
        };
        match &result {
            Ok(_) => self.model.persisted(at),
            Err(failure) => self.model.failed(self.now, at, failure.kind == FailureKind::Permanent),
        }
        let what = format!("persist of {tx}: {:?}", result.as_ref().err());
        self.engine.handle_input(self.timestamp(), Input::PersistAnswered(op, result));
        what
    }

    fn answer_await(&mut self) -> String {
        let open: Vec<(OpId, TxId)> = self.awaits.iter().map(|(op, tx)| (*op, *tx)).collect();
        let Some(&(op, tx)) = self.dice.pick(&open) else { return "nothing to wait for".to_owned() };
        self.awaits.remove(&op);
        let result = if self.dice.chance(800) { Ok(()) } else { Err(ErrorInfo::of(Code::Unexpected, "no")) };
        self.model.complete(self.model.find(tx), result.is_ok());
        self.engine.handle_input(self.timestamp(), Input::AwaitSyncAnswered(op, result));
        format!("sync of {tx} was waited for")
    }

    fn sync(&mut self) -> String {
        self.counter += 1;
        let row = json!({ "a": self.counter, "s": self.counter });
        let (collection, object) = self.object();
        if self.dice.chance(250) {
            let rows: BTreeMap<String, Value> = (0..KEYS)
                .filter(|_| self.dice.chance(600))
                .map(|key| (format!("k{key}"), row.clone()))
                .collect();
            self.model.sync_all(object.0, &rows);
            let update = SyncUpdate::Full(rows.into_iter().collect());
            self.engine.sync_update(self.timestamp(), collection, update);
            return format!("sync brought all of {}", object.0);
        }
        let row = self.dice.chance(750).then_some(row);
        self.model.sync(&object, row.clone());
        let update = SyncUpdate::Delta(vec![(object.1.clone(), row)]);
        self.engine.sync_update(self.timestamp(), collection, update);
        format!("sync brought {object:?}")
    }

    fn discard(&mut self) -> String {
        let Some(at) = self.any(|_| true) else { return "nothing to discard".to_owned() };
        let tx = &self.model.txs[at];
        let (id, state) = (tx.id, tx.state);
        let sent = matches!(state, State::Persisting | State::PersistedAwaitingSync | State::Completed);
        let mut dropped = if tx.is_done() { Vec::new() } else { self.model.dependents(at) };
        dropped.insert(0, at);
        let result = self.engine.discard(self.timestamp(), id);
        if result.is_ok() == sent {
            return format!("{id} is {state:?}, and to discard it: {result:?}");
        }
        if !sent {
            // What was tried and is taken back no longer locks its objects.
            for &at in &dropped {
                self.model.give_up(at);
            }
            let dropped: BTreeSet<TxId> = dropped.iter().map(|&at| self.model.txs[at].id).collect();
            self.model.txs.retain(|tx| !dropped.contains(&tx.id));
        }
        format!("discarded {id}")
    }

    fn retry(&mut self) -> String {
        let Some(at) = self.any(|tx| tx.state == State::Failed) else { return "nothing to retry".to_owned() };
        let Tx { id, kind, effects, .. } = self.model.txs[at].clone();
        let fits = effects.iter().all(|(object, effect)| {
            matches!(effect, Effect::Insert(_)) == self.model.shows(object).is_none()
        });
        match self.engine.retry(self.timestamp(), id) {
            Ok(new) if fits => {
                let state = State::Pending;
                let tx =
                    Tx { id: new, kind, effects, state, attempts: 0, spent: 0, retry_at: None, cause: None };
                self.model.txs.push(tx);
            }
            Err(_) if !fits => {}
            result => return format!("{id} fits today's rows: {fits}, and to retry it: {result:?}"),
        }
        format!("retried {id}")
    }

    fn prune(&mut self) -> String {
        let states = [State::Completed, State::Failed];
        let states = &states[..self.dice.index(2) + 1];
        let pruned = self.engine.prune(self.timestamp(), None, states);
        // One without changes has no place in the journal, and lives as long as the tab.
        self.model.txs.retain(|tx| !states.contains(&tx.state) || tx.effects.is_empty());
        format!("pruned {pruned:?}")
    }

    fn any(&mut self, which: impl Fn(&Tx) -> bool) -> Option<usize> {
        let some: Vec<usize> = (0..self.model.txs.len())
            .filter(|&at| which(&self.model.txs[at]) && !self.model.txs[at].effects.is_empty())
            .collect();
        self.dice.pick(&some).copied()
    }

    /// What another tab, which has just read the journal and leads nothing, shows otherwise than the model.
    fn difference_elsewhere(&self) -> Option<String> {
        let mut engine = Engine::new(Config { seed: [0; 32], pending_max: 1_000 });
        let now = self.timestamp();
        let collections: Vec<CollectionId> =
            self.specs().map(|spec| engine.register(now, spec).expect("it is registered once")).collect();
        while let Some(output) = engine.poll_output() {
            if let Output::Load(op) = output {
                engine.handle_input(now, Input::Loaded(op, Ok(self.disk.load())));
            }
        }
        collections.into_iter().zip(COLLECTIONS).find_map(|(collection, (_, name))| {
            let expected = self.model.shows_in(name);
            let shown: BTreeMap<String, Value> =
                engine.rows(collection).map(|(key, row)| (key.to_owned(), row.clone())).collect();
            (shown != expected)
                .then(|| format!("another tab shows {shown:?} in {name}, and the model {expected:?}"))
        })
    }

    /// What can be seen and is not what the model says.
    fn difference(&self) -> Option<String> {
        for (&collection, (_, name)) in self.collections.iter().zip(COLLECTIONS) {
            let expected = self.model.shows_in(name);
            let shown: BTreeMap<String, Value> =
                self.engine.rows(collection).map(|(key, row)| (key.to_owned(), row.clone())).collect();
            let page = self.page.get(&collection).cloned().unwrap_or_default();
            if shown != expected || page != expected {
                return Some(format!(
                    "{name} shows {shown:?}, its page {page:?}, and the model {expected:?}"
                ));
            }
        }
        let kept = || self.model.txs.iter().enumerate().filter(|(_, tx)| !tx.effects.is_empty());
        let mut listed = self.engine.transactions();
        listed.retain(|id| self.engine.transaction(*id).is_some_and(|view| !view.mutations.is_empty()));
        let expected: Vec<TxId> = kept().map(|(_, tx)| tx.id).collect();
        if listed != expected {
            return Some(format!("{listed:?} are listed, and {expected:?} by the model"));
        }
        for (at, tx) in kept() {
            let view = self.engine.transaction(tx.id)?;
            let waits = if tx.state == State::Queued { self.model.waits_for(at) } else { None };
            let seen = (view.state, view.current_attempt, view.cause, view.queued_behind);
            let said = (tx.state, tx.attempts, tx.cause, waits);
            if seen != said {
                return Some(format!("{} is {seen:?}, and {said:?} in the model", tx.id));
            }
        }
        let mut locked = self.engine.locked_objects();
        locked.sort();
        if locked != self.model.locked() {
            return Some(format!("{locked:?} are locked, and {:?} in the model", self.model.locked()));
        }
        let called: BTreeSet<TxId> = self.persists.values().copied().collect();
        let calling = kept().filter(|(_, tx)| tx.state == State::Persisting).map(|(_, tx)| tx.id).collect();
        (called != calling).then(|| format!("{called:?} are being sent, and {calling:?} by the model"))
    }
}
