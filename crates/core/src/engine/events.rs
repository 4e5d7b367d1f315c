//! Taking events of a log: in order and without a gap, own ones recognised, rows made of them.

use std::rc::Rc;

use super::{Engine, mapping::Refill, session::Session};
use crate::{
    Code, ErrorInfo, Output, Timestamp, TxId, Value,
    backend::{Event, Page, id_of},
    record::Fact,
    spec::EventWrite,
    view::TransactionState,
};

/// Events that wait for what is missing before them. Beyond that the farthest are dropped, and pulled again.
const HELD_MAX_EVENTS: usize = 10_000;
/// Runs of pulls that may leave a gap where it is. A log that has one has it for good.
const GAP_RUNS_MAX: u32 = 3;

impl<V: Value> Engine<V> {
    /// Takes events, asked for or not. `false`: it is another log, and all begins anew.
    pub(super) fn take_page(&mut self, now: Timestamp, session: usize, page: Page) -> bool {
        let holder = &mut self.sessions[session];
        if let (Some(known), Some(told)) = (&holder.identity, &page.identity)
            && **known != **told
        {
            let why = ErrorInfo::of(Code::BackendReset, format!("it was {known} and is {told}"));
            self.reset(now, session, &why);
            return false;
        }
        let identity = page.identity.map(Rc::from).or_else(|| holder.identity.clone());
        let first = holder.cursor.is_none();
        let is_news = first || identity != holder.identity;
        holder.identity = identity;
        let before = holder.cursor.unwrap_or(0);
        let taken = holder.follow(page.events, page.is_answer);
        let (line, remote) = (holder.line, holder.name.clone());
        let cursor = taken.last().map_or(before, |event| event.seq_num);
        holder.cursor = Some(cursor);
        holder.head = holder.head.max(cursor);
        let identity = holder.identity.clone();
        if first {
            // Rows of an earlier log go as the first of this one come.
            for table in self.tables_of(session) {
                self.decide(line, Fact::Reset { table });
            }
        }
        if is_news || cursor != before {
            self.apply_events(session, &taken);
            self.recognise(now, session, &taken);
            if self.note_mapped(session, cursor) {
                self.decide(line, Fact::Cursor { remote, cursor: Some(cursor), identity });
            }
        }
        true
    }

    /// Completes what this device has written and reads back, whether or not its push was answered.
    fn recognise(&mut self, now: Timestamp, session: usize, events: &[Event]) {
        let line = self.sessions[session].line;
        for event in events {
            let Some((id, index, count)) = written_as(&event.session_id) else { continue };
            let Some(&tx) = self.txs_by_id.get(&id) else { continue };
            let slot = self.tx_mut(tx);
            if slot.is_done() || slot.completing || !slot.order.is_committed() {
                continue;
            }
            slot.landed = slot.landed.max(index + 1);
            if slot.landed < count {
                let events = slot.landed;
                self.decide(line, Fact::Landed { tx: id, events });
                continue;
            }
            let told =
                slot.state == TransactionState::PersistedAwaitingSync || (slot.deciding && slot.persisting);
            slot.deciding = true;
            slot.completing = true;
            let order = slot.order;
            self.lines[line].ready.remove(&order);
            if !told {
                self.decide(line, Fact::Persisted { tx: id, at: now });
            }
            self.decide(line, Fact::Completed { tx: id, at: now, confirmed: true, warning: None });
            self.sessions[session].awaiting.retain(|awaiting| awaiting.tx != tx);
        }
    }

    /// Makes rows of events: by the default names, and by what collections with a mapping of their own say.
    fn apply_events(&mut self, session: usize, events: &[Event]) {
        let line = self.sessions[session].line;
        let mapped = self.mapped(session);
        let refilled = self.sessions[session].refill.as_ref().map_or(0, Refill::upto);
        let name = self.sessions[session].name.clone();
        let mut plain: Vec<(usize, Plain)> = Vec::new();
        let mut texts: Vec<&str> = Vec::new();
        let mut unread: Option<String> = None;
        for (at, event) in events.iter().enumerate() {
            let read = Plain::of(&name, event)
                .filter(|plain| !mapped.iter().any(|mapped| mapped.table == plain.table))
                .filter(|_| event.seq_num > refilled);
            if read.is_none() && mapped.is_empty() && !event.name.is_empty() {
                unread.get_or_insert_with(|| event.name.clone());
            }
            plain.extend(read.map(|read| (at, read)));
            texts.push(event.args.get());
        }
        let values = match V::from_json_many(&texts) {
            Ok(values) if values.len() == texts.len() => values,
            Ok(_) => return self.note_unread(session, "the arguments of some events are missing"),
            Err(reason) => return self.note_unread(session, &reason),
        };
        let mut writes: Vec<(Rc<str>, EventWrite<V>)> = Vec::new();
        let mut plain = plain.into_iter().peekable();
        for (at, (event, value)) in events.iter().zip(values).enumerate() {
            if let Some((_, plain)) = plain.next_if(|(of, _)| *of == at) {
                writes.push((plain.table, plain.verb.write(plain.key, value.clone())));
            }
            for mapped in &mapped {
                let Some(apply) = &mapped.mapping.apply else { continue };
                if self.has_had(session, mapped, event.seq_num) {
                    continue;
                }
                match apply(&event.name, &value) {
                    Ok(made) => writes.extend(made.into_iter().map(|write| (mapped.table.clone(), write))),
                    Err(reason) => {
                        let message = format!(
                            "applyEvent() failed for {} at {}: {reason}. What it would have written is not there until the rows are fetched anew",
                            event.name, event.seq_num
                        );
                        let error = ErrorInfo::of(Code::InvalidPull, message);
                        self.outputs.push_back(Output::Error {
                            code: Code::InvalidPull,
                            error,
                            transaction: None,
                        });
                    }
                }
            }
        }
        if let Some(name) = unread {
            self.note_unread(session, &format!("no collection knows the event {name}"));
        }
        self.decide_writes(line, writes);
    }

