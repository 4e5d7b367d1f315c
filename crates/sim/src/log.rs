//! The other kind of server: one that keeps events at dense positions, and takes new ones only behind the last. A model
//! of LiveStore's sync-cf and of S2, in JSON written by hand: it shares no code with the codecs that speak to it.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde_json::{Value, json};

use crate::server::REFUSED_FIELD;

/// How the sync server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// mizu's `v0.3`: a server that keeps rows.
    Mizu,
    /// sync-cf 0.4 over a WebSocket.
    LiveStore,
    /// sync-cf 0.4 by single requests.
    LiveStoreHttp,
    /// sync-cf 0.3: acknowledges first and stores later, if at all.
    LiveStore03,
    /// S2's REST, with a live read.
    S2,
}

impl Wire {
    /// All of them, and how many seeds in a hundred have it. Some seeds above 1,000 still fail over a log, so that those
    /// wires are asked for by name until they hold.
    pub const ALL: [(Self, &str, u64); 5] = [
        (Self::Mizu, "mizu", 100),
        (Self::LiveStore, "livestore", 0),
        (Self::LiveStoreHttp, "livestore-http", 0),
        (Self::LiveStore03, "livestore-0.3", 0),
        (Self::S2, "s2", 0),
    ];

    /// The one that a number below 100 falls on.
    #[must_use]
    pub fn drawn(mut number: u64) -> Self {
        for (wire, _, share) in Self::ALL {
            match number.checked_sub(share) {
                None => return wire,
                Some(rest) => number = rest,
            }
        }
        Self::Mizu
    }

    /// Whether what is asked goes over a WebSocket.
    #[must_use]
    pub fn by_frames(self) -> bool {
        matches!(self, Self::LiveStore | Self::LiveStore03)
    }

    /// Whether the wire says which log it is, so that a wiped one is seen.
    #[must_use]
    pub fn has_identity(self) -> bool {
        matches!(self, Self::LiveStore | Self::LiveStoreHttp)
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(wire, ..)| wire == self).map_or("", |(_, name, _)| name))
    }
}

impl FromStr for Wire {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, name, _)| *name == text).map(|(wire, ..)| *wire);
        let names = Self::ALL.map(|(_, name, _)| name).join(", ");
        found.ok_or_else(|| format!("no wire is called {text}; there are: {names}"))
    }
}

/// The log.
#[derive(Debug)]
pub(crate) struct Log {
    wire: Wire,
    identity: u64,
    events: Vec<Value>,
    /// So many of the first events are gone.
    trimmed: usize,
    /// Where it was trimmed to, each time.
    floors: Vec<usize>,
    /// What sync-cf 0.3 has in memory: where the log ends once everything that was acknowledged is stored.
    head: u64,
    /// Events of a page, and of a push at most.
    page: usize,
    batch_max: usize,
}

/// What came of a push.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Appended,
    /// The log ends elsewhere: here.
    Ahead(u64),
    /// By the app's own check, or for its size.
    Refused(&'static str),
}

impl Log {
    pub fn new(wire: Wire, page: usize, batch_max: usize) -> Self {
        Self { wire, identity: 1, events: Vec::new(), trimmed: 0, floors: vec![0], head: 0, page, batch_max }
    }

    /// Where it ends: the position of its last event.
    pub fn len(&self) -> u64 {
        self.events.len() as u64
    }

    /// Which log it is.
    pub fn name(&self) -> String {
        format!("b{}", self.identity)
    }

    /// Takes events behind a position, or says why not. Sync-cf 0.3 has them stored later: [`Self::store`].
    pub fn push(&mut self, parent: u64, batch: &[Value]) -> Taken {
        let head = if self.wire == Wire::LiveStore03 { self.head } else { self.len() };
        if parent != head {
            return Taken::Ahead(head);
        }
        if batch.len() > self.batch_max {
            return Taken::Refused("too many events in one push");
        }
        if batch.iter().any(|event| event["args"][REFUSED_FIELD] == true) {
            return Taken::Refused("onPush rejected it");
        }
        if self.wire == Wire::LiveStore03 {
            self.head += batch.len() as u64;
        } else {
            self.events.extend_from_slice(batch);
        }
        Taken::Appended
    }

    /// Stores what sync-cf 0.3 has acknowledged, if nothing is missing before it.
    pub fn store(&mut self, batch: &[Value]) -> bool {
        let follows = batch.first().and_then(|event| event["parentSeqNum"].as_u64()) == Some(self.len());
        if follows {
            self.events.extend_from_slice(batch);
        }
        follows
    }

