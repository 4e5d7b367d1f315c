//! The app's own functions: calls of `persist` on their way to the app's server, and the feeds that come back.

use driftline_core::{
    ErrorInfo, Failure, FailureKind, Input, OpId, PersistOk, SyncUpdate, TxId, spec::CollectionId,
    view::MutationKind,
};

use serde_json::Value;

use crate::{
    app::Applied,
    ledger::{End, Object},
    plan::Fault,
    reference::Effect,
    settle::end_in,
    tab::{COLLECTIONS, Tab},
    world::{Call, Event, Parcel, TabId, World},
};

impl World {
    /// The app's feeds of a tab connect anew, and begin with all rows.
    pub fn restart_feeds(&mut self, id: TabId) {
        let Some(mut tab) = self.tabs.remove(&id) else { return };
        let feeds: Vec<CollectionId> =
            tab.feeds.iter().filter(|(_, feed)| feed.running).map(|(collection, _)| *collection).collect();
        for collection in feeds {
            self.start_feed(&mut tab, collection);
        }
        self.tabs.insert(id, tab);
    }

    /// The app's feed begins, or begins anew: all rows, then what changes.
    pub fn start_feed(&mut self, tab: &mut Tab, collection: CollectionId) {
        let name = COLLECTIONS[tab.index_of(collection)];
        let feed = tab.feeds.entry(collection).or_default();
        feed.running = true;
        feed.generation += 1;
        if self.clients[tab.client].online {
            self.feed(tab, collection, self.app.full(name));
        }
    }

    fn feed(&mut self, tab: &mut Tab, collection: CollectionId, update: SyncUpdate<Value>) {
        let at = self.now + 1 + self.dice.latency(60, 1_500);
        let feed = tab.feeds.entry(collection).or_default();
        feed.last_at = feed.last_at.max(at);
        let parcel = Parcel::Feed(collection, feed.generation, self.app.version(), update);
        self.at(feed.last_at - self.now, Event::Parcel(tab.id, parcel));
    }

    /// The app's `persist` is called.
    pub fn persist(&mut self, tab: &mut Tab, op: OpId, tx: TxId, collection: CollectionId, attempt: u32) {
        self.note(format_args!("tab {} persists {tx}, attempt {attempt}", tab.id));
        self.ledger.sent(tab.client, tab.id, tx);
        let Some(view) = tab.engine.transaction(tx) else {
            return self
                .ledger
                .violate(format_args!("tab {} persists {tx} and has no such transaction", tab.id));
        };
        let mut objects: Vec<Object> =
            view.mutations.iter().map(|mutation| self.object(&mutation.collection, &mutation.key)).collect();
        objects.sort();
        let known = self.ledger.known(tx).into_iter();
        let written: Vec<Object> =
            known.flat_map(|known| known.effects.keys()).map(|(name, key)| self.object(name, key)).collect();
        if objects != written
            || attempt == 0
            || !objects.iter().any(|(name, _)| *name == COLLECTIONS[tab.index_of(collection)])
        {
            self.ledger.violate(format_args!(
                "tab {} persists {tx} with {objects:?}, and {written:?} was written",
                tab.id
            ));
        }
        if let Some((name, _)) = objects.iter().find(|(name, _)| !tab.leases.contains(&format!("c/{name}"))) {
            self.ledger.violate(format_args!("tab {} persists {tx} without the lease of {name}", tab.id));
        }
        if !self.clients[tab.client].online || self.strikes(Fault::DropRequest, 30) {
            return self.fail_persist(tab.id, op, FailureKind::Unreachable);
        }
        let delay = self.travel();
        self.at(delay, Event::Call(Box::new(Call { tab: tab.id, op, tx, mutations: view.mutations })));
    }

