//! Drives the file planner in the dedicated worker: the OPFS store, the durable states, the requests.
//!
//! Every tab's worker saves and reads. Transfers run in one of them, the one that holds the Web Lock
//! `driftline:<database>:files`; when its tab goes, the next in line takes over from what is stored. The
//! others hear from it over a channel, and send it their wishes.

mod control;
mod download;
mod message;
mod remote;
mod states;
mod tabs;
mod upload;
mod watch;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::{Rc, Weak},
};

use driftline_core::{
    OpId,
    files::{
        Config, DeleteOutcome, Digest, Failure, FailureKind, FileEngine, FileId, Input, Output, RecordFacts,
        Stored, TransferKind,
    },
};
use gloo_timers::future::TimeoutFuture;
use js_sys::Function;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;

use crate::{
    environment::{Timer, is_online, now},
    locks::{Claim, LockEvent},
    opfs::{BlobWriter, OpfsStore, Saved, StoreError, StoreErrorKind},
};
use control::{Control, failure};
pub use message::{Command, Event, FilesConfig, Usage, to_js};
use remote::HttpRemote;
use states::States;
use tabs::{Tabs, Word};
use watch::Watch;

/// One database's files, in one tab's worker.
pub struct Files {
    database: String,
    config: FilesConfig,
    store: Rc<OpfsStore>,
    states: States,
    remote: HttpRemote,
    tell: Box<dyn Fn(&Event)>,
    /// What the page has told of its records; the planner gets it when this tab takes the lead.
    records: RefCell<BTreeMap<FileId, RecordFacts>>,
    complete: Cell<bool>,
    online: Cell<bool>,
    paused: Cell<bool>,
    engine: RefCell<Option<FileEngine>>,
    swept: Cell<bool>,
    running: RefCell<BTreeMap<OpId, Rc<Control>>>,
    timer: Timer,
    tabs: RefCell<Option<Tabs>>,
    claim: RefCell<Option<Claim>>,
    watch: Watch,
}

impl Files {
    /// Opens a database's files, and stands in line for its transfers. `tell` takes events for the page;
    /// `ask_headers` is called as `(method, url)` for each request, and answers a promise of pairs.
    ///
    /// # Errors
    /// [`StoreErrorKind::Unavailable`] where the browser gives no OPFS.
    pub async fn open(
        database: &str,
        config: FilesConfig,
        tell: impl Fn(&Event) + 'static,
        ask_headers: Function,
    ) -> Result<Rc<Self>, StoreError> {
        let files = Rc::new(Self {
            database: database.to_owned(),
            store: Rc::new(OpfsStore::open(database).await?),
            states: States::new(database),
            remote: HttpRemote { base_url: config.base_url.trim_end_matches('/').to_owned(), ask_headers },
            tell: Box::new(tell),
            records: RefCell::default(),
            complete: Cell::new(false),
            online: Cell::new(is_online()),
            paused: Cell::new(config.paused),
            engine: RefCell::new(None),
            swept: Cell::new(false),
            running: RefCell::default(),
            timer: Timer::default(),
            tabs: RefCell::new(None),
            claim: RefCell::new(None),
            watch: Watch::default(),
            config,
        });
        files.states.put_config(&files.config.for_service_worker()).await?;
        files.tabs.replace(Tabs::open(database, files.weakly(|files, word| files.heard(word))));
        files.say(&Word::Hello);
        files.stand_in_line();
        Ok(files)
    }

    /// Saves a blob, and answers when it is published.
    ///
    /// # Errors
    /// As [`OpfsStore::save`].
    pub async fn save(self: &Rc<Self>, source: &web_sys::Blob) -> Result<Saved, StoreError> {
        let counted = RefCell::new(None);
        let saved = self.store.save(source, async |saved| self.count(saved, &counted).await).await?;
        self.saved(saved, counted.into_inner());
        Ok(saved)
    }

    /// Starts a save whose bytes come in pieces.
    ///
    /// # Errors
    /// As [`OpfsStore::create`].
    pub async fn create(&self) -> Result<BlobWriter, StoreError> {
        self.store.create().await
    }

    /// Ends a save whose bytes came in pieces.
    ///
    /// # Errors
    /// As [`BlobWriter::publish`].
    pub async fn publish(self: &Rc<Self>, writer: BlobWriter) -> Result<Saved, StoreError> {
        let counted = RefCell::new(None);
        let saved = writer.publish(async |saved| self.count(saved, &counted).await).await?;
        self.saved(saved, counted.into_inner());
        Ok(saved)
    }

