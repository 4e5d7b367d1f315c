//! The other tabs of the database: whether there are any, and what they are told.
//!
//! A message costs what a third of a commit costs, though nobody hears it, so that how the log grows is told only
//! once another tab was heard of. None can miss anything by that: a tab that comes says so, and is answered with how
//! far the log is; one that was there before and was too busy to be heard answers when it hears of this one, and is
//! told then.

use std::{cell::Cell, rc::Rc};

use driftline_core::Input;

use super::Driver;
use crate::channel::TabMessage;

/// What a driver knows of the other tabs, and has told them or would have.
#[derive(Default)]
pub(super) struct Others {
    are_there: Cell<bool>,
    /// The last record that this tab has written, and the last checkpoint.
    grew: Cell<u64>,
    checkpointed: Cell<u64>,
}

impl Driver {
    /// This tab has written a record with this number.
    pub(super) fn tell_grown(&self, number: u64) {
        self.others.grew.set(number);
        self.send_others(&TabMessage::Grew(number));
    }

    /// This tab has written a checkpoint that covers everything up to this number.
    pub(super) fn tell_checkpointed(&self, number: u64) {
        self.others.checkpointed.set(number);
        self.send_others(&TabMessage::Checkpointed(number));
    }

    /// Tells the other tabs, if there are any.
    pub(super) fn send_others(&self, message: &TabMessage) {
        if self.has_others() {
            self.send(message);
        }
    }

    /// Whether another tab was heard of.
    pub(super) fn has_others(&self) -> bool {
        self.others.are_there.get()
    }

    /// Says how far the log is, as far as this tab has written it.
    pub(super) fn tell_log(&self) {
        if self.others.checkpointed.get() > 0 {
            self.send(&TabMessage::Checkpointed(self.others.checkpointed.get()));
        }
        // Who has written nothing says so too: it shows that this tab is there.
        self.send(&TabMessage::Grew(self.others.grew.get()));
    }

    pub(super) fn send(&self, message: &TabMessage) {
        if let Some(channel) = &*self.channel.borrow() {
            channel.send(message);
        }
    }

    pub(super) fn heard(self: &Rc<Self>, message: TabMessage) {
        let is_first = !self.others.are_there.replace(true);
        let Some(message) = self.leases.unless_frozen(message) else {
            return;
        };
        if is_first || matches!(message, TabMessage::Hello) {
            self.tell_log();
            self.tell_remotes();
        }
        match message {
            TabMessage::Grew(number) => self.input(Input::LogGrew(number)),
            TabMessage::Checkpointed(number) => self.input(Input::CheckpointedElsewhere(number)),
            TabMessage::Hello => {}
            TabMessage::Remote(id, status) => self.remote_told(&id, status),
            TabMessage::Beat(leases) => self.leases.hear_beat(&leases),
            TabMessage::Ask(leases) => self.answer(&leases),
            TabMessage::Note(note) => self.input(Input::TabNote(note)),
        }
    }
}
