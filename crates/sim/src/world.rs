//! The simulated world: its clock, its queue of events, and who lives in it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use driftline_core::{
    Checkpoint, Commit, CommitError, HttpResponse, Input, LeaseName, LiveEvent, OpId, SyncUpdate,
    TransportError, TxId,
    spec::{CollectionId, RemoteId},
    view::PendingMutationView,
};
use driftline_testkit::journal::MemoryDisk;
use serde_json::Value;

use crate::{
    app::AppServer,
    dice::Dice,
    ledger::{Ledger, Object},
    log::{Log, Wire},
    plan::{Fault, Plan},
    server::{Model, SyncServer},
    tab::Tab,
    trace::Trace,
    wires::{Conn, ConnKey},
};

/// A tab's number, never used again.
pub(crate) type TabId = u32;

pub(crate) struct World {
    pub plan: Plan,
    pub dice: Dice,
    /// What the later faults are drawn from: see [`Fault::is_later`].
    pub later_dice: Dice,
    /// What happens to a server that keeps a log is drawn from these: see [`Fault::is_of_logs`].
    pub log_dice: Dice,
    pub wire: Wire,
    pub log: Log,
    pub conns: BTreeMap<ConnKey, Conn>,
    /// How often the log server has started anew.
    pub boots: u64,
    /// When the last of what it has acknowledged is stored: that keeps its order.
    pub store_at: u64,
    pub now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    pub trace: Trace,
    pub ledger: Ledger,
    pub healed: bool,
    pub clients: Vec<Client>,
    pub tabs: BTreeMap<TabId, Tab>,
    pub next_tab: TabId,
    pub server: Box<dyn SyncServer>,
    pub server_up: bool,
    pub server_head: u64,
    pub app: AppServer,
    pub exchanges: BTreeMap<u64, Exchange>,
    pub next_exchange: u64,
    pub keys: u64,
    pub counter: u64,
    pub pending_max: usize,
    /// Objects of a client that some merge had a say in.
    pub merged: BTreeSet<(usize, Object)>,
    /// Writes to any disk so far.
    pub writes: u64,
}

/// A browser's profile.
pub(crate) struct Client {
    pub disk: MemoryDisk<Value>,
    /// Transactions on one database run one after the other.
    pub disk_free_at: u64,
    pub locks: BTreeMap<LeaseName, Lock>,
    pub online: bool,
    /// How far the clock is off, in milliseconds.
    pub skew_ms: i64,
    /// The version of the app that tabs opened now have.
    pub release: u32,
    /// Until when its disk is gone.
    pub no_disk_until: u64,
    /// The server takes its credentials no more.
    pub expired: bool,
    /// Keys that the app made up for new rows, to be replaced by the server's.
    pub temporary: Vec<String>,
}

/// A Web Lock.
#[derive(Default)]
pub(crate) struct Lock {
    pub holder: Option<TabId>,
    pub queue: VecDeque<TabId>,
}

/// A request under way.
pub(crate) struct Exchange {
    pub tab: TabId,
    pub client: usize,
    pub op: OpId,
    pub path: String,
    pub body: String,
    pub answered: bool,
}

pub(crate) enum Event {
    /// Something comes to a tab.
    Parcel(TabId, Parcel),
    /// A disk transaction's turn.
    Disk(usize, TabId, Job),
    /// A request reaches the server. The flag: a copy whose answer nobody sees.
    Arrive(u64, bool),
    /// An answer reaches the client.
    Answer(u64, Result<HttpResponse, TransportError>),
    /// A live channel's request reaches the server; the last is where it reads on, if it says so.
    LiveArrive(TabId, RemoteId, u64, u64),
    /// A frame reaches the server.
    FrameArrive(ConnKey, String),
    /// A reader of a stream is told that all is well.
    ReaderPing(ConnKey),
    /// What the log server, when it had started so often, has acknowledged is stored.
    Store(u64, Vec<Value>),
    /// The log server starts anew, if it has not meanwhile.
    Reboot(u64),
    /// A call of the app's reaches its server.
    Call(Box<Call>),
    /// A follower looks at whether the holders still live.
    Heartbeat(TabId),
    /// The server is back.
    ServerUp,
    /// The next step of the safety phase.
    Step(u32),
}

/// A call of `persist`.
pub(crate) struct Call {
    pub tab: TabId,
    pub op: OpId,
    pub tx: TxId,
    pub mutations: Vec<PendingMutationView<Value>>,
}

/// What comes to a tab; a frozen one finds it when it thaws.
pub(crate) enum Parcel {
    Input(Input<Value>),
    /// A commit's transaction completed or aborted.
    Committed(OpId, Result<u64, CommitError>),
    Checkpointed(OpId, Result<bool, CommitError>, u64),
    Timer(u64),
    Live(RemoteId, u64, LiveEvent),
    Feed(CollectionId, u64, u64, SyncUpdate<Value>),
    /// `awaitSync` has waited long enough.
    AwaitTimeout(OpId),
    /// The lock is this tab's.
    Granted(LeaseName),
    /// The epoch is raised.
    Raised(LeaseName, Result<u64, CommitError>),
    /// The lock was stolen.
    Stolen(LeaseName),
}

/// One transaction on a disk.
pub(crate) enum Job {
    Load(OpId),
    ReadLog(OpId, u64),
    Commit(OpId, Box<Commit<Value>>),
    Checkpoint(OpId, Box<Checkpoint<Value>>),
    Raise(LeaseName),
}