    /// What is in memory only is gone.
    pub fn restart(&mut self) {
        self.head = self.len();
    }

    /// Everything is gone, and another log is there.
    pub fn wipe(&mut self) -> Vec<Value> {
        self.identity += 1;
        self.head = 0;
        self.trimmed = 0;
        self.floors = vec![0];
        std::mem::take(&mut self.events)
    }

    /// The first events are gone, but for so many of the last.
    pub fn trim(&mut self, keep: usize) -> Vec<Value> {
        let to = self.events.len().saturating_sub(keep).max(self.trimmed);
        let gone = self.events[self.trimmed..to].to_vec();
        if to > self.trimmed {
            self.trimmed = to;
            self.floors.push(to);
        }
        gone
    }

    /// A page behind a position: its first event's position less one, its events, and whether there are more.
    pub fn page(&self, cursor: u64) -> (u64, &[Value], bool) {
        let from = usize::try_from(cursor).unwrap_or(usize::MAX).clamp(self.trimmed, self.events.len());
        let rest = &self.events[from..];
        let page = &rest[..rest.len().min(self.page)];
        (from as u64, page, rest.len() > page.len())
    }

    /// In how many places it has begun: one, and one more for each time that it was trimmed.
    pub fn begun(&self) -> usize {
        self.floors.len()
    }

    /// The rows that the log makes of an entity, read from where it began that time: a client that had read what was
    /// trimmed since has its rows still, one that comes later has not.
    pub fn rows(&self, entity: &str, time: usize) -> BTreeMap<String, Value> {
        fold(&self.events[self.floors[time]..], entity)
    }

    /// A request's answer, and what it appended.
    pub fn handle(&mut self, path: &str, body: &str) -> (u16, String, Vec<Value>) {
        match self.wire {
            Wire::S2 => self.handle_s2(path, body),
            _ => self.handle_livestore(body),
        }
    }

    fn handle_livestore(&mut self, body: &str) -> (u16, String, Vec<Value>) {
        let call: Value = serde_json::from_str(body).unwrap_or_default();
        let (id, payload) = (&call["id"], &call["payload"]);
        let told = if call["tag"] == "SyncHttpRpc.Push" {
            &payload["backendId"]["value"]
        } else {
            &payload["cursor"]["value"]["backendId"]
        };
        if told.is_string() && *told != self.name().as_str() {
            let exit = failed(id, &mismatch(&self.name(), told));
            return (200, json!([exit]).to_string(), Vec::new());
        }
        if call["tag"] == "SyncHttpRpc.Push" {
            let batch = payload["batch"].as_array().cloned().unwrap_or_default();
            let parent = batch.first().and_then(|event| event["parentSeqNum"].as_u64()).unwrap_or_default();
            let (exit, appended) = self.pushed(id, parent, batch);
            return (200, json!([exit]).to_string(), appended);
        }
        let mut cursor = payload["cursor"]["value"]["eventSequenceNumber"].as_u64().unwrap_or_default();
        let mut answer = Vec::new();
        loop {
            let (from, page, more) = self.page(cursor);
            answer.push(chunk(id, page, more, &self.name()));
            cursor = from + page.len() as u64;
            if !more {
                answer.push(json!({ "_tag": "Exit", "requestId": id, "exit": { "_tag": "Success" } }));
                return (200, Value::from(answer).to_string(), Vec::new());
            }
        }
    }

    /// The exit of a push over sync-cf 0.4, and what it appended.
    pub fn pushed(&mut self, id: &Value, parent: u64, batch: Vec<Value>) -> (Value, Vec<Value>) {
        match self.push(parent, &batch) {
            Taken::Appended => {
                let exit = json!({ "_tag": "Success", "value": {} });
                (json!({ "_tag": "Exit", "requestId": id, "exit": exit }), batch)
            }
            Taken::Ahead(head) => {
                let error =
                    json!({ "_tag": "ServerAheadError", "minimumExpectedNum": head, "providedNum": parent });
                (failed(id, &error), Vec::new())
            }
            Taken::Refused(why) => (failed(id, &unknown(why)), Vec::new()),
        }
    }

