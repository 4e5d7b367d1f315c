//! The safety phase: what the app does, and what goes wrong, step by step.

use std::collections::BTreeMap;

use driftline_core::{
    Code, DraftKind, Input, MutationDraft, Scope, Strategy, TransactionDraft, TxId, spec::CollectionId,
    view::TransactionState,
};
use serde_json::{Map, Value, json};

use crate::{
    app::TEMPORARY,
    ledger::{End, Object},
    log::Wire,
    plan::Fault,
    reference::Effect,
    release::{FUNCTION, MERGE, NEWEST},
    server::REFUSED_FIELD,
    settle::end_in,
    tab::{COLLECTIONS, SCOPE, Tab},
    world::{Event, TabId, World},
};

/// Collections that may share a transaction, by their place in [`COLLECTIONS`].
const GROUPS: [&[usize]; 3] = [&[0, 1], &[2, 3], &[4]];
const TABS_MAX: usize = 3;

/// What a transaction does to one row.
struct Written {
    collection: CollectionId,
    /// What showed before.
    before: Option<Value>,
    /// What must show then.
    after: Option<Value>,
    effect: Option<Effect>,
}

impl World {
    pub fn step(&mut self, step: u32) {
        if step >= self.plan.steps {
            return;
        }
        let delay = match self.dice.below(100) {
            0..=1 => self.dice.range(20_000, 120_000),
            2..=9 => self.dice.range(1_000, 12_000),
            10..=29 => self.dice.range(100, 1_000),
            _ => self.dice.range(0, 60),
        };
        self.ledger.counts().steps += 1;
        self.at(delay, Event::Step(step + 1));
        let client = self.dice.index(self.clients.len());
        let tabs: Vec<TabId> =
            self.tabs.values().filter(|tab| tab.client == client).map(|tab| tab.id).collect();
        let awake: Vec<TabId> =
            tabs.iter().copied().filter(|tab| self.tabs[tab].frozen_since.is_none()).collect();
        let frozen: Vec<TabId> =
            tabs.iter().copied().filter(|tab| self.tabs[tab].frozen_since.is_some()).collect();
        let (some, some_awake, some_frozen) = (
            self.dice.pick(&tabs).copied(),
            self.dice.pick(&awake).copied(),
            self.dice.pick(&frozen).copied(),
        );
        match (self.dice.below(1_000), some, some_awake, some_frozen) {
            (0..600, _, Some(tab), _) => self.work(tab),
            (600..615, _, Some(tab), _) if self.strikes(Fault::Close, 1_000) => self.close_tab(tab),
            (615..640, Some(tab), _, _) if self.strikes(Fault::Crash, 1_000) => self.crash_tab(tab),
            (640..648, Some(_), _, _) if self.strikes(Fault::Kill, 1_000) => {
                self.note(format_args!("client {client} is killed"));
                for tab in tabs {
                    self.crash_tab(tab);
                }
            }
            (648..680, _, Some(tab), _) if self.strikes(Fault::Freeze, 1_000) => {
                self.note(format_args!("tab {tab} freezes"));
                self.tabs.get_mut(&tab).expect("an awake tab").frozen_since = Some(self.now);
            }
            (680..720, _, _, Some(tab)) => self.thaw(tab),
            (720..745, _, _, _) if self.strikes(Fault::Offline, 1_000) => self.set_online(client, false),
            (745..790, _, _, _) => self.set_online(client, true),
            (790..805, _, _, _) if self.strikes(Fault::Restart, 1_000) && self.server_up => {
                let down = self.dice.range(100, 20_000);
                self.note(format_args!("server restarts, down for {down}"));
                self.server_up = false;
                self.server.restart();
                self.reboot_log();
                self.at(down, Event::ServerUp);
            }
            (805..820, _, _, _) if self.strikes(Fault::Trim, 1_000) => {
                if self.wire == Wire::S2 {
                    self.trim_log();
                }
                let before = self.server_head + 1 - self.dice.below(4).min(self.server_head);
                self.note(format_args!("server trims below {before}"));
                self.server.trim(SCOPE, before);
            }
            (820..835, _, _, _) if self.strikes(Fault::Clock, 1_000) => self.jump_clock(client, &tabs),
            (835..850, _, Some(tab), _) => {
                let visible = self.dice.chance(500);
                self.turn(tab, |world, tab| {
                    let now = world.tab_now(tab);
                    tab.engine.handle_input(now, Input::Visible(visible));
                });
            }
            (850..870, _, _, _) if self.strikes(Fault::Poke, 1_000) => self.cut_channels(Some(client)),
            (870.., _, _, _) if tabs.len() < TABS_MAX && (tabs.is_empty() || self.dice.chance(400)) => {
                self.open_tab(client, false);
            }
            _ => {}
        }
        self.later_step(client);
        if self.wire != Wire::Mizu {
            self.log_step(client);
        }
    }