    /// A published blob, or `None`.
    ///
    /// # Errors
    /// As the browser's.
    pub async fn read(&self, hash: &Digest) -> Result<Option<web_sys::File>, StoreError> {
        self.store.file(hash).await
    }

    /// Takes file records that changed; `complete` once all have been told.
    pub fn records(self: &Rc<Self>, upserts: Vec<RecordFacts>, removed: Vec<FileId>, complete: bool) {
        {
            let mut records = self.records.borrow_mut();
            for id in &removed {
                records.remove(id);
            }
            records.extend(upserts.iter().map(|facts| (facts.id.clone(), facts.clone())));
        }
        self.complete.set(self.complete.get() || complete);
        self.input(Input::Records { upserts, removed, complete });
        self.sweep_once();
    }

    /// Takes a wish of the page's: to the planner if it is here, else to the tab where it is.
    pub fn command(self: &Rc<Self>, command: Command) {
        match command {
            Command::Pause => self.paused.set(true),
            Command::Resume => self.paused.set(false),
            Command::Online { online } => {
                self.online.set(online);
                // Each tab hears the browser itself.
                return self.input(Input::Online(online));
            }
            _ => {}
        }
        if self.engine.borrow().is_some() {
            self.input(command.into());
        } else {
            self.say(&Word::Command(command));
        }
    }

    /// What is on this device.
    ///
    /// # Errors
    /// As the browser's.
    pub async fn usage(&self) -> Result<Usage, StoreError> {
        let states = self.states.load().await?;
        let local = || states.values().filter(|stored| stored.local);
        let evictable = local().filter(|stored| stored.uploaded && !stored.pinned);
        let estimate = OpfsStore::estimate().await?;
        Ok(Usage {
            bytes: local().map(|stored| stored.size).sum(),
            files: local().count() as u64,
            evictable_bytes: evictable.map(|stored| stored.size).sum(),
            quota: estimate.get_quota().unwrap_or_default() as u64,
        })
    }

    /// Ends everything; what runs goes on in another tab, or next time.
    pub fn close(&self) {
        self.lose_lead();
        self.watch.stop();
        self.claim.take();
        self.tabs.take();
        self.states.close();
    }

    /// Stands in line for the transfers, and takes them from a tab that is silent for too long.
    fn stand_in_line(self: &Rc<Self>) {
        self.claim_by(Claim::new);
        let silent = self.weakly(|files, ()| files.claim_by(Claim::steal));
        let beat = self.weakly(|files, ()| files.say(&Word::Beat));
        self.watch.start(move || beat(()), move || silent(()));
    }

    fn claim_by<C>(self: &Rc<Self>, claim: C)
    where
        C: FnOnce(&str, Box<dyn Fn(LockEvent)>) -> Claim,
    {
        let heard = self.weakly(|files, event| match event {
            // Without locks there is one tab, or two that send the same bytes to the same name.
            LockEvent::Gained | LockEvent::Unsupported => files.take_lead(),
            LockEvent::Elsewhere => {}
            LockEvent::Lost => {
                files.lose_lead();
                files.stand_in_line();
            }
        });
        let claim = claim(&format!("driftline:{}:files", self.database), Box::new(heard));
        self.claim.replace(Some(claim));
    }

    async fn count(&self, saved: Saved, counted: &RefCell<Option<Stored>>) -> Result<(), StoreError> {
        let stored = self.states.count_save(saved.hash, saved.size, now()).await?;
        counted.replace(Some(stored));
        Ok(())
    }

    fn saved(self: &Rc<Self>, saved: Saved, counted: Option<Stored>) {
        let Some(stored) = counted else { return };
        if self.engine.borrow().is_some() {
            self.input(Input::Saved(saved.hash, stored));
        } else {
            self.say(&Word::Saved(saved.hash, stored));
        }
    }

    fn take_lead(self: &Rc<Self>) {
        self.watch.beat(|| self.say(&Word::Beat));
        let files = Rc::clone(self);
        spawn_local(async move {
            // Until the states are read, nothing can be decided. A database that can't be read now has been
            // reported by whoever writes to it; saving and reading go on without transfers.
            let states = match files.states.load().await {
                Ok(states) => states,
                Err(error) => return (files.tell)(&Event::Unavailable { message: error.message }),
            };
            if files.claim.borrow().is_none() {
                return;
            }
            files.engine.replace(Some(FileEngine::new(files.config.engine(), random_seed())));
            if files.paused.get() {
                files.input(Input::Pause);
            }
            files.input(Input::Online(files.online.get()));
            files.input(Input::Restored(states.into_iter().collect()));
            let upserts = files.records.borrow().values().cloned().collect();
            files.input(Input::Records { upserts, removed: vec![], complete: files.complete.get() });
            files.sweep_once();
        });
    }

