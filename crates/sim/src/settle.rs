//! After the faults: everything must come to rest, and be the same everywhere.

use std::collections::BTreeMap;

use driftline_core::{TxId, view::TransactionState};
use serde_json::Value;

use crate::{
    ledger::End,
    log::Wire,
    tab::{COLLECTIONS, ENTITIES, MIRRORED, Tab},
    world::{TabId, World},
};

impl World {
    /// Ends all faults: what is frozen thaws, what is offline comes back, each client has a whole tab.
    pub fn heal(&mut self) {
        self.healed = true;
        self.note(format_args!("all faults end"));
        self.server_up = true;
        for client in &mut self.clients {
            client.no_disk_until = 0;
            client.expired = false;
        }
        let tabs: Vec<TabId> = self.tabs.keys().copied().collect();
        for tab in tabs {
            self.thaw(tab);
            if self.tabs[&tab].broken {
                self.crash_tab(tab);
            } else if self.tabs[&tab].is_partial()
                || self.tabs[&tab].release < self.clients[self.tabs[&tab].client].release
            {
                // What a newer release has queued waits for a tab that knows it.
                self.close_tab(tab);
            }
        }
        for client in 0..self.clients.len() {
            self.set_online(client, true);
            if !self.tabs.values().any(|tab| tab.client == client) {
                self.open_tab(client, true);
            }
        }
        self.resume_all();
    }

    fn resume_all(&mut self) {
        let tabs: Vec<TabId> = self.tabs.keys().copied().collect();
        for tab in tabs {
            self.turn(tab, |world, tab| {
                let now = world.tab_now(tab);
                tab.engine.resume(now);
            });
        }
    }

    /// Runs until all is at rest, or longer than that may take.
    pub fn settle(&mut self) {
        let deadline = self.now + SETTLE_MAX_MS;
        loop {
            let until = self.now + 1_000;
            self.run_until(until);
            if self.ledger.violation().is_some() {
                return;
            }
            let Some(why) = self.unsettled() else { break };
            // An answer that was under way at the healing may still ask for credentials. And where `persist` was
            // repeated and nothing waits for its sync, what it wrote stays until the feed brings everything anew.
            if (deadline - self.now.min(deadline)) % REFRESH_EVERY_MS < 1_000 {
                self.resume_all();
                let tabs: Vec<TabId> = self.tabs.keys().copied().collect();
                for tab in tabs {
                    self.restart_feeds(tab);
                }
            }
            if self.now > deadline {
                return self
                    .ledger
                    .violate(format_args!("after {} s without faults: {why}", SETTLE_MAX_MS / 1_000));
            }
        }
        let requests = self.ledger.counts().requests;
        let until = self.now + QUIET_MS;
        self.run_until(until);
        let requests = self.ledger.counts().requests - requests;
        if let Some(why) = self.unsettled() {
            self.ledger.violate(format_args!("it was at rest, and {} s later: {why}", QUIET_MS / 1_000));
        }
        if requests > QUIET_REQUESTS_MAX * self.clients.len() as u64 {
            self.ledger
                .violate(format_args!("{requests} requests in a quiet time of {} s", QUIET_MS / 1_000));
        }
    }

    /// What is not at rest yet.
    fn unsettled(&mut self) -> Option<String> {
        let expected = self.expected_rows();
        self.tabs.values().find_map(|tab| {
            if !tab.loaded {
                return Some(format!("tab {} has not read its journal", tab.id));
            }
            let status = tab.engine.status();
            if status.pending > 0 {
                return Some(format!(
                    "tab {} has {} pending transactions: {:?}",
                    tab.id, status.pending, status.oldest_waiting
                ));
            }
            differences_from_all(tab, &expected)
        })
    }

    /// The rows that everybody must have in the end. Of a log that was trimmed there are several, the last one for who
    /// comes now: who had read what is gone has it still.
    fn expected_rows(&mut self) -> Vec<Expected> {
        let times = if self.wire == Wire::Mizu { 1 } else { self.log.begun() };
        let rows_from = |world: &mut Self, time: usize| {
            let rows = |name: &'static str| match ENTITIES.iter().find(|(collection, _)| *collection == name)
            {
                Some((_, entity)) if world.wire == Wire::Mizu => {
                    (name, world.server_rows(entity).into_iter().collect())
                }
                Some((_, entity)) => (name, world.log.rows(entity, time)),
                None => {
                    (name, world.app.rows(name).map(|(key, row)| (key.to_owned(), row.clone())).collect())
                }
            };
            COLLECTIONS.into_iter().map(rows).collect::<Expected>()
        };
        (0..times).map(|time| rows_from(self, time)).collect()
    }