    /// What happens to a server that keeps a log, and to who speaks to it.
    fn log_step(&mut self, client: usize) {
        if self.wire.has_identity() && self.strikes(Fault::Wipe, 3) {
            self.wipe_log();
        }
        if self.strikes(Fault::Token, 10) && !self.clients[client].expired {
            self.note(format_args!("the credentials of client {client} expire"));
            self.clients[client].expired = true;
            self.cut_channels(Some(client));
        }
    }

    /// What came to be simulated later, out of dice of its own.
    fn later_step(&mut self, client: usize) {
        if self.strikes(Fault::Migrate, 12) && self.clients[client].release < NEWEST {
            self.clients[client].release += 1;
            self.ledger.counts().releases += 1;
            let release = self.clients[client].release;
            self.note(format_args!("release {release} comes out for client {client}"));
        }
        if self.strikes(Fault::Storage, 8) {
            let for_ms = self.later_dice.range(50, 20_000);
            self.clients[client].no_disk_until = self.now + for_ms;
            self.ledger.counts().outages += 1;
            self.note(format_args!("disk {client} is gone for {for_ms}"));
        }
        let awake: Vec<TabId> = self
            .tabs
            .values()
            .filter(|tab| tab.client == client && tab.frozen_since.is_none())
            .map(|tab| tab.id)
            .collect();
        if let Some(tab) = self.later_dice.pick(&awake).copied()
            && self.strikes(Fault::Prune, 25)
        {
            self.turn(tab, Self::prune);
        }
    }

    fn prune(&mut self, tab: &mut Tab) {
        let now = self.tab_now(tab);
        let older_than = self.later_dice.chance(500).then(|| now + self.later_dice.below(60_000));
        let states = [TransactionState::Completed, TransactionState::Failed];
        let states = match self.later_dice.below(3) {
            0 => &states[..1],
            1 => &states[1..],
            _ => &states[..],
        };
        let before: Vec<(TxId, Option<End>)> =
            tab.engine.transactions().into_iter().map(|tx| (tx, end_in(tab, tx))).collect();
        let pruned = tab.engine.prune(now, older_than, states);
        self.note(format_args!("tab {} prunes {states:?}: {pruned:?}", tab.id));
        self.ledger.counts().pruned += pruned.unwrap_or_default() as u64;
        for (tx, end) in before {
            if let Some(end) = end {
                self.ledger.prune_asked(tx, end);
            }
        }
    }

    pub fn close_tab(&mut self, id: TabId) {
        let client = self.tabs[&id].client;
        self.note(format_args!("tab {id} closes"));
        self.turn(id, |world, tab| {
            let now = world.tab_now(tab);
            tab.engine.close(now);
        });
        self.tabs.remove(&id);
        self.leave_locks(client, id);
    }

    pub fn crash_tab(&mut self, id: TabId) {
        let tab = self.tabs.remove(&id).expect("only a tab that is there crashes");
        self.note(format_args!("tab {id} crashes"));
        self.ledger.counts().crashes += 1;
        self.leave_locks(tab.client, id);
    }

    /// A clock is set: forward by anything, backward under a running page by little.
    fn jump_clock(&mut self, client: usize, tabs: &[TabId]) {
        let jump = match self.dice.below(3) {
            0 => i64::try_from(self.dice.below(7_200_000)).unwrap_or_default(),
            1 => -i64::try_from(self.dice.below(7_200_000)).unwrap_or_default(),
            _ => 2_500 - i64::try_from(self.dice.below(5_000)).unwrap_or_default(),
        };
        self.note(format_args!("clock of client {client} jumps by {jump}"));
        self.clients[client].skew_ms += jump;
        for tab in tabs {
            let tab = self.tabs.get_mut(tab).expect("a tab of the client");
            tab.skew_ms += jump.max(-5_000);
        }
    }

    /// One turn of the app's.
    fn work(&mut self, id: TabId) {
        let commands = self.dice.range(1, 4);
        self.turn(id, |world, tab| {
            for _ in 0..commands {
                match world.dice.below(1_000) {
                    0..900 => world.write(tab),
                    900..940 if world.strikes(Fault::Discard, 1_000) => world.discard(tab),
                    940..970 if world.strikes(Fault::Discard, 1_000) => world.retry(tab),
                    970..978 if world.strikes(Fault::Pause, 1_000) => {
                        world.note(format_args!("tab {} pauses", tab.id));
                        let now = world.tab_now(tab);
                        tab.engine.pause(now, "the app says so");
                    }
                    978..1_000 => {
                        world.note(format_args!("tab {} resumes", tab.id));
                        world.clients[tab.client].expired = false;
                        let now = world.tab_now(tab);
                        tab.engine.resume(now);
                    }
                    _ => {}
                }
                world.drain(tab);
            }
        });
    }