    fn lose_lead(&self) {
        self.engine.take();
        self.timer.clear();
        for control in std::mem::take(&mut *self.running.borrow_mut()).into_values() {
            control.cancel();
        }
    }

    /// Sweeps what crashes have left, once all records are known, and tells the planner of blobs that it
    /// can't know of.
    fn sweep_once(self: &Rc<Self>) {
        if !self.complete.get() || self.engine.borrow().is_none() || self.swept.replace(true) {
            return;
        }
        let files = Rc::clone(self);
        spawn_local(async move {
            let Ok(states) = files.states.load().await else { return };
            let sizes = states
                .iter()
                .filter(|(_, stored)| stored.size > 0)
                .map(|(hash, stored)| (*hash, stored.size))
                .collect();
            let keeps = |hash: &Digest| {
                files.engine.borrow().as_ref().is_none_or(|engine| engine.expects_partial(hash))
            };
            // What could not be swept now is swept next time.
            let Ok(swept) = files.store.sweep(&sizes, keeps).await else { return };
            let unknown = swept
                .blobs
                .into_iter()
                .filter(|(hash, _)| !states.get(hash).is_some_and(|stored| stored.local));
            files.input(Input::Found(unknown.collect()));
        });
    }

    /// Hands an input to the planner, if it is here, and performs what it asks for.
    fn input(self: &Rc<Self>, input: Input) {
        if let Some(engine) = self.engine.borrow_mut().as_mut() {
            engine.handle_input(now(), input);
        }
        loop {
            let next = self.engine.borrow_mut().as_mut().and_then(FileEngine::poll_output);
            match next {
                Some(output) => self.perform(output),
                None => return,
            }
        }
    }

    fn perform(self: &Rc<Self>, output: Output) {
        let files = Rc::clone(self);
        match output {
            Output::Probe(op, hash) => spawn_local(async move {
                // A disk that can't be read is no proof that the blob is gone: it is asked until it answers.
                let size = loop {
                    match files.store.size(&hash).await {
                        Ok(size) => break size,
                        Err(_) => TimeoutFuture::new(PROBE_RETRY_MS).await,
                    }
                    if files.engine.borrow().is_none() {
                        return;
                    }
                };
                files.input(Input::Probed(op, size));
            }),
            Output::StoreState(op, hash, stored) => spawn_local(async move {
                let written = files.states.put(hash, stored).await;
                files.input(Input::StateStored(op, written.is_ok()));
            }),
            Output::ForgetState(op, hash, saves) => spawn_local(async move {
                let written = files.states.forget(hash, saves).await;
                files.input(Input::StateStored(op, written.is_ok()));
            }),
            Output::DeleteBlob { op, hash, saves } => spawn_local(async move {
                let outcome = files.delete(&hash, saves).await;
                files.input(Input::Deleted(op, outcome.unwrap_or(DeleteOutcome::Busy)));
            }),
            Output::Start { op, kind, hash, size, fresh, .. } => self.start(op, kind, hash, size, fresh),
            Output::Cancel(op) => {
                if let Some(control) = self.running.borrow().get(&op) {
                    control.cancel();
                }
            }
            Output::Wake(None) => self.timer.clear(),
            Output::Wake(Some((at, _))) => self.timer.set(at, {
                let due = self.weakly(|files, ()| files.input(Input::Timer));
                move || due(())
            }),
            Output::Progress { kind, files, loaded, total, .. } => {
                self.event(Event::Progress { kind, files, loaded, total })
            }
            Output::StateChanged(state) => self.event(Event::State { state }),
            Output::StateRemoved(id) => self.event(Event::Removed { id }),
            // The page of this very tab writes it into the records, once for all tabs.
            Output::RecordUploaded { hash, files } => (self.tell)(&Event::Uploaded { hash, files }),
            Output::Evicted(request, evicted) => self.event(Event::Evicted { request, evicted }),
            Output::StatusChanged(status) => self.event(Event::Status { status }),
        }
    }