    pub fn call_arrives(&mut self, call: Call) {
        let Call { tab, op, tx, mutations } = call;
        if self.strikes(Fault::Persist, 60) {
            let kind = match self.dice.below(10) {
                0 => FailureKind::Permanent,
                1 => FailureKind::AuthRequired,
                2 => {
                    FailureKind::Temporary { after_ms: Some(self.dice.range(0, 5_000)), counts_attempt: true }
                }
                _ => FailureKind::Temporary { after_ms: None, counts_attempt: true },
            };
            self.note(format_args!("app fails {tx}: {kind:?}"));
            return self.fail_persist(tab, op, kind);
        }
        for mutation in &mutations {
            self.arrived(tx, &mutation.collection, &mutation.key, mutation.kind, mutation.changes.as_ref());
        }
        let (applied, changes) = self.app.apply(tx, &mutations);
        self.note(format_args!("app has {tx}: {applied:?}"));
        match applied {
            Applied::Now => {
                for mutation in &mutations {
                    let object = self.as_written(tx, &mutation.collection, &mutation.key);
                    self.ledger.applied(tx, &mutation.mutation_id, object);
                }
            }
            Applied::Before => self.ledger.counts().repeated += 1,
            Applied::Refused(_) => return self.fail_persist(tab, op, FailureKind::Permanent),
        }
        for (collection, writes) in changes {
            let listening: Vec<TabId> = self.tabs.keys().copied().collect();
            for id in listening {
                let mut tab = self.tabs.remove(&id).expect("a tab that was just listed");
                let index = COLLECTIONS.iter().position(|name| *name == collection);
                if let Some(known) = index.and_then(|index| tab.collections[index])
                    && tab.feeds.get(&known).is_some_and(|feed| feed.running)
                    && self.clients[tab.client].online
                {
                    self.feed(&mut tab, known, SyncUpdate::Delta(writes.clone()));
                }
                self.tabs.insert(id, tab);
            }
        }
        if self.strikes(Fault::DropAnswer, 30) {
            return self.fail_persist(tab, op, FailureKind::Unreachable);
        }
        // The same keys with each answer: a repeated call may be the first whose answer arrives.
        let inserted = mutations.iter().filter(|mutation| mutation.kind == MutationKind::Insert);
        let rekey: Vec<(String, String)> = inserted
            .filter_map(|mutation| {
                let key = self.app.key_for(&mutation.collection, &mutation.key)?;
                Some((mutation.key.clone(), key.clone()))
            })
            .collect();
        self.ledger.counts().rekeyed += rekey.len() as u64;
        let delay = self.travel();
        let answer = Input::PersistAnswered(op, Ok(PersistOk { rekey }));
        self.at(delay, Event::Parcel(tab, Parcel::Input(answer)));
    }

    /// `awaitSync` rejects.
    pub fn fail_await(&mut self, tab: TabId, op: OpId) {
        let error = ErrorInfo { name: "Error".into(), message: "it gave up".into(), ..ErrorInfo::default() };
        let delay = self.later_dice.latency(20, 3_000);
        self.at(delay, Event::Parcel(tab, Parcel::Input(Input::AwaitSyncAnswered(op, Err(error)))));
    }

    /// An object, under the first key that it had.
    pub fn object(&self, collection: &str, key: &str) -> Object {
        let name = COLLECTIONS.into_iter().find(|name| *name == collection).unwrap_or_default();
        (name, self.app.first_key(collection, key).to_owned())
    }

    /// An object, under the key that the transaction was written with.
    pub fn as_written(&self, tx: TxId, collection: &str, key: &str) -> Object {
        let object = self.object(collection, key);
        let mut known = self.ledger.known(tx).into_iter().flat_map(|known| known.effects.keys());
        let written = known.find(|(name, key)| self.object(name, key) == object).cloned();
        written.unwrap_or(object)
    }

    /// A server was sent a mutation.
    pub fn arrived(
        &mut self,
        tx: TxId,
        collection: &str,
        key: &str,
        kind: MutationKind,
        changes: Option<&Value>,
    ) {
        let sent = match kind {
            MutationKind::Insert => Effect::Insert(changes.cloned().unwrap_or_default()),
            MutationKind::Update => Effect::Update(changes.cloned().unwrap_or_default()),
            MutationKind::Delete => Effect::Delete,
        };
        let object = self.as_written(tx, collection, key);
        // Who decided that it failed may have died before it told anybody.
        let client = self.ledger.known(tx).filter(|known| known.end.is_none()).map(|known| known.client);
        let mut tabs = self.tabs.values().filter(|tab| Some(tab.client) == client);
        if let Some(end @ End::Failed { .. }) = tabs.find_map(|tab| end_in(tab, tx)) {
            self.ledger.learn(tx, end);
        }
        self.ledger.arrived(tx, &object, &sent);
    }

    fn fail_persist(&mut self, tab: TabId, op: OpId, kind: FailureKind) {
        let delay = self.travel();
        let error = ErrorInfo { name: "Error".into(), message: format!("{kind:?}"), ..ErrorInfo::default() };
        self.at(
            delay,
            Event::Parcel(tab, Parcel::Input(Input::PersistAnswered(op, Err(Failure { kind, error })))),
        );
    }
}