    fn handle_s2(&mut self, path: &str, body: &str) -> (u16, String, Vec<Value>) {
        let place = |seq_num: u64| json!({ "seq_num": seq_num, "timestamp": 1 });
        if body.is_empty() {
            let cursor = asked_from(path);
            let (from, page, more) = self.page(cursor);
            if page.is_empty() {
                return (416, json!({ "tail": place(self.len()) }).to_string(), Vec::new());
            }
            let mut batch = json!({ "records": records(from, page) });
            if !more {
                batch["tail"] = place(self.len());
            }
            return (200, batch.to_string(), Vec::new());
        }
        let append: Value = serde_json::from_str(body).unwrap_or_default();
        let batch: Vec<Value> = append["records"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|record| {
                serde_json::from_str(record["body"].as_str().unwrap_or_default()).unwrap_or_default()
            })
            .collect();
        let start = self.len();
        match self.push(append["match_seq_num"].as_u64().unwrap_or(start), &batch) {
            Taken::Appended => {
                let end = place(self.len());
                (200, json!({ "start": place(start), "end": end, "tail": end }).to_string(), batch)
            }
            Taken::Ahead(tail) => (412, json!({ "seq_num_mismatch": tail }).to_string(), Vec::new()),
            Taken::Refused(why) => {
                (413, json!({ "code": "invalid", "message": why }).to_string(), Vec::new())
            }
        }
    }
}

/// Where a read of S2's begins, by its path.
pub(crate) fn asked_from(path: &str) -> u64 {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let from = query.split('&').find_map(|pair| pair.strip_prefix("seq_num="));
    from.and_then(|from| from.parse().ok()).unwrap_or_default()
}

/// Events as S2's records.
pub(crate) fn records(from: u64, events: &[Value]) -> Vec<Value> {
    let record = |(seq_num, event): (u64, &Value)| json!({ "seq_num": seq_num, "timestamp": 1, "body": event.to_string() });
    (from..).zip(events).map(record).collect()
}

/// Events as a chunk of sync-cf 0.4.
pub(crate) fn chunk(id: &Value, events: &[Value], more: bool, identity: &str) -> Value {
    let info = if more { json!({ "_tag": "MoreUnknown" }) } else { json!({ "_tag": "NoMore" }) };
    json!({ "_tag": "Chunk", "requestId": id, "values": [{ "batch": stored(events), "pageInfo": info, "backendId": identity }] })
}

/// Events as a page of sync-cf 0.3.
pub(crate) fn pull_res(context: &str, id: &Value, events: &[Value], remaining: u64) -> Value {
    json!({ "_tag": "WSMessage.PullRes", "batch": stored(events), "requestId": { "context": context, "requestId": id }, "remaining": remaining })
}

/// An exit with an error.
pub(crate) fn failed(id: &Value, error: &Value) -> Value {
    let cause = json!({ "_tag": "Fail", "error": error });
    json!({ "_tag": "Exit", "requestId": id, "exit": { "_tag": "Failure", "cause": cause } })
}

pub(crate) fn mismatch(expected: &str, received: &Value) -> Value {
    json!({ "_tag": "BackendIdMismatchError", "expected": expected, "received": received })
}

pub(crate) fn unknown(why: &str) -> Value {
    json!({ "_tag": "UnknownError", "cause": { "name": "Error", "message": why } })
}

fn stored(events: &[Value]) -> Vec<Value> {
    events.iter().map(|event| json!({ "eventEncoded": event, "metadata": { "_tag": "None" } })).collect()
}

/// The rows that events make.
fn fold(events: &[Value], entity: &str) -> BTreeMap<String, Value> {
    let mut rows: BTreeMap<String, Value> = BTreeMap::new();
    for event in events {
        let Some((of, verb)) = event["name"].as_str().unwrap_or_default().rsplit_once('.') else { continue };
        if of != entity {
            continue;
        }
        let args = &event["args"];
        let key = args["id"].as_str().unwrap_or_default().to_owned();
        match verb {
            "inserted" => drop(rows.insert(key, args.clone())),
            "deleted" => drop(rows.remove(&key)),
            _ => {
                let row = rows.get_mut(&key);
                for (row, fields) in row.into_iter().zip(args.as_object()) {
                    let row = row.as_object_mut().expect("rows are objects");
                    for (field, value) in fields {
                        // A field that goes crosses the wire as null.
                        match value {
                            Value::Null => drop(row.remove(field)),
                            _ => drop(row.insert(field.clone(), value.clone())),
                        }
                    }
                }
            }
        }
    }
    rows
}
