//! Work that the leading tab can't send, since it has not registered a collection of it (an app may register on one page
//! what it does not need on another). It asks the other tabs, and gives the lease up where one knows all that is needed.

use super::{Engine, Timer, transaction::TxIx};
use crate::{Output, TabNote, Timestamp, Value};

/// How long a tab may take to register its collections before it asks the others, in milliseconds.
const ASK_AFTER_MS: u64 = 1_000;
/// How often it asks again, in milliseconds.
const ASK_AGAIN_MS: u64 = 5_000;
/// Combinations of collections that are asked for at once.
const ASKED_MAX: usize = 16;

impl<V: Value> Engine<V> {
    /// Asks the other tabs soon, if a transaction waits for a collection that is not registered here, on a line that this
    /// tab leads.
    pub(super) fn want_help(&mut self, now: Timestamp, tx: TxIx) {
        if self.help_at.is_none() && !self.blocked_lines(tx).is_empty() {
            self.ask_for_help(now + ASK_AFTER_MS);
        }
    }

    pub(super) fn help_due(&mut self, now: Timestamp, at: Timestamp) {
        if self.help_at != Some(at) {
            return;
        }
        self.help_at = None;
        let mut notes = Vec::new();
        for &tx in self.unfinished.values() {
            for line in self.blocked_lines(tx) {
                let mut collections: Vec<String> = Vec::new();
                for mutation in &self.tx(tx).mutations {
                    let name = &self.collections[mutation.collection].name;
                    if !collections.iter().any(|known| **known == **name) {
                        collections.push(name.to_string());
                    }
                }
                let note = TabNote::Wanted { lease: self.lines[line].name.to_string(), collections };
                if !notes.contains(&note) {
                    notes.push(note);
                }
            }
            if notes.len() >= ASKED_MAX {
                break;
            }
        }
        if notes.is_empty() || self.closed {
            return;
        }
        self.outputs.extend(notes.into_iter().map(Output::TellTabs));
        self.ask_for_help(now + ASK_AGAIN_MS);
    }

    pub(super) fn handle_tab_note(&mut self, now: Timestamp, note: TabNote) {
        if self.closed {
            return;
        }
        match note {
            TabNote::Wanted { lease, collections } => {
                let stands_in_line = self.lines_by_name.get(lease.as_str()).is_some_and(|&line| {
                    let line = &self.lines[line];
                    line.claimed && !line.leads() && line.gained.is_none()
                });
                let knows = |name: &String| {
                    let known = self.collections_by_name.get(name.as_str());
                    known.is_some_and(|&index| self.collections[index].registered.is_some())
                };
                if stands_in_line && collections.iter().all(knows) {
                    self.outputs.push_back(Output::TellTabs(TabNote::Offered { lease }));
                }
            }
            TabNote::Ping { lease } => self.ping_for_tabs(now, &lease),
            TabNote::Pinged { lease, failed } => self.pinged_elsewhere(&lease, failed),
            TabNote::Offered { lease } => {
                let Some(&line) = self.lines_by_name.get(lease.as_str()) else { return };
                // What a function of the app's sends is left to end; what is pushed is recognised by the next leader.
                let is_free = self.lines[line].session.is_some() || self.lines[line].running == 0;
                let is_blocked =
                    || self.unfinished.values().any(|&tx| self.blocked_lines(tx).contains(&line));
                if is_free && self.is_rested(now, line) && is_blocked() {
                    self.let_go(now, line);
                }
            }
        }
    }

    /// The lines that this tab leads, and on which a transaction waits for a tab that knows more collections.
    fn blocked_lines(&self, tx: TxIx) -> Vec<usize> {
        let mutations = &self.tx(tx).mutations;
        if mutations.iter().all(|mutation| self.collections[mutation.collection].registered.is_some()) {
            return Vec::new();
        }
        let concerns = |line: usize| {
            mutations.iter().any(|mutation| {
                let holder = &self.collections[mutation.collection];
                match (&holder.registered, self.lines[line].session) {
                    (Some(registration), _) => registration.line == line,
                    // The journal names the table of a remote's collection, and the table its remote.
                    (None, Some(session)) => {
                        let entity = holder.table.strip_prefix(&*self.sessions[session].name);
                        entity.is_some_and(|entity| entity.starts_with('/'))
                    }
                    (None, None) => false,
                }
            })
        };
        (0..self.lines.len()).filter(|&line| self.lines[line].leads() && concerns(line)).collect()
    }

    fn ask_for_help(&mut self, at: Timestamp) {
        self.help_at = Some(at);
        self.set_timer(at, Timer::HandOver);
    }
}
