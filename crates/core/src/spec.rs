//! What an app registers and writes: the arguments of the engine's commands.

use std::rc::Rc;

use crate::view::{MutationKind, PendingMutationView};

/// The largest row key, in bytes of UTF-8.
pub const KEY_MAX_BYTES: usize = 1_024;
/// The largest mutation that is stored, in bytes; larger content belongs in files.
pub const MUTATION_MAX_BYTES: u64 = 8 * 1024 * 1024;
/// The default bound on unfinished transactions.
pub const PENDING_MAX_TRANSACTIONS: usize = 100_000;
/// How long a silence of a backend may be by default before it is asked whether it is there, in milliseconds.
pub const PING_MS: u64 = 10_000;
/// The default bound on `persist` calls that run at once for one collection, and on pushes of one remote.
pub const CONCURRENT_PERSISTS: usize = 6;

/// What an engine is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where identifiers and jitter come from; from the system's entropy in production.
    pub seed: [u8; 32],
    /// How many unfinished transactions the queue takes.
    pub pending_max: usize,
}

/// One collection, as the app registers it.
pub struct CollectionSpec<V> {
    /// The collection's id; rows and queued work of earlier sessions are found by it.
    pub id: String,
    /// The backend whose rows these are, and the entity's name there; `None` for app-given functions.
    pub remote: Option<(RemoteId, String)>,
    /// What identifies the `persist` function: two collections may share a transaction if these are equal.
    pub persist: Option<u32>,
    /// Whether the collection has a sync feed of its own to be started ([`crate::Output::StartSync`]).
    pub has_sync: bool,
    /// Whether [`crate::Output::AwaitSync`] is asked for after `persist`.
    pub has_await_sync: bool,
    /// The names that transactions may use for other mutation functions.
    pub functions: Vec<String>,
    /// Named merges for parallel transactions.
    pub merges: Vec<(String, MergeFn<V>)>,
    /// The strategy of plain inserts, updates and deletes.
    pub strategy: Strategy,
    /// How failures are retried.
    pub retry: RetryPolicy,
    /// How many `persist` calls run at once.
    pub concurrent_persists: usize,
    /// The version of the rows' shape; queued work of an older one is handed to the app's `migrate`.
    pub version: u32,
    /// What makes queued work of an older version fit; without it, it is taken as it is.
    pub migrate: Option<MigrateFn<V>>,
    /// The field that holds a row's key, if it is a field: a new key is written there too.
    pub key_field: Option<String>,
    /// Whether visible rows are mirrored into a store of their own with each commit ([`crate::MirrorPut`]).
    pub mirror: bool,
    /// How its changes are named at its remote, where that is not by the default names.
    pub mapping: Option<Mapping<V>>,
}

/// How an app names its changes at a backend that keeps events, and what it makes of events. Both are pure.
pub struct Mapping<V> {
    /// The events of a change, by name and arguments, or why there are none; without it the default names.
    pub to_events: Option<ToEventsFn<V>>,
    /// What an event does to the collection's rows; without it the default names.
    pub apply: Option<ApplyEventFn<V>>,
}

/// A pure function of the app's: a change as events, by name and arguments.
pub type ToEventsFn<V> = Rc<dyn Fn(&PendingMutationView<V>) -> Result<Vec<(String, V)>, String>>;

/// A pure function of the app's: what an event of this name and these arguments does to the rows.
pub type ApplyEventFn<V> = Rc<dyn Fn(&str, &V) -> Result<Vec<EventWrite<V>>, String>>;

/// What an event does to a row.
#[derive(Clone, Debug, PartialEq)]
pub enum EventWrite<V> {
    /// The row with this key is this.
    Put(String, V),
    /// Fields of the row with this key, if there is one.
    Update(String, V),
    /// There is no row with this key.
    Delete(String),
}

/// A pure function of the app's: what shows of a row with parallel changes pending.
pub type MergeFn<V> = Rc<dyn Fn(Option<&V>, &[PendingMutationView<V>]) -> Option<V>>;

/// A pure function of the app's: a queued mutation of an older version, as one of today's. `None`: it can't be.
pub type MigrateFn<V> = Rc<dyn Fn(StoredMutation<V>, u32) -> Option<StoredMutation<V>>>;

/// A queued mutation, as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredMutation<V> {
    /// The collection's id.
    pub collection: String,
    /// The version of the rows' shape.
    pub version: u32,
    /// The row's key.
    pub key: String,
    /// What it does.
    pub kind: MutationKind,
    /// The row before.
    pub original: Option<V>,
    /// The row after.
    pub modified: Option<V>,
    /// What changes; `None` for a delete.
    pub changes: Option<V>,
    /// The transaction's.
    pub metadata: Option<V>,
}

/// Numbers a registered collection, for cheap calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CollectionId(pub u32);

/// Numbers a connected remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemoteId(pub u32);