    fn start(self: &Rc<Self>, op: OpId, kind: TransferKind, hash: Digest, size: u64, fresh: bool) {
        let control = Control::new({
            let progressed = self.weakly(move |files, loaded| files.input(Input::Progressed(op, loaded)));
            move |loaded| progressed(loaded)
        });
        self.running.borrow_mut().insert(op, Rc::clone(&control));
        let files = Rc::clone(self);
        spawn_local(async move {
            let moved = match kind {
                TransferKind::Upload => files.upload(&hash, &control).await,
                TransferKind::Download => {
                    download::download(&files.store, &files.remote, &hash, size, fresh, &control).await
                }
            };
            files.running.borrow_mut().remove(&op);
            files.input(match moved {
                Ok(()) => Input::Finished(op),
                Err(failure) => Input::Failed(op, failure),
            });
        });
    }

    async fn upload(&self, hash: &Digest, control: &Rc<Control>) -> Result<(), Failure> {
        let file = self
            .store
            .file(hash)
            .await
            .map_err(|error| failure(FailureKind::Temporary(None), error.message))?;
        let file =
            file.ok_or_else(|| failure(FailureKind::LocalMissing, "The local copy of the file is gone."))?;
        upload::upload(&self.remote, hash, &file, self.config.chunk_bytes(), control).await
    }

    async fn delete(&self, hash: &Digest, saves: u32) -> Result<DeleteOutcome, StoreError> {
        let _lock = self.store.lock(hash).await;
        if let Some(stored) = self.states.begin_deletion(*hash, saves).await? {
            return Ok(DeleteOutcome::Kept(stored));
        }
        match self.store.remove(hash).await {
            Err(error) if error.kind != StoreErrorKind::NotFound => Err(error),
            _ => Ok(DeleteOutcome::Deleted),
        }
    }

    /// Tells this tab's page and the others'.
    fn event(&self, event: Event) {
        (self.tell)(&event);
        self.say(&Word::Event(event));
    }

    fn heard(self: &Rc<Self>, word: Word) {
        let leads = self.engine.borrow().is_some();
        match word {
            Word::Event(event) if !leads => (self.tell)(&event),
            Word::Saved(hash, stored) if leads => self.input(Input::Saved(hash, stored)),
            Word::Command(command) if leads => self.input(command.into()),
            Word::Beat => self.watch.heard(),
            Word::Hello if leads => {
                let engine = self.engine.borrow();
                let Some(engine) = engine.as_ref() else { return };
                engine.states().for_each(|state| self.say(&Word::Event(Event::State { state })));
                self.say(&Word::Event(Event::Status { status: engine.status() }));
            }
            _ => {}
        }
    }

    fn say(&self, word: &Word) {
        if let Some(tabs) = self.tabs.borrow().as_ref() {
            tabs.say(word);
        }
    }

    fn weakly<T>(self: &Rc<Self>, act: impl Fn(&Rc<Self>, T) + 'static) -> impl Fn(T) + 'static {
        let files: Weak<Self> = Rc::downgrade(self);
        move |value| {
            if let Some(files) = files.upgrade() {
                act(&files, value);
            }
        }
    }
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("database", &self.database).finish_non_exhaustive()
    }
}

impl From<StoreError> for JsValue {
    /// `{ code, message }`, for the page to make its own error of.
    fn from(error: StoreError) -> Self {
        message::to_js(&message::ErrorMessage { code: error.code(), message: &error.message })
    }
}

/// How long after a failed look at the disk it is looked at again, in milliseconds.
const PROBE_RETRY_MS: u32 = 2_000;

fn random_seed() -> [u8; 32] {
    core::array::from_fn(|_| (js_sys::Math::random() * 256.0) as u8)
}

impl FilesConfig {
    fn engine(&self) -> Config {
        let default = Config::default();
        Config {
            max_concurrent_uploads: self.max_concurrent_uploads.unwrap_or(default.max_concurrent_uploads),
            max_concurrent_downloads: self
                .max_concurrent_downloads
                .unwrap_or(default.max_concurrent_downloads),
            auto_upload: self.auto_upload.unwrap_or(default.auto_upload),
            max_attempts: self.retries.map_or(default.max_attempts, |retries| retries.saturating_add(1)),
            base_delay_ms: self.base_delay_ms.unwrap_or(default.base_delay_ms),
            max_delay_ms: self.max_delay_ms.unwrap_or(default.max_delay_ms),
        }
    }
}