    /// What was told must be true, of all transactions, in all tabs.
    pub fn check_ends(&mut self) {
        let mut wrong: Vec<String> = Vec::new();
        for client in 0..self.clients.len() {
            let tabs: Vec<&Tab> = self.tabs.values().filter(|tab| tab.client == client).collect();
            for (tx, known) in self.ledger.of_client(client) {
                let applied = self.ledger.applied_count(tx);
                // Who was to be told may have crashed: then what the others have of it must be an end.
                let end = known
                    .end
                    .or_else(|| end_in(tabs.first()?, tx))
                    .or(known.pruned)
                    .or_else(|| known.discard_asked.then_some(End::Discarded));
                match end {
                    Some(End::Completed) if applied != known.effects.len() => {
                        wrong.push(format!(
                            "{tx} is completed, and {applied} of its {} changes were applied",
                            known.effects.len()
                        ));
                    }
                    Some(End::Failed { cascade: true } | End::NotDurable) if applied > 0 => {
                        wrong.push(format!(
                            "{tx} ended as {end:?}, and {applied} of its changes were applied"
                        ));
                    }
                    None if known.place.is_some() => wrong.push(format!(
                        "{tx} was written to disk (told durable: {}) and is gone",
                        known.durable
                    )),
                    None if self.tabs.contains_key(&known.tab) => {
                        wrong.push(format!("{tx} was written in tab {}, which was told nothing", known.tab))
                    }
                    _ => {}
                }
                if self.tabs.contains_key(&known.tab)
                    && !known.was_told(known.tab, "durable")
                    && !known.was_told(known.tab, "not durable")
                    && !matches!(known.end, Some(End::Discarded | End::Failed { .. }))
                {
                    wrong.push(format!(
                        "{tx} was written in tab {}, which never heard whether it is durable",
                        known.tab
                    ));
                }
                if known.place.is_some() && end != Some(End::Discarded) {
                    let dropped = |tab: &&Tab| {
                        (known.discard_asked || known.pruned.is_some())
                            && tab.engine.transaction(tx).is_none()
                    };
                    wrong.extend(
                        tabs.iter()
                            .copied()
                            .filter(|tab| !dropped(tab))
                            .filter_map(|tab| disagrees(tab, tx, end)),
                    );
                }
            }
            let mirror: BTreeMap<&str, &Value> = self.clients[client].disk.mirror().collect();
            let Some(tab) = tabs.first() else { continue };
            let mirrored = COLLECTIONS
                .iter()
                .position(|name| *name == MIRRORED)
                .and_then(|index| tab.collections[index]);
            let rows: BTreeMap<&str, &Value> =
                mirrored.into_iter().flat_map(|collection| tab.engine.rows(collection)).collect();
            if mirror != rows {
                wrong.push(format!("client {client} mirrors {mirror:?}, and {rows:?} shows"));
            }
        }
        if let Some(first) = wrong.first() {
            self.ledger.violate(format_args!("{first}"));
        }
    }

    /// A client that has nothing ends with the same rows.
    pub fn bootstrap(&mut self) {
        let client = self.add_client();
        self.open_tab(client, true);
        let until = self.now + BOOTSTRAP_MS;
        self.run_until(until);
        let expected = self.expected_rows();
        let tab = self.tabs.values().find(|tab| tab.client == client);
        let last = expected.last().expect("there are rows, if none");
        if let Some(why) = tab.and_then(|tab| differences(tab, last)) {
            self.ledger.violate(format_args!("a fresh client after {} s: {why}", BOOTSTRAP_MS / 1_000));
        }
    }
}

/// Rows by collection and key.
type Expected = BTreeMap<&'static str, BTreeMap<String, Value>>;

/// What it has that is none of them.
fn differences_from_all(tab: &Tab, expected: &[Expected]) -> Option<String> {
    let mut all: Vec<Option<String>> = expected.iter().map(|expected| differences(tab, expected)).collect();
    if all.contains(&None) { None } else { all.pop()? }
}

fn differences(tab: &Tab, expected: &Expected) -> Option<String> {
    COLLECTIONS.into_iter().zip(tab.collections).find_map(|(name, collection)| {
        let collection = collection?;
        let expected: BTreeMap<&str, &Value> =
            expected[name].iter().map(|(key, row)| (key.as_str(), row)).collect();
        let visible: BTreeMap<&str, &Value> = tab.engine.rows(collection).collect();
        let synced: BTreeMap<&str, &Value> = tab.engine.synced_rows(collection).collect();
        let told: BTreeMap<&str, &Value> =
            tab.rows[&collection].iter().map(|(key, row)| (key.as_str(), row)).collect();
        if visible == expected && synced == expected && told == expected {
            return None;
        }
        Some(format!(
            "tab {} shows {visible:?} in {name}, has synced {synced:?} and has told its page {told:?}, and the server has {expected:?}",
            tab.id
        ))
    })
}

/// How a tab says that a transaction has ended.
pub(crate) fn end_in(tab: &Tab, tx: TxId) -> Option<End> {
    let view = tab.engine.transaction(tx)?;
    match view.state {
        TransactionState::Completed => Some(End::Completed),
        TransactionState::Failed => Some(End::Failed { cascade: view.cause.is_some() }),
        _ => None,
    }
}

fn disagrees(tab: &Tab, tx: TxId, end: Option<End>) -> Option<String> {
    let state = tab.engine.transaction(tx).map(|view| view.state);
    let agrees = match end {
        Some(End::Completed) => state == Some(TransactionState::Completed),
        Some(End::Failed { .. }) => state == Some(TransactionState::Failed),
        _ => state.is_some_and(TransactionState::is_final),
    };
    (!agrees).then(|| format!("{tx} ended as {end:?}, and tab {} has it as {state:?}", tab.id))
}

/// How long everything may take to come to rest, in virtual milliseconds.
const SETTLE_MAX_MS: u64 = 600_000;
/// How often the app gives fresh credentials and its feeds connect anew meanwhile.
const REFRESH_EVERY_MS: u64 = 120_000;
/// How long it must stay so.
const QUIET_MS: u64 = 60_000;
/// Requests in that time, for each client: polls, and no more.
const QUIET_REQUESTS_MAX: u64 = 6;
/// How long a fresh client may take.
const BOOTSTRAP_MS: u64 = 30_000;