impl World {
    pub fn new(plan: Plan, keep_trace: bool) -> Self {
        let mut dice = Dice::new(plan.seed);
        let clients = dice.range(1, 3);
        let keys = dice.range(1, 5);
        let mut later_dice = Dice::new(plan.seed ^ LATER);
        let few = later_dice.chance(150) && !plan.without.contains(&Fault::Full);
        let pending_max = if few { later_dice.index(12) + 3 } else { PENDING_MAX };
        let mut log_dice = Dice::new(plan.seed ^ OF_LOGS);
        let drawn = Wire::drawn(log_dice.below(100));
        let wire = plan.wire.unwrap_or(drawn);
        let page = log_dice.index(8) + 1;
        let small = log_dice.chance(200) && !plan.without.contains(&Fault::Oversize);
        let log = Log::new(wire, page, if small { MUTATIONS_MAX } else { usize::MAX });
        let mut world = Self {
            plan,
            dice,
            later_dice,
            log_dice,
            wire,
            log,
            conns: BTreeMap::new(),
            boots: 0,
            store_at: 0,
            now: 0,
            queue: BTreeMap::new(),
            next_event: 0,
            trace: Trace::new(keep_trace),
            ledger: Ledger::default(),
            healed: false,
            clients: Vec::new(),
            tabs: BTreeMap::new(),
            next_tab: 0,
            server: Box::new(Model::default()),
            server_up: true,
            server_head: 0,
            app: AppServer::default(),
            exchanges: BTreeMap::new(),
            next_exchange: 0,
            keys,
            counter: 0,
            pending_max,
            merged: BTreeSet::new(),
            writes: 0,
        };
        for _ in 0..clients {
            let client = world.add_client();
            world.open_tab(client, true);
        }
        world.at(0, Event::Step(0));
        world
    }

    pub fn add_client(&mut self) -> usize {
        self.clients.push(Client {
            disk: MemoryDisk::default(),
            disk_free_at: 0,
            locks: BTreeMap::new(),
            online: true,
            skew_ms: 0,
            release: 1,
            no_disk_until: 0,
            expired: false,
            temporary: Vec::new(),
        });
        self.clients.len() - 1
    }

    /// Schedules an event, so many milliseconds from now.
    pub fn at(&mut self, delay_ms: u64, event: Event) {
        self.next_event += 1;
        self.queue.insert((self.now + delay_ms, self.next_event), event);
    }

    /// Whether a fault strikes, so many times in a thousand. After the healing none does.
    pub fn strikes(&mut self, fault: Fault, per_mille: u64) -> bool {
        // The dice fall in any case, so that a plan without a fault differs from the one with it by that alone.
        let dice = if fault.is_of_logs() {
            &mut self.log_dice
        } else if fault.is_later() {
            &mut self.later_dice
        } else {
            &mut self.dice
        };
        let strikes = dice.chance(per_mille) && !self.healed && !self.plan.without.contains(&fault);
        self.ledger.counts().faults.0[fault as usize] += u64::from(strikes);
        strikes
    }

    pub fn note(&mut self, line: std::fmt::Arguments<'_>) {
        self.trace.line(self.now, line);
    }

    /// Runs what is due up to a time, or until something does not hold.
    pub fn run_until(&mut self, until: u64) {
        let mut at_once = 0_u32;
        while let Some((&(due, _), _)) = self.queue.first_key_value() {
            if due > until || self.ledger.violation().is_some() {
                break;
            }
            let (_, event) = self.queue.pop_first().expect("an event was just seen");
            at_once = if due == self.now { at_once + 1 } else { 0 };
            if at_once > EVENTS_AT_ONCE_MAX {
                self.ledger
                    .violate(format_args!("{at_once} events at one moment: something runs in a circle"));
            }
            self.now = due;
            self.ledger.counts().events += 1;
            self.handle(event);
        }
        self.now = self.now.max(until);
    }

    /// Whether the safety phase is over.
    pub fn run_steps(&mut self) {
        while self.queue.values().any(|event| matches!(event, Event::Step(_)))
            && self.ledger.violation().is_none()
        {
            let until = self.now + 1_000;
            self.run_until(until);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Parcel(tab, parcel) => self.arrive(tab, parcel),
            Event::Disk(client, tab, job) => self.run_job(client, tab, job),
            Event::Arrive(exchange, copy) => self.reach_server(exchange, copy),
            Event::Answer(exchange, answer) => self.answer(exchange, answer),
            Event::LiveArrive(tab, remote, generation, from) => {
                self.live_arrives(tab, remote, generation, from);
            }
            Event::FrameArrive(key, frame) => self.frame_arrives(key, &frame),
            Event::ReaderPing(key) => self.ping_reader(key),
            Event::Store(boot, batch) => self.store(boot, &batch),
            Event::Reboot(boot) if boot == self.boots => {
                self.note(format_args!("server starts anew"));
                self.reboot_log();
            }
            Event::Reboot(_) => {}
            Event::Call(call) => self.call_arrives(*call),
            Event::Heartbeat(tab) => self.heartbeat(tab),
            Event::ServerUp => {
                self.server_up = true;
                self.note(format_args!("server up"));
            }
            Event::Step(step) => self.step(step),
        }
    }
}

/// Makes the later dice's seed of a plan's.
const LATER: u64 = 0x5851_f42d_4c95_7f2d;
/// Makes the seed of the dice of logs of a plan's.
const OF_LOGS: u64 = 0x9e37_79b9_7f4a_7c15;
/// Mutations of a transaction, at most.
const MUTATIONS_MAX: usize = 4;
/// What a queue takes that is not to be full.
const PENDING_MAX: usize = 10_000;
/// More events than this at one moment of virtual time are a circle.
const EVENTS_AT_ONCE_MAX: u32 = 20_000;