    fn discard(&mut self, tab: &mut Tab) {
        let candidates: Vec<TxId> = tab.engine.transactions();
        let Some(tx) = self.dice.pick(&candidates).copied() else { return };
        let now = self.tab_now(tab);
        let result = tab.engine.discard(now, tx);
        if result.is_ok() {
            for unfinished in tab.engine.transactions() {
                // Which of them wait on it, the ledger does not know.
                if unfinished == tx
                    || tab.engine.transaction(unfinished).is_some_and(|view| !view.state.is_final())
                {
                    self.ledger.discard_asked(unfinished);
                }
            }
        }
        self.note(format_args!("tab {} discards {tx}: {:?}", tab.id, result.map_err(|error| error.code)));
    }

    fn retry(&mut self, tab: &mut Tab) {
        let failed: Vec<TxId> = tab
            .engine
            .transactions()
            .into_iter()
            .filter(|tx| {
                tab.engine.transaction(*tx).is_some_and(|view| view.state == TransactionState::Failed)
            })
            .collect();
        let Some(tx) = self.dice.pick(&failed).copied() else { return };
        let now = self.tab_now(tab);
        let result = tab.engine.retry(now, tx);
        self.note(format_args!(
            "tab {} retries {tx}: {:?}",
            tab.id,
            result.as_ref().map_err(|error| error.code)
        ));
        if let (Ok(new), Some(known)) = (result, self.ledger.known(tx)) {
            let (effects, ordered) = (known.effects.clone(), known.ordered);
            self.ledger.written(tab.client, tab.id, new, effects, ordered);
        }
    }

    /// Writes a random transaction and checks what shows at once.
    fn write(&mut self, tab: &mut Tab) {
        if !tab.loaded && self.dice.chance(700) {
            return;
        }
        let group = GROUPS[self.dice.index(GROUPS.len())];
        let known: Vec<(usize, CollectionId)> =
            group.iter().filter_map(|index| tab.collections[*index].map(|id| (*index, id))).collect();
        if known.is_empty() {
            return;
        }
        if tab.loaded && self.dice.chance(20) {
            return self.write_nonsense(tab, &known);
        }
        let count = if self.dice.chance(700) { 1 } else { self.dice.range(2, 4) };
        let mut rows: BTreeMap<Object, Written> = BTreeMap::new();
        let mut mutations = Vec::new();
        let (mut parallel, mut refused) = (group == [4], false);
        for _ in 0..count {
            let (index, collection) = known[self.dice.index(known.len())];
            let key = self.key(tab.client);
            let key = self.temporary_key(tab, index, collection).unwrap_or(key);
            let before = tab.engine.row(collection, &key).cloned();
            let row = rows.entry(self.object(COLLECTIONS[index], &key)).or_insert(Written {
                collection,
                before: before.clone(),
                after: before,
                effect: None,
            });
            self.counter += 1;
            let mut fields = Map::new();
            fields.insert("n".into(), self.counter.into());
            fields.insert(["a", "b"][self.dice.index(2)].into(), format!("{}", self.counter).into());
            if !refused && !self.healed && !self.plan.without.contains(&Fault::Refuse) && self.dice.chance(15)
            {
                refused = true;
                fields.insert(REFUSED_FIELD.into(), true.into());
            }
            let (kind, effect) = match &row.after {
                None => {
                    fields.insert("id".into(), key.as_str().into());
                    let value = Value::from(fields);
                    (DraftKind::Insert(value.clone()), Effect::Insert(value))
                }
                Some(_) if self.dice.chance(300) => (DraftKind::Delete, Effect::Delete),
                Some(_) => (DraftKind::Update(fields.clone().into()), Effect::Update(fields.into())),
            };
            row.after = effect.applied(row.after.take());
            row.effect = match row.effect.take() {
                None => Some(effect),
                Some(earlier) => earlier.then(effect, row.before.as_ref()),
            };
            mutations.push(MutationDraft { collection, key, kind, size_bytes: 100 });
        }
        let mut strategy = None;
        if group == [0, 1] && self.dice.chance(100) {
            parallel = true;
            strategy = Some(Strategy::Parallel { merge: None });
        }
        let mut function = None;
        if self.strikes(Fault::Mix, 120) {
            let merge = self.later_dice.chance(500).then(|| MERGE.to_owned());
            let mixed = match self.later_dice.below(4) {
                0 => Strategy::Ordered(Scope::Object),
                1 => Strategy::Ordered(Scope::Collection),
                _ => Strategy::Parallel { merge },
            };
            parallel = matches!(mixed, Strategy::Parallel { .. });
            strategy = Some(mixed);
            if group != [0, 1] && self.later_dice.chance(300) {
                function = Some(FUNCTION.to_owned());
            }
            self.ledger.counts().mixed += 1;
        }
        let merges = matches!(strategy, Some(Strategy::Parallel { merge: Some(_) }));
        let text = format!(
            "{:?}",
            mutations.iter().map(|mutation| (&mutation.key, &mutation.kind)).collect::<Vec<_>>()
        );
        let full = tab.engine.status().pending >= self.pending_max;
        let now = self.tab_now(tab);
        let result =
            tab.engine.transact(now, TransactionDraft { mutations, strategy, function, metadata: None });
        self.note(format_args!(
            "tab {} writes {:?} {text}",
            tab.id,
            result.as_ref().map_err(|error| error.code)
        ));
        match result {
            Ok(_) if full => self.ledger.violate(format_args!("tab {} writes into a full queue", tab.id)),
            Ok(tx) => {
                let effects =
                    rows.iter().filter_map(|(object, row)| Some((object.clone(), row.effect.clone()?)));
                self.ledger.written(tab.client, tab.id, tx, effects.collect(), !parallel);
                if merges {
                    self.merged.extend(rows.keys().map(|object| (tab.client, object.clone())));
                }
                for (object, row) in rows {
                    let shown = tab.engine.row(row.collection, &object.1);
                    // Where a merge has a say, what shows is not what was written.
                    let merged = self.merged.contains(&(tab.client, object.clone()));
                    if tab.loaded && !merged && shown != row.after.as_ref() {
                        let after = row.after;
                        self.ledger.violate(format_args!(
                            "tab {} wrote {after:?} to {object:?}, and {shown:?} shows",
                            tab.id
                        ));
                    }
                }
            }
            Err(error) if tab.broken && error.code == Code::StorageUnavailable => {}
            Err(error) if full && error.code == Code::QueueFull => self.ledger.counts().full += 1,
            Err(error) => {
                self.ledger.violate(format_args!("tab {} is refused a good write: {error:?}", tab.id))
            }
        }
    }

