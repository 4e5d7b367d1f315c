//! Drives one engine in a page: runs what it asks for, and hands on what it tells the app.
//!
//! Nothing of the app's runs while the engine is borrowed, save merge functions, which are pure; a merge
//! function that writes gets an error.

mod effects;
mod leases;
mod others;
mod remotes;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::{Rc, Weak},
};

use driftline_core::{
    Code, Config, Engine, Error, ErrorInfo, Haste, Input, OpId, Output, Timestamp,
    spec::{CollectionId, RemoteId},
};
use js_sys::{Function, Promise};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::AbortController;

use crate::{
    channel::{TabChannel, TabMessage},
    environment::{Change, Environment, Timer},
    journal::Store,
    scope::{Scope, Timeout},
    value::Row,
};
use leases::Leases;
use others::Others;
use remotes::Remote;

/// Takes what the engine tells the app: outputs that are calls to the app's functions and events, in order.
pub type Tell = Box<dyn Fn(Vec<Output<Row>>)>;

/// One open database of a page.
pub struct Driver {
    name: String,
    scope: Scope,
    engine: RefCell<Engine<Row>>,
    tell: Tell,
    journal: Store,
    timer: Timer,
    channel: RefCell<Option<TabChannel>>,
    environment: RefCell<Option<Environment>>,
    leases: Leases,
    others: Others,
    remotes: RefCell<BTreeMap<RemoteId, Remote>>,
    requests: RefCell<BTreeMap<OpId, AbortController>>,
    /// Sync feeds that should run, with how often each failed in a row, and the wait for another try.
    feeds: RefCell<BTreeMap<CollectionId, (u32, Option<Timeout>)>>,
    turn_end_is_due: Cell<bool>,
    /// A commit that can wait for more to share it.
    late_turn_end: RefCell<Option<Timeout>>,
    remotes_check_is_due: Cell<bool>,
    /// Disk operations that were not answered yet, and who waits for there to be none.
    in_flight: Cell<usize>,
    idle_waiters: RefCell<Vec<Function>>,
    closed: Cell<bool>,
}

/// How many microtasks the app has to go on after what it was told: an `await` takes one to three.
const MICROTASKS_OF_A_TURN: u32 = 4;
/// How long what nothing waits for stays uncommitted, in milliseconds: about two frames.
const LATE_TURN_END_MS: u32 = 32;
/// How often a closing database is flushed again, when something writes while it closes.
const FLUSH_ROUNDS_MAX: u32 = 16;

impl Driver {
    /// Opens a database and starts reading it. `tell` is called outside of any engine call.
    pub fn open(scope: Scope, name: &str, strict: bool, config: Config, tell: Tell) -> Rc<Self> {
        let driver = Rc::new(Self {
            name: name.to_owned(),
            engine: RefCell::new(Engine::new(config)),
            tell,
            journal: Store::new(&scope, name, strict),
            timer: Timer::within(&scope),
            scope,
            channel: RefCell::new(None),
            environment: RefCell::new(None),
            leases: Leases::default(),
            others: Others::default(),
            remotes: RefCell::default(),
            requests: RefCell::default(),
            feeds: RefCell::default(),
            turn_end_is_due: Cell::new(false),
            late_turn_end: RefCell::default(),
            remotes_check_is_due: Cell::new(false),
            in_flight: Cell::new(0),
            idle_waiters: RefCell::default(),
            closed: Cell::new(false),
        });
        driver.channel.replace(TabChannel::within(&driver.scope, name, driver.weakly(Self::heard)));
        driver.environment.replace(Some(Environment::within(
            &driver.scope,
            driver.weakly(|driver, change| match change {
                Change::Online(online) => driver.input(Input::Online(online)),
                Change::Visible(visible) => driver.input(Input::Visible(visible)),
                Change::Frozen(frozen) => driver.frozen(frozen),
            }),
        )));
        driver.send(&TabMessage::Hello);
        driver.input(Input::Online(driver.scope.is_online()));
        driver.input(Input::Visible(driver.scope.is_visible()));
        driver
    }

    /// Runs a command of the app's, and everything that follows from it.
    ///
    /// # Errors
    /// The command's own, or [`Code::Unexpected`] when it comes from inside a merge function.
    pub fn command<T>(
        self: &Rc<Self>,
        command: impl FnOnce(&mut Engine<Row>, Timestamp) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let answer = match self.engine.try_borrow_mut() {
            Ok(mut engine) => command(&mut engine, self.scope.now()),
            Err(_) => return Err(Error::new(Code::Unexpected, INSIDE_MERGE)),
        };
        self.drain();
        answer
    }

    /// Looks at the engine.
    ///
    /// # Errors
    /// [`Code::Unexpected`] when it comes from inside a merge function.
    pub fn look<T>(&self, look: impl FnOnce(&Engine<Row>) -> T) -> Result<T, Error> {
        match self.engine.try_borrow() {
            Ok(engine) => Ok(look(&engine)),
            Err(_) => Err(Error::new(Code::Unexpected, INSIDE_MERGE)),
        }
    }

    /// Gives the engine an input, and runs everything that follows from it.
    ///
    /// A tab that leads and was stopped for a while makes sure first that it still does; what comes meanwhile
    /// waits for that.
    pub fn input(self: &Rc<Self>, input: Input<Row>) {
        if let Some(input) = self.unless_in_doubt(input) {
            self.take(input);
        }
    }

    fn take(self: &Rc<Self>, input: Input<Row>) {
        self.engine.borrow_mut().handle_input(self.scope.now(), input);
        self.drain();
    }