/// One backend, as the app connects it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSpec {
    /// What the cursor is kept under: kind, address and scope.
    pub id: String,
    /// Which codec speaks to it.
    pub backend: BackendSpec,
    /// How failures are retried.
    pub retry: RetryPolicy,
    /// After how long a silence the backend is asked whether it is there, in milliseconds; `None`: never.
    pub ping_ms: Option<u64>,
}

/// A backend's dialect and its settings. Addresses and credentials are the driver's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendSpec {
    /// mizu's push/pull/snapshot/poke.
    Mizu {
        /// The partition of the data.
        scope: String,
        /// How it is written.
        dialect: MizuDialect,
        /// How the server says that there is something new; `None`: not at all.
        poke: Option<MizuPoke>,
        /// Where pokes come over a WebSocket, if that is not below the remote's address.
        poke_url: Option<String>,
    },
    /// LiveStore's sync-cf.
    LiveStore {
        /// The store's name.
        store_id: String,
        /// How it is spoken to.
        wire: LiveStoreWire,
    },
    /// A stream of S2's, by its REST v1.
    S2 {
        /// The basin.
        basin: String,
        /// The stream.
        stream: String,
        /// Whether both are made if they are missing.
        create: bool,
    },
    /// LiveStore's sync-s2 in front of S2.
    S2Proxy {
        /// The store's name.
        store_id: String,
        /// Where events are pushed, if that is not where they are pulled; empty if it is.
        push_to: String,
        /// Where it is asked whether it is there, if that is not where events are pulled; empty if it is.
        ping_to: String,
    },
}

/// How mizu's wire is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MizuDialect {
    /// As tagged v0.3.10 to v0.5.26.
    V03,
    /// As first planned.
    Plan,
}

/// How a mizu server says that there is something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MizuPoke {
    /// Server-sent events, as the reference server sends them.
    EventSource,
    /// mizu's live protocol.
    WebSocket,
    /// Whichever can be opened.
    Auto,
}

/// How LiveStore's sync-cf is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveStoreWire {
    /// 0.4.0 over a WebSocket.
    WebSocket,
    /// 0.4.0 over a WebSocket, and by single requests while none can be opened.
    Auto,
    /// 0.4.0 by single requests.
    Http,
    /// As [`Self::Http`], answered by an app's own backend.
    Calls {
        /// Whether it can be asked whether it is there.
        ping: bool,
        /// Whether it says when there is something new.
        live: bool,
    },
    /// 0.3 over a WebSocket.
    V03,
}

/// How transactions of a collection relate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Each waits for every earlier unfinished one that shares an object with it.
    Ordered(Scope),
    /// Each is sent at once; the named merge, or plain laying over, says what shows.
    Parallel {
        /// A name in [`CollectionSpec::merges`].
        merge: Option<String>,
    },
}

/// What an ordered transaction locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The objects it touches.
    Object,
    /// The whole collection: one strict line.
    Collection,
}

/// How failures are retried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries after the first.
    pub retries: u32,
    /// The first back-off's upper bound, in milliseconds.
    pub base_delay_ms: u64,
    /// The largest back-off, in milliseconds.
    pub max_delay_ms: u64,
    /// Full jitter: the wait is drawn evenly from zero to the bound.
    pub jitter: bool,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { retries: 4, base_delay_ms: 1_000, max_delay_ms: 60_000, jitter: true }
    }
}

/// One atomic write of the app's.
#[derive(Clone, Debug)]
pub struct TransactionDraft<V> {
    /// In the order in which the app made them. Several on one object are merged.
    pub mutations: Vec<MutationDraft<V>>,
    /// Overrides the collections' own strategy.
    pub strategy: Option<Strategy>,
    /// A name in the collections' `functions`.
    pub function: Option<String>,
    /// The app's own note.
    pub metadata: Option<V>,
}

/// One change to one object.
#[derive(Clone, Debug)]
pub struct MutationDraft<V> {
    /// The collection.
    pub collection: CollectionId,
    /// The row's key.
    pub key: String,
    /// What is done.
    pub kind: DraftKind<V>,
    /// About how large the stored values are, in bytes.
    pub size_bytes: u64,
}

/// What a mutation does.
#[derive(Clone, Debug)]
pub enum DraftKind<V> {
    /// A new row.
    Insert(V),
    /// Fields of a row that is there.
    Update(V),
    /// A row that is there goes.
    Delete,
}

/// One row of a sync update: its key, and its value or `None` where it is gone.
pub type RowWrite<V> = (String, Option<V>);

/// What an app's own sync feed delivers.
#[derive(Clone, Debug)]
pub enum SyncUpdate<V> {
    /// Some rows.
    Delta(Vec<RowWrite<V>>),
    /// All rows anew: what is not among them is gone.
    Full(Vec<(String, V)>),
}