    /// Now and then a key that the app makes up for a new row, or one that it made up before.
    fn temporary_key(&mut self, tab: &Tab, index: usize, collection: CollectionId) -> Option<String> {
        let name = COLLECTIONS[index];
        // What is inserted under one is the app's server's to name.
        if !matches!(name, "notes" | "tags") || !self.strikes(Fault::Rekey, 350) {
            return None;
        }
        let client = tab.client;
        if self.later_dice.chance(350) {
            let key = format!("{TEMPORARY}{client}-{}", self.counter);
            self.clients[client].temporary.push(key);
        }
        let key = self.later_dice.pick(&self.clients[client].temporary)?.clone();
        // The server's own key once this tab knows that the two are one.
        let row = tab.engine.row(collection, &key);
        let now = self
            .app
            .key_for(name, &key)
            .filter(|now| row.is_some() && tab.engine.row(collection, now) == row);
        let now = now.cloned();
        now.filter(|_| self.later_dice.chance(500)).or(Some(key))
    }

    /// Writes what must be refused.
    fn write_nonsense(&mut self, tab: &mut Tab, known: &[(usize, CollectionId)]) {
        let (_, collection) = known[self.dice.index(known.len())];
        let key = self.key(tab.client);
        let exists = tab.engine.row(collection, &key).is_some();
        let row = json!({ "id": key, "n": 0 });
        let (key, kind, code) = match (self.dice.below(4), exists) {
            (0, _) => (String::new(), DraftKind::Insert(row), Code::InvalidKey),
            (1, _) => ("k".repeat(1_025), DraftKind::Insert(row), Code::InvalidKey),
            (_, true) => (key, DraftKind::Insert(row), Code::DuplicateKey),
            (2, false) => (key, DraftKind::Update(row), Code::MissingKey),
            (_, false) => (key, DraftKind::Delete, Code::MissingKey),
        };
        let before = tab.engine.rows(collection).count();
        let mutations = vec![MutationDraft { collection, key, kind, size_bytes: 10 }];
        let now = self.tab_now(tab);
        let result = tab
            .engine
            .transact(now, TransactionDraft { mutations, strategy: None, function: None, metadata: None });
        let result = result.map_err(|error| error.code);
        let full = tab.engine.status().pending >= self.pending_max && result == Err(Code::QueueFull);
        if (result != Err(code) && !full) || tab.engine.rows(collection).count() != before {
            self.ledger.violate(format_args!(
                "tab {} writes nonsense, and instead of {code:?} has {result:?}",
                tab.id
            ));
        }
    }

    /// A key of the client's own, or one that all write to.
    fn key(&mut self, client: usize) -> String {
        let key = self.dice.below(self.keys);
        if self.dice.chance(750) { format!("c{client}-{key}") } else { format!("all-{key}") }
    }
}