    /// The app's sync feed of a collection broke: it is started again after a back-off, while this tab leads.
    pub fn feed_failed(self: &Rc<Self>, collection: CollectionId, error: ErrorInfo) {
        // Can't fail: no merge function runs, and noting it is never refused.
        let _ = self.command(|engine, _| {
            engine.note_error(error);
            Ok(())
        });
        let mut feeds = self.feeds.borrow_mut();
        let Some((failures, wait)) = feeds.get_mut(&collection) else {
            return;
        };
        let bound_ms = FEED_BACKOFF_BASE_MS.saturating_mul(1 << (*failures).min(16)).min(FEED_BACKOFF_MAX_MS);
        *failures += 1;
        let again = self.weakly(|driver, collection| {
            if driver.feeds.borrow().contains_key(&collection) {
                (driver.tell)(vec![Output::StartSync(collection)]);
            }
        });
        // Half of the bound is waited in any case, so that a feed that fails at once does not spin.
        let wait_ms = bound_ms / 2 + (self.scope.random() * f64::from(bound_ms / 2)) as u32;
        *wait = Some(self.scope.timeout(wait_ms, move || again(collection)));
    }

    /// The app's sync feed of a collection has delivered.
    pub fn feed_works(&self, collection: CollectionId) {
        if let Some(feed) = self.feeds.borrow_mut().get_mut(&collection) {
            *feed = (0, None);
        }
    }

    /// The journal, for facts beside the log.
    #[must_use]
    pub fn journal(&self) -> &Store {
        &self.journal
    }

    /// Writes what is still to be written, releases the leases and closes the connection.
    pub async fn close(self: &Rc<Self>) {
        if self.closed.replace(true) {
            return;
        }
        // Before the leases go: what this tab decided as a leader is refused once another has taken over.
        self.flush().await;
        self.engine.borrow_mut().close(self.scope.now());
        self.drain();
        self.flush().await;
        self.leases.clear();
        self.remotes.borrow_mut().clear();
        self.feeds.borrow_mut().clear();
        for (_, abort) in std::mem::take(&mut *self.requests.borrow_mut()) {
            abort.abort();
        }
        self.timer.clear();
        self.late_turn_end.take();
        self.channel.take();
        self.environment.take();
        self.journal.close();
    }

    /// Polls the engine until it has no more to say, starts its effects, and then tells the app.
    fn drain(self: &Rc<Self>) {
        let mut told = Vec::new();
        {
            let mut engine = self.engine.borrow_mut();
            while let Some(output) = engine.poll_output() {
                if let Some(output) = self.perform(output) {
                    told.push(output);
                }
            }
        }
        if !told.is_empty() {
            (self.tell)(told);
        }
        self.end_turn_soon();
    }

    /// Commits what is to be committed, as soon as that is due.
    fn end_turn_soon(self: &Rc<Self>) {
        let mut engine = self.engine.borrow_mut();
        if self.turn_end_is_due.get() || !engine.wants_turn_end() {
            return;
        }
        let end_turn = self.weakly(|driver, ()| {
            driver.turn_end_is_due.set(false);
            driver.late_turn_end.take();
            if driver.engine.borrow().wants_turn_end() {
                driver.input(Input::TurnEnded);
            }
        });
        let microtasks = match engine.turn_end_haste() {
            // The timers of hidden pages are slowed down, and a test's clock stands still.
            Haste::Late if self.scope.is_global() && self.scope.is_visible() => {
                self.late_turn_end
                    .borrow_mut()
                    .get_or_insert_with(|| self.scope.timeout(LATE_TURN_END_MS, move || end_turn(())));
                return;
            }
            Haste::Late | Haste::Soon => MICROTASKS_OF_A_TURN,
            Haste::Now => 0,
        };
        self.turn_end_is_due.set(true);
        spawn_local(async move {
            for _ in 0..microtasks {
                // Can't fail: it is resolved.
                let _ = JsFuture::from(Promise::resolve(&JsValue::UNDEFINED)).await;
            }
            end_turn(());
        });
    }

    /// Commits what has been written, and waits for it.
    async fn flush(self: &Rc<Self>) {
        for _ in 0..FLUSH_ROUNDS_MAX {
            if self.engine.borrow().wants_turn_end() {
                self.input(Input::TurnEnded);
            }
            if self.in_flight.get() == 0 {
                break;
            }
            self.idle().await;
        }
    }

    /// Waits until every disk operation has been answered.
    pub async fn idle(&self) {
        while self.in_flight.get() > 0 {
            let done = Promise::new(&mut |resolve, _| self.idle_waiters.borrow_mut().push(resolve));
            // Can't fail: it is only ever resolved.
            let _ = JsFuture::from(done).await;
        }
    }

    /// A callback that does nothing once the driver is gone.
    fn weakly<A>(
        self: &Rc<Self>,
        call: impl Fn(&Rc<Self>, A) + Clone + 'static,
    ) -> impl Fn(A) + Clone + 'static {
        let weak: Weak<Self> = Rc::downgrade(self);
        move |argument| {
            if let Some(driver) = weak.upgrade() {
                call(&driver, argument);
            }
        }
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("name", &self.name).finish_non_exhaustive()
    }
}

const FEED_BACKOFF_BASE_MS: u32 = 1_000;
const FEED_BACKOFF_MAX_MS: u32 = 60_000;
const INSIDE_MERGE: &str = "A merge function called back into Driftline. It must only compute what shows from what it is given; \
     nothing was written.";
