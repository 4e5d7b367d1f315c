//! A tab: an engine and what its driver keeps; turns of its event loop.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use driftline_core::{
    Config, Engine, Input, LeaseName, LiveEvent, OpId, Output, RemoteSpec, Timestamp, TxId,
    spec::{CollectionId, RemoteId},
};
use serde_json::Value;

use crate::{
    plan::Fault,
    release, wires,
    world::{Event, Job, Parcel, TabId, World},
};

/// The collections of the simulated app.
pub(crate) const COLLECTIONS: [&str; 5] = ["todos", "cards", "notes", "tags", "likes"];
/// Those whose rows come from the sync server, and what it calls them.
pub(crate) const ENTITIES: [(&str, &str); 2] = [("todos", "todo"), ("cards", "card")];
/// The one that is mirrored.
pub(crate) const MIRRORED: &str = "todos";
/// The scope that all clients share.
pub(crate) const SCOPE: &str = "all";

pub(crate) struct Tab {
    pub id: TabId,
    pub client: usize,
    pub engine: Engine<Value>,
    pub remote: RemoteId,
    /// The registered collections, by their place in [`COLLECTIONS`].
    pub collections: [Option<CollectionId>; COLLECTIONS.len()],
    /// The rows as a page has them: built from deltas alone.
    pub rows: BTreeMap<CollectionId, BTreeMap<String, Value>>,
    pub loaded: bool,
    /// Its journal could not be opened: it can only be closed.
    pub broken: bool,
    pub frozen_since: Option<u64>,
    pub inbox: VecDeque<Parcel>,
    pub ops: BTreeSet<OpId>,
    pub commit_in_flight: bool,
    pub timer: u64,
    pub live: BTreeMap<RemoteId, Live>,
    pub feeds: BTreeMap<CollectionId, Feed>,
    pub awaits: BTreeMap<OpId, (TxId, CollectionId)>,
    /// Those that hear of nothing and end with their time-out.
    pub deaf_awaits: BTreeSet<OpId>,
    pub leases: BTreeSet<LeaseName>,
    pub skew_ms: i64,
    /// The version of the app that it runs.
    pub release: u32,
    /// When the last message of the broadcast channel comes: it keeps its order.
    pub channel_at: u64,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Live {
    pub generation: u64,
    pub open: bool,
    /// It is dead and nobody has noticed.
    pub deaf: bool,
    pub last_at: u64,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Feed {
    pub generation: u64,
    pub running: bool,
    pub last_at: u64,
    pub version: u64,
}

impl Tab {
    pub fn index_of(&self, collection: CollectionId) -> usize {
        self.collections
            .iter()
            .position(|known| *known == Some(collection))
            .expect("outputs name registered collections")
    }

    pub fn is_partial(&self) -> bool {
        self.collections.contains(&None)
    }
}

impl World {
    pub fn open_tab(&mut self, client: usize, whole: bool) -> TabId {
        let id = self.next_tab;
        self.next_tab += 1;
        let seed = self.dice.seed();
        let (skew_ms, release) = (self.clients[client].skew_ms, self.clients[client].release);
        let mut tab = Tab {
            id,
            client,
            engine: Engine::new(Config { seed, pending_max: self.pending_max }),
            remote: RemoteId(0),
            collections: [None; COLLECTIONS.len()],
            rows: BTreeMap::new(),
            loaded: false,
            broken: false,
            frozen_since: None,
            inbox: VecDeque::new(),
            ops: BTreeSet::new(),
            commit_in_flight: false,
            timer: 0,
            live: BTreeMap::new(),
            feeds: BTreeMap::new(),
            awaits: BTreeMap::new(),
            deaf_awaits: BTreeSet::new(),
            leases: BTreeSet::new(),
            skew_ms,
            release,
            channel_at: 0,
        };
        let partial = !whole && self.strikes(Fault::Partial, 150);
        self.note(format_args!(
            "tab {id} of client {client} opens{}",
            if partial { ", partial" } else { "" }
        ));
        let now = self.tab_now(&tab);
        if !self.clients[client].online {
            tab.engine.handle_input(now, Input::Online(false));
        }
        let backend = wires::backend(self.wire);
        // A ping over the live connection is answered there; requests of that kind are not what is tried here.
        let by_frames = matches!(backend, driftline_core::spec::BackendSpec::LiveStore { .. });
        let remote = RemoteSpec {
            id: "main".into(),
            backend,
            retry: release::retry(),
            ping_ms: by_frames.then_some(driftline_core::spec::PING_MS),
        };
        tab.remote = tab.engine.connect(now, remote).expect("a new tab has no remote yet");
        let mut order: Vec<usize> = (0..COLLECTIONS.len()).collect();
        let first = self.dice.index(order.len());
        order.rotate_left(first);
        for index in order {
            if partial && self.dice.chance(400) {
                continue;
            }
            let spec = release::collection(index, tab.remote, release);
            let collection = tab.engine.register(now, spec).expect("each collection is registered once");
            tab.collections[index] = Some(collection);
            tab.rows.insert(collection, BTreeMap::new());
        }
        self.drain(&mut tab);
        self.end_turn(&mut tab);
        self.tabs.insert(id, tab);
        self.at(HEARTBEAT_MS, Event::Heartbeat(id));
        id
    }

    /// The tab's clock.
    pub fn tab_now(&self, tab: &Tab) -> Timestamp {
        Timestamp(EPOCH_MS.saturating_add(self.now).saturating_add_signed(tab.skew_ms))
    }

    /// One turn of a tab's event loop.
    pub fn turn<T>(&mut self, id: TabId, body: impl FnOnce(&mut Self, &mut Tab) -> T) -> Option<T> {
        let mut tab = self.tabs.remove(&id)?;
        let result = body(self, &mut tab);
        self.drain(&mut tab);
        self.end_turn(&mut tab);
        self.tabs.insert(id, tab);
        Some(result)
    }

    /// Performs what the engine asks for.
    pub fn drain(&mut self, tab: &mut Tab) {
        for _ in 0..OUTPUTS_MAX {
            match tab.engine.poll_output() {
                Some(output) => self.perform(tab, output),
                None => return,
            }
        }
        self.ledger
            .violate(format_args!("tab {} has had {OUTPUTS_MAX} outputs in one turn and goes on", tab.id));
    }

    pub fn end_turn(&mut self, tab: &mut Tab) {
        if tab.engine.wants_turn_end() {
            let now = self.tab_now(tab);
            tab.engine.handle_input(now, Input::TurnEnded);
            self.drain(tab);
        }
    }

    /// Something comes to a tab: now, or when it thaws.
    pub fn arrive(&mut self, id: TabId, parcel: Parcel) {
        let Some(tab) = self.tabs.get_mut(&id) else { return };
        if tab.frozen_since.is_some() {
            tab.inbox.push_back(parcel);
        } else {
            self.turn(id, |world, tab| world.receive(tab, parcel));
        }
    }

    pub fn thaw(&mut self, id: TabId) {
        let Some(tab) = self.tabs.get_mut(&id) else { return };
        if tab.frozen_since.take().is_none() {
            return;
        }
        self.note(format_args!("tab {id} thaws"));
        while let Some(parcel) = self.tabs.get_mut(&id).and_then(|tab| tab.inbox.pop_front()) {
            self.turn(id, |world, tab| world.receive(tab, parcel));
        }
    }

    fn receive(&mut self, tab: &mut Tab, parcel: Parcel) {
        let now = self.tab_now(tab);
        let input = match parcel {
            Parcel::Input(input) => {
                if let Input::Loaded(_, result) = &input {
                    tab.loaded = result.is_ok();
                    tab.broken = result.is_err();
                }
                input
            }
            Parcel::Committed(op, result) => {
                tab.commit_in_flight = false;
                if let Ok(number) = result {
                    self.broadcast(tab, &Input::LogGrew(number));
                }
                Input::Committed(op, result)
            }
            Parcel::Checkpointed(op, result, upto) => {
                if result == Ok(true) {
                    self.broadcast(tab, &Input::CheckpointedElsewhere(upto));
                }
                Input::Checkpointed(op, result)
            }
            Parcel::Timer(timer) if timer == tab.timer => Input::Timer,
            Parcel::Live(remote, generation, event) => {
                let live = tab.live.entry(remote).or_default();
                if live.generation != generation {
                    return;
                }
                match event {
                    LiveEvent::Opened => live.open = true,
                    LiveEvent::Closed | LiveEvent::Refused(_) => {
                        *live = Live { generation: generation + 1, ..Live::default() };
                    }
                    LiveEvent::Frame(_) => {}
                }
                Input::Live(remote, event)
            }
            Parcel::Feed(collection, generation, version, update) => {
                let feed = tab.feeds.entry(collection).or_default();
                if feed.running && feed.generation == generation {
                    feed.version = version;
                    tab.engine.sync_update(now, collection, update);
                    self.drain(tab);
                    self.answer_awaits(tab);
                }
                return;
            }
            Parcel::AwaitTimeout(op) => {
                if tab.awaits.remove(&op).is_none() {
                    return;
                }
                Input::AwaitSyncAnswered(
                    op,
                    Err(driftline_core::ErrorInfo { message: "timed out".into(), ..Default::default() }),
                )
            }
            Parcel::Granted(lease) => {
                if self.holds(tab, &lease) {
                    self.submit(tab.client, tab.id, Job::Raise(lease));
                }
                return;
            }
            Parcel::Raised(lease, Ok(epoch)) => {
                if !self.holds(tab, &lease) {
                    return;
                }
                tab.leases.insert(lease.clone());
                Input::LeaseGained(lease, epoch)
            }
            Parcel::Raised(lease, Err(_)) => {
                self.at(100, Event::Parcel(tab.id, Parcel::Granted(lease)));
                return;
            }
            Parcel::Stolen(lease) => {
                tab.leases.remove(&lease);
                self.queue_for_lock(tab, &lease);
                Input::LeaseLost(lease)
            }
            Parcel::Timer(_) => return,
        };
        tab.engine.handle_input(now, input);
    }

    fn broadcast(&mut self, from: &Tab, input: &Input<Value>) {
        let others: Vec<TabId> = self
            .tabs
            .values()
            .filter(|tab| tab.client == from.client && tab.id != from.id)
            .map(|tab| tab.id)
            .collect();
        for other in others {
            let at = self.now + self.dice.latency(3, 200);
            let tab = self.tabs.get_mut(&other).expect("a tab that was just listed");
            tab.channel_at = tab.channel_at.max(at);
            let delay = tab.channel_at - self.now;
            self.at(delay, Event::Parcel(other, Parcel::Input(input.clone())));
        }
    }

    /// Answers each `awaitSync` whose change the feed has brought.
    pub fn answer_awaits(&mut self, tab: &mut Tab) {
        let ready: Vec<OpId> = tab
            .awaits
            .iter()
            .filter(|(op, _)| !tab.deaf_awaits.contains(op))
            .filter(|(_, (tx, collection))| {
                let seen =
                    tab.feeds.get(collection).filter(|feed| feed.running).map_or(0, |feed| feed.version);
                self.app.version_of(*tx).is_some_and(|version| version <= seen)
            })
            .map(|(op, _)| *op)
            .collect();
        for op in ready {
            tab.awaits.remove(&op);
            let delay = self.dice.latency(2, 3_000);
            self.at(delay, Event::Parcel(tab.id, Parcel::Input(Input::AwaitSyncAnswered(op, Ok(())))));
        }
    }

    fn perform(&mut self, tab: &mut Tab, output: Output<Value>) {
        match output {
            Output::Load(op) => {
                self.ask(tab, op, |world, tab| world.submit(tab.client, tab.id, Job::Load(op)))
            }
            Output::ReadLog(op, after) => {
                self.ask(tab, op, |world, tab| world.submit(tab.client, tab.id, Job::ReadLog(op, after)))
            }
            Output::Checkpoint(op, checkpoint) => {
                self.ask(tab, op, |world, tab| {
                    world.submit(tab.client, tab.id, Job::Checkpoint(op, Box::new(checkpoint)))
                });
            }
            Output::Commit(op, commit) => {
                if tab.commit_in_flight {
                    self.ledger.violate(format_args!("tab {} commits while a commit is in flight", tab.id));
                }
                if let Some(fence) = commit.fences.iter().find(|fence| !tab.leases.contains(&fence.lease)) {
                    self.ledger.violate(format_args!(
                        "tab {} commits as the holder of {}, which it knows it is not",
                        tab.id, fence.lease
                    ));
                }
                tab.commit_in_flight = true;
                self.ask(tab, op, |world, tab| {
                    world.submit(tab.client, tab.id, Job::Commit(op, Box::new(commit)))
                });
            }
            Output::Persist { op, transaction, collection, attempt, .. } => {
                self.ask(tab, op, |world, tab| world.persist(tab, op, transaction, collection, attempt));
            }
            Output::AwaitSync { op, transaction, collection, .. } => {
                self.ask(tab, op, |world, tab| {
                    if world.strikes(Fault::Await, 60) {
                        return world.fail_await(tab.id, op);
                    }
                    tab.awaits.insert(op, (transaction, collection));
                    if world.strikes(Fault::Await, 60) {
                        tab.deaf_awaits.insert(op);
                    }
                    world.at(AWAIT_TIMEOUT_MS, Event::Parcel(tab.id, Parcel::AwaitTimeout(op)));
                    world.answer_awaits(tab);
                });
            }
            Output::Request(op, _, request) => self.ask(tab, op, |world, tab| world.send(tab, op, request)),
            Output::Cancel(op) => {
                tab.awaits.remove(&op);
                self.cancel(tab, op);
            }
            Output::OpenLive(remote, endpoint) => self.open_live(tab, remote, &endpoint),
            Output::SendFrame(remote, frame) => self.hear_frame(tab, remote, &frame),
            Output::CloseLive(remote) => {
                let live = tab.live.entry(remote).or_default();
                *live = Live { generation: live.generation + 1, ..Live::default() };
            }
            Output::StartSync(collection) => self.start_feed(tab, collection),
            Output::StopSync(collection) => {
                let feed = tab.feeds.entry(collection).or_default();
                feed.generation += 1;
                feed.running = false;
            }
            Output::ClaimLease(lease) => self.queue_for_lock(tab, &lease),
            Output::ReleaseLease(lease) => {
                tab.leases.remove(&lease);
                self.leave_lock(tab.client, tab.id, &lease);
            }
            Output::Rows(collection, changes) => {
                let rows = tab.rows.entry(collection).or_default();
                for change in changes {
                    let before = match &change.value {
                        Some(row) => rows.insert(change.key.clone(), row.clone()),
                        None => rows.remove(&change.key),
                    };
                    if before != change.previous || (change.value.is_none() && before.is_none()) {
                        self.ledger.violate(format_args!(
                            "tab {}: {} had {before:?} and was told {change:?}",
                            tab.id, change.key
                        ));
                    }
                }
            }
            Output::Transaction(tx, event) => {
                if event != driftline_core::TxEvent::Changed {
                    self.trace.line(self.now, format_args!("tab {} is told {tx} {event:?}", tab.id));
                }
                self.ledger.told(tab.id, tx, &event);
            }
            Output::Wake(at, reason) => {
                tab.timer += 1;
                let late = if self.healed { 0 } else { self.dice.latency(2, 300) };
                let delay = at.0.saturating_sub(self.tab_now(tab).0) + late;
                self.trace.line(self.now, format_args!("tab {} wakes in {delay} for {reason:?}", tab.id));
                self.at(delay, Event::Parcel(tab.id, Parcel::Timer(tab.timer)));
            }
            Output::Error { code, error, transaction } => {
                self.note(format_args!(
                    "tab {} is told {} {} {transaction:?}",
                    tab.id,
                    code.as_str(),
                    error.message
                ));
                self.ledger.counts().resets += u64::from(code == driftline_core::Code::BackendReset);
            }
            Output::Rekeyed { collection, from, to } => {
                let name = COLLECTIONS[tab.index_of(collection)];
                if self.app.key_for(name, &from) != Some(&to) {
                    self.ledger.violate(format_args!(
                        "tab {} is told of a new key for {from}, {to}, and nobody gave it",
                        tab.id
                    ));
                }
            }
            Output::TellTabs(note) => self.broadcast(tab, &Input::TabNote(note)),
            Output::Pinged(..)
            | Output::SyncedRows(_)
            | Output::Ready(_)
            | Output::Synced(_)
            | Output::Status => {}
        }
    }

    fn ask(&mut self, tab: &mut Tab, op: OpId, perform: impl FnOnce(&mut Self, &mut Tab)) {
        if tab.ops.insert(op) {
            perform(self, tab);
        } else {
            self.ledger.violate(format_args!("tab {} gives the number {op:?} to two operations", tab.id));
        }
    }
}

/// Where the clocks begin, in milliseconds since the Unix epoch.
const EPOCH_MS: u64 = 1_760_000_000_000;
/// How often a tab looks after the holders of the locks it waits for, in milliseconds.
pub(crate) const HEARTBEAT_MS: u64 = 1_000;
/// How long `awaitSync` waits, in milliseconds.
const AWAIT_TIMEOUT_MS: u64 = 30_000;
/// More outputs than this in one turn are a circle.
const OUTPUTS_MAX: usize = 20_000;