    /// Notes writes as facts, those that follow one another on a table together.
    fn decide_writes(&mut self, line: usize, writes: Vec<(Rc<str>, EventWrite<V>)>) {
        let mut tables: Vec<(Rc<str>, Vec<EventWrite<V>>)> = Vec::new();
        for (table, write) in writes {
            match tables.iter_mut().find(|(known, _)| *known == table) {
                Some((_, writes)) => writes.push(write),
                None => tables.push((table, vec![write])),
            }
        }
        for (table, writes) in tables {
            let mut whole: Vec<(Rc<str>, Option<V>)> = Vec::new();
            let mut patches: Vec<(Rc<str>, V)> = Vec::new();
            for write in writes {
                match write {
                    EventWrite::Update(key, changes) => {
                        if !whole.is_empty() {
                            let writes = core::mem::take(&mut whole);
                            self.decide(line, Fact::Rows { table: table.clone(), writes });
                        }
                        patches.push((key.into(), changes));
                    }
                    EventWrite::Put(key, _) | EventWrite::Delete(key) if key.is_empty() => {}
                    EventWrite::Put(..) | EventWrite::Delete(_) => {
                        if !patches.is_empty() {
                            let writes = core::mem::take(&mut patches);
                            self.decide(line, Fact::Patched { table: table.clone(), writes });
                        }
                        whole.push(match write {
                            EventWrite::Put(key, row) => (key.into(), Some(row)),
                            EventWrite::Delete(key) | EventWrite::Update(key, _) => (key.into(), None),
                        });
                    }
                }
            }
            if !whole.is_empty() {
                self.decide(line, Fact::Rows { table: table.clone(), writes: whole });
            }
            if !patches.is_empty() {
                self.decide(line, Fact::Patched { table, writes: patches });
            }
        }
    }

    /// What can't be made a row of is passed over, as the log goes on; it shows in the status.
    fn note_unread(&mut self, session: usize, reason: &str) {
        let error = ErrorInfo::of(
            Code::InvalidPull,
            format!("an event could not be made a row of and was passed over: {reason}"),
        );
        self.note_remote_error(session, error);
    }
}

impl Session {
    /// The events that follow the cursor without a gap, out of new ones and those that were held.
    fn follow(&mut self, events: Vec<Event>, is_answer: bool) -> Vec<Event> {
        let mut cursor = self.cursor.unwrap_or(0);
        let mut taken = Vec::new();
        for event in events {
            if event.seq_num <= cursor {
                continue;
            }
            if event.seq_num == cursor + 1 || event.parent_seq_num == cursor || is_answer {
                cursor = event.seq_num;
                taken.push(event);
            } else {
                self.held.insert(event.seq_num, event);
            }
        }
        let patient = self.gap_runs < GAP_RUNS_MAX;
        while let Some(next) = self.held.first_entry() {
            let (position, parent) = (*next.key(), next.get().parent_seq_num);
            if position > cursor {
                if position != cursor + 1 && parent != cursor && patient {
                    break;
                }
                cursor = position;
                taken.push(next.remove());
            } else {
                next.remove();
            }
        }
        while self.held.len() > HELD_MAX_EVENTS {
            self.held.pop_last();
        }
        if !taken.is_empty() {
            self.gap_runs = 0;
        }
        taken
    }
}

/// An event in the default names.
struct Plain {
    table: Rc<str>,
    verb: Verb,
    key: String,
}

#[derive(Clone, Copy)]
enum Verb {
    Inserted,
    Updated,
    Deleted,
}

impl Plain {
    fn of(remote: &str, event: &Event) -> Option<Self> {
        let (entity, verb) = event.name.rsplit_once('.')?;
        let verb = match verb {
            "inserted" => Verb::Inserted,
            "updated" => Verb::Updated,
            "deleted" => Verb::Deleted,
            _ => return None,
        };
        let key = id_of(event.args.get()).ok()?;
        Some(Self { table: format!("{remote}/{entity}").into(), verb, key })
    }
}

impl Verb {
    fn write<V>(self, key: String, value: V) -> EventWrite<V> {
        match self {
            Self::Inserted => EventWrite::Put(key, value),
            Self::Updated => EventWrite::Update(key, value),
            Self::Deleted => EventWrite::Delete(key),
        }
    }
}

/// How an event names the transaction that it is of: the id alone, or with its place and how many there are.
pub(super) fn session_of(id: TxId, index: usize, count: usize) -> String {
    if count == 1 { id.to_string() } else { format!("{id}:{index}/{count}") }
}

/// The transaction, the place in it from 0, and how many events it has.
fn written_as(session: &str) -> Option<(TxId, u32, u32)> {
    let (id, place) = match session.split_once(':') {
        Some((id, place)) => (id, place),
        None => (session, "0/1"),
    };
    let (index, count) = place.split_once('/')?;
    let (index, count): (u32, u32) = (index.parse().ok()?, count.parse().ok()?);
    (index < count).then_some((TxId::parse(id)?, index, count))
}
