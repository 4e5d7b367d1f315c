//! Collections that make their rows of events by a function of the app's. Events say nothing to anybody else, so that such
//! a collection has to have been there when they came. One that was not (it is new in the app, it is registered on some
//! pages only, its function is of another version) has the log read again for it, from the beginning to the cursor;
//! nothing else is touched by that, and the journal's cursor stays until it is done.

use std::rc::Rc;

use super::{Engine, remote_id, session::Live};
use crate::{Output, Timestamp, Value, record::Fact, spec::Mapping};

/// The log is being read again.
pub(super) struct Refill {
    /// For these mappings alone,
    mappings: Vec<Rc<str>>,
    /// up to this event.
    upto: u64,
}

/// A registered collection with a function for events.
pub(super) struct Mapped<V> {
    /// Under which name the journal knows how far it has come: its table, and the version from the second on.
    name: Rc<str>,
    pub table: Rc<str>,
    pub mapping: Rc<Mapping<V>>,
}

impl<V: Value> Engine<V> {
    /// The collections of a session with a function for events.
    pub(super) fn mapped(&self, session: usize) -> Vec<Mapped<V>> {
        let members = self.lines[self.sessions[session].line].collections.iter();
        members
            .filter_map(|&collection| {
                let holder = &self.collections[collection];
                let registration = holder.registered.as_ref()?;
                let mapping = registration.mapping.clone().filter(|mapping| mapping.apply.is_some())?;
                let name = match registration.version {
                    1 => holder.table.clone(),
                    version => format!("{} {version}", holder.table).into(),
                };
                Some(Mapped { name, table: holder.table.clone(), mapping })
            })
            .collect()
    }

    /// A collection was registered on a line that this tab leads: reads again what it needs.
    pub(super) fn refill(&mut self, now: Timestamp, session: usize) {
        if self.begin_refill(session) {
            self.set_remote_state(session);
            self.want_pull(now, session, true);
        }
    }

    /// Goes back to the beginning of the log, if there is a collection that has not had all of it.
    pub(super) fn begin_refill(&mut self, session: usize) -> bool {
        let mapped = self.mapped(session);
        let holder = &mut self.sessions[session];
        let under_way = holder.refill.as_ref();
        let upto = under_way.map_or(0, |refill| refill.upto).max(holder.cursor.unwrap_or(0));
        let missing: Vec<_> = mapped.iter().filter(|mapped| !holder.mapped.contains(&mapped.name)).collect();
        let is_known =
            |mapped: &&Mapped<V>| under_way.is_some_and(|refill| refill.mappings.contains(&mapped.name));
        if upto == 0 || missing.iter().all(is_known) {
            return false;
        }
        holder.refill =
            Some(Refill { mappings: missing.iter().map(|mapped| mapped.name.clone()).collect(), upto });
        holder.cursor = Some(0);
        holder.held.clear();
        holder.told = 0;
        holder.caught_up = false;
        holder.doubt_the_head();
        let line = holder.line;
        // A stream that goes on from the old cursor would be out of step.
        if holder.codec.streams() && core::mem::replace(&mut holder.live, Live::Off).is_wanted() {
            self.outputs.push_back(Output::CloseLive(remote_id(session)));
        }
        self.drop_pull(session);
        for mapped in missing {
            self.decide(line, Fact::Reset { table: mapped.table.clone() });
        }
        true
    }

    /// Whether an event has been seen by a mapping already.
    pub(super) fn has_had(&self, session: usize, mapped: &Mapped<V>, position: u64) -> bool {
        let refill = self.sessions[session].refill.as_ref();
        refill.is_some_and(|refill| position <= refill.upto && !refill.mappings.contains(&mapped.name))
    }

    /// Notes how far the mappings have come, before the cursor is. `false`: the log is still being read again, and the
    /// cursor stays.
    pub(super) fn note_mapped(&mut self, session: usize, cursor: u64) -> bool {
        if self.is_refilling(session, cursor) {
            return false;
        }
        let mut mapped: Vec<Rc<str>> = self.mapped(session).into_iter().map(|mapped| mapped.name).collect();
        mapped.sort_unstable();
        let holder = &mut self.sessions[session];
        holder.refill = None;
        if holder.mapped != mapped {
            // What is not registered here has missed what was just taken.
            holder.mapped = mapped.clone();
            let (line, remote) = (holder.line, holder.name.clone());
            self.decide(line, Fact::Mapped { remote, mappings: mapped });
        }
        true
    }

    /// Whether events up to this one are read for the second time.
    pub(super) fn is_refilling(&self, session: usize, position: u64) -> bool {
        self.sessions[session].refill.as_ref().is_some_and(|refill| position < refill.upto)
    }
}

impl Refill {
    pub fn upto(&self) -> u64 {
        self.upto
    }
}
