//! How the log server is reached: what is asked over its wires, what comes by itself, and what goes wrong on the way.

use std::collections::VecDeque;

use driftline_core::{
    HttpResponse, LiveEvent, TxId,
    spec::{BackendSpec, LiveStoreWire, MizuDialect, MizuPoke, RemoteId},
    view::MutationKind,
};
use serde_json::{Value, json};

use crate::{
    log::{Taken, Wire, chunk, failed, mismatch, pull_res, records, unknown},
    network::transaction_of,
    plan::Fault,
    tab::{ENTITIES, SCOPE, Tab},
    world::{Event, TabId, World},
};

/// A live connection, as the server knows it.
pub(crate) type ConnKey = (TabId, RemoteId, u64);

/// What the server has of one.
#[derive(Default)]
pub(crate) struct Conn {
    /// Live pulls of sync-cf 0.4, and where each that waits for an acknowledgement goes on.
    pulls: Vec<(Value, Option<u64>)>,
    /// It answers pings and nothing else.
    hung: bool,
    /// Where a live read of S2's goes on.
    next: u64,
    /// When the last frame from the client arrives: they keep their order.
    up_at: u64,
}

/// What the remote is, for a wire.
pub(crate) fn backend(wire: Wire) -> BackendSpec {
    let livestore = |wire| BackendSpec::LiveStore { store_id: SCOPE.into(), wire };
    match wire {
        Wire::Mizu => BackendSpec::Mizu {
            scope: SCOPE.into(),
            dialect: MizuDialect::V03,
            poke: Some(MizuPoke::EventSource),
            poke_url: None,
        },
        Wire::LiveStore => livestore(LiveStoreWire::WebSocket),
        Wire::LiveStoreHttp => livestore(LiveStoreWire::Http),
        Wire::LiveStore03 => livestore(LiveStoreWire::V03),
        Wire::S2 => BackendSpec::S2 { basin: "basin".into(), stream: SCOPE.into(), create: false },
    }
}

/// The events of a push, whatever the wire.
pub(crate) fn pushed_events(body: &Value) -> Vec<Value> {
    let batch = [&body["batch"], &body["payload"]["batch"]].into_iter().find_map(Value::as_array);
    let records = body["records"].as_array().into_iter().flatten();
    let read = |record: &Value| serde_json::from_str(record["body"].as_str()?).ok();
    batch.cloned().unwrap_or_else(|| records.filter_map(read).collect())
}

impl World {
    /// A request reaches the log server.
    pub fn ask_log(&mut self, path: &str, body: &str) -> (u16, String) {
        let wrong = |body: &str, wire: Wire| match wire {
            Wire::S2 => "{\"records\":7}".to_owned(),
            _ => {
                let call: Value = serde_json::from_str(body).unwrap_or_default();
                json!([failed(&call["id"], &unknown("something broke"))]).to_string()
            }
        };
        // An error under the status of success, before anything was done, or after.
        if self.strikes(Fault::Wrong, 10) {
            return (200, wrong(body, self.wire));
        }
        let (status, text, appended) = self.log.handle(path, body);
        self.appended(&appended);
        self.broadcast_events(&appended, None);
        if self.strikes(Fault::Wrong, 10) { (200, wrong(body, self.wire)) } else { (status, text) }
    }

    /// A live connection is open.
    pub fn connect_log(&mut self, key: ConnKey, from: u64) {
        self.conns.insert(key, Conn { next: from, ..Conn::default() });
        if self.wire == Wire::S2 {
            self.read_on(key);
            self.ping_reader(key);
        }
    }

    /// S2 says now and then that all is well, and how far the stream goes.
    pub fn ping_reader(&mut self, key: ConnKey) {
        if !self.is_connected(key) {
            return;
        }
        let tail = json!({ "tail": { "seq_num": self.log.len(), "timestamp": 1 } });
        self.tell(key, format!("event: ping\ndata: {tail}\n\n"), false);
        let delay = self.log_dice.range(4_000, 12_000);
        self.at(delay, Event::ReaderPing(key));
    }

    fn read_on(&mut self, key: ConnKey) {
        loop {
            let Some(conn) = self.conns.get(&key) else { return };
            let (from, page, _) = self.log.page(conn.next);
            if page.is_empty() {
                return;
            }
            let next = from + page.len() as u64;
            let batch = json!({ "records": records(from, page), "tail": { "seq_num": self.log.len(), "timestamp": 1 } });
            self.conns.get_mut(&key).expect("a connection that was just seen").next = next;
            if !self.strikes(Fault::Gap, 30) {
                self.tell(key, format!("event: batch\nid: {next},1,1\ndata: {batch}\n\n"), false);
            }
        }
    }

    /// A frame leaves a tab over its live connection.
    pub fn hear_frame(&mut self, tab: &Tab, remote: RemoteId, frame: &str) {
        if !self.wire.by_frames() {
            return self
                .ledger
                .violate(format_args!("tab {} sends {frame} to {remote:?}, which hears nothing", tab.id));
        }
        let body: Value = serde_json::from_str(frame).unwrap_or_default();
        let asks = body["batch"].is_array() || body["tag"].is_string() || body["_tag"] == "WSMessage.PullReq";
        self.ledger.counts().requests += u64::from(asks);
        self.note(format_args!("tab {} sends {frame}", tab.id));
        self.note_sent(tab, frame, frame);
        let generation = tab.live.get(&remote).map_or(0, |live| live.generation);
        let key = (tab.id, remote, generation);
        let delay = 1 + self.log_dice.latency(40, 800);
        let Some(conn) = self.conns.get_mut(&key) else { return };
        conn.up_at = conn.up_at.max(self.now + delay);
        let delay = conn.up_at - self.now;
        self.at(delay, Event::FrameArrive(key, frame.to_owned()));
    }

    /// A frame reaches the server, even if who sent it is gone by now.
    pub fn frame_arrives(&mut self, key: ConnKey, frame: &str) {
        if self.strikes(Fault::Cut, 8) {
            self.cut(key);
        }
        if !self.server_up || !self.conns.contains_key(&key) || self.is_deaf(key) {
            return;
        }
        let body: Value = serde_json::from_str(frame).unwrap_or_default();
        let tag = body["_tag"].as_str().unwrap_or_default();
        if self.strikes(Fault::Hang, 6) {
            self.conn(key).hung = true;
        }
        match tag {
            "Ping" => return self.tell(key, json!({ "_tag": "Pong" }).to_string(), false),
            "WSMessage.Ping" => {
                let pong = json!({ "_tag": "WSMessage.Pong", "requestId": "ping" });
                return self.tell(key, pong.to_string(), false);
            }
            _ if self.conn(key).hung => return,
            _ => {}
        }
        match (tag, body["tag"].as_str()) {
            ("Ack", _) => self.next_page(key, &body["requestId"]),
            ("Interrupt", _) => {
                self.conn(key).pulls.retain(|(pull, _)| *pull != body["requestId"]);
                let interrupt = json!({ "_tag": "Interrupt", "fiberId": { "_tag": "None" } });
                let cause = json!({ "_tag": "Sequential", "left": { "_tag": "Empty" }, "right": interrupt });
                let exit = json!({ "_tag": "Failure", "cause": cause });
                let exit = json!({ "_tag": "Exit", "requestId": body["requestId"], "exit": exit });
                self.tell(key, exit.to_string(), false);
            }
            (_, Some("SyncWsRpc.Pull")) => self.pull_04(key, &body),
            (_, Some("SyncWsRpc.Push")) => self.push_04(key, &body),
            ("WSMessage.PullReq", _) => self.pull_03(key, &body),
            ("WSMessage.PushReq", _) => self.push_03(key, &body),
            _ => self.ledger.violate(format_args!("the server does not know {frame}")),
        }
    }

    fn pull_04(&mut self, key: ConnKey, body: &Value) {
        let (id, cursor) = (&body["id"], &body["payload"]["cursor"]["value"]);
        if cursor.is_object() && cursor["backendId"] != self.log.name().as_str() {
            let exit = failed(id, &mismatch(&self.log.name(), &cursor["backendId"]));
            return self.tell(key, exit.to_string(), false);
        }
        if self.strikes(Fault::Wrong, 10) {
            return self.tell(key, failed(id, &unknown("something broke")).to_string(), false);
        }
        let from = cursor["eventSequenceNumber"].as_u64().unwrap_or_default();
        self.conn(key).pulls.push((id.clone(), Some(from)));
        self.next_page(key, id);
    }

    /// The next page of a pull; what is pushed meanwhile is in it, and is broadcast as well.
    fn next_page(&mut self, key: ConnKey, id: &Value) {
        let pull = self.conn(key).pulls.iter_mut().find(|(pull, _)| pull == id);
        let Some(from) = pull.and_then(|(_, from)| from.take()) else { return };
        let (from, page, more) = self.log.page(from);
        let next = from + page.len() as u64;
        let text = chunk(id, page, more, &self.log.name()).to_string();
        if more && let Some((_, from)) = self.conn(key).pulls.iter_mut().find(|(pull, _)| pull == id) {
            *from = Some(next);
        }
        self.tell(key, text, false);
    }

    fn push_04(&mut self, key: ConnKey, body: &Value) {
        let (id, payload) = (&body["id"], &body["payload"]);
        let told = &payload["backendId"]["value"];
        if told.is_string() && *told != self.log.name().as_str() {
            return self.tell(key, failed(id, &mismatch(&self.log.name(), told)).to_string(), false);
        }
        if self.strikes(Fault::Wrong, 10) {
            let defect = json!({ "_tag": "Defect", "defect": "something broke" });
            let exit = failed(id, &unknown("something broke"));
            let frame = if self.log_dice.chance(300) { defect } else { exit };
            return self.tell(key, frame.to_string(), false);
        }
        let batch = pushed_events(body);
        let parent = batch.first().and_then(|event| event["parentSeqNum"].as_u64()).unwrap_or_default();
        let (exit, appended) = self.log.pushed(id, parent, batch);
        self.appended(&appended);
        let exit = if self.strikes(Fault::Wrong, 10) { failed(id, &unknown("after all")) } else { exit };
        if self.strikes(Fault::DropAnswer, 25) {
            self.cut(key);
        }
        let first = self.log_dice.chance(300);
        if first {
            self.tell(key, exit.to_string(), true);
        }
        self.broadcast_events(&appended, None);
        if !first {
            self.tell(key, exit.to_string(), true);
        }
    }

    fn pull_03(&mut self, key: ConnKey, body: &Value) {
        let id = &body["requestId"];
        if self.strikes(Fault::Wrong, 10) {
            let error = json!({ "_tag": "WSMessage.Error", "requestId": id, "message": "something broke" });
            return self.tell(key, error.to_string(), false);
        }
        let mut cursor = body["cursor"].as_u64().unwrap_or_default();
        loop {
            let (from, page, more) = self.log.page(cursor);
            cursor = from + page.len() as u64;
            let text = pull_res("pull", id, page, self.log.len() - cursor).to_string();
            self.tell(key, text, false);
            if !more {
                return;
            }
        }
    }

    /// Acknowledged and told to everybody, and stored afterwards, if nothing comes in between.
    fn push_03(&mut self, key: ConnKey, body: &Value) {
        let id = &body["requestId"];
        let batch = pushed_events(body);
        let parent = batch.first().and_then(|event| event["parentSeqNum"].as_u64()).unwrap_or_default();
        let error =
            |message: String| json!({ "_tag": "WSMessage.Error", "requestId": id, "message": message });
        match self.log.push(parent, &batch) {
            Taken::Appended => {
                let ack = json!({ "_tag": "WSMessage.PushAck", "requestId": id });
                self.tell(key, ack.to_string(), true);
                self.broadcast_events(&batch, Some(id));
                let delay = self.log_dice.latency(30, 3_000);
                self.store_at = self.store_at.max(self.now + delay);
                let delay = self.store_at - self.now;
                self.at(delay, Event::Store(self.boots, batch));
            }
            Taken::Ahead(head) => {
                let text = format!("Invalid parent event number. Received e{parent} but expected e{head}");
                self.tell(key, error(text).to_string(), true);
            }
            Taken::Refused(why) => self.tell(key, error(why.to_owned()).to_string(), true),
        }
    }

    /// What sync-cf 0.3 has acknowledged is stored, or forgotten; then its head is wrong until it starts anew.
    pub fn store(&mut self, boot: u64, batch: &[Value]) {
        if boot != self.boots || self.strikes(Fault::Forget, 60) || !self.log.store(batch) {
            self.note(format_args!("server forgets {} events", batch.len()));
            self.ledger.counts().forgotten += batch.len() as u64;
            let delay = self.log_dice.range(500, 20_000);
            return self.at(delay, Event::Reboot(self.boots));
        }
        self.appended(batch);
    }

    /// The log server starts anew: what it had in memory is gone, connections too.
    pub fn reboot_log(&mut self) {
        self.boots += 1;
        self.log.restart();
        self.cut_channels(None);
        self.conns.clear();
    }

    /// All that the log has is gone, and there is another one.
    pub fn wipe_log(&mut self) {
        self.note(format_args!("server is wiped"));
        self.ledger.counts().wipes += 1;
        let gone = self.log.wipe();
        self.forget(&gone);
        self.reboot_log();
    }

    /// The head of the log is gone.
    pub fn trim_log(&mut self) {
        let keep = self.log_dice.index(8);
        let gone = self.log.trim(keep);
        self.note(format_args!("server trims {} events", gone.len()));
        self.forget(&gone);
    }

    /// What is not there any more may be appended again.
    fn forget(&mut self, gone: &[Value]) {
        for event in gone {
            let session = event["sessionId"].as_str().unwrap_or_default();
            if let Some(tx) = transaction_of(session) {
                self.ledger.forgotten(tx, session);
            }
        }
    }

    /// Events are in the log: each transaction's once, as a whole, in the order of its writes.
    fn appended(&mut self, events: &[Value]) {
        let mut expected: Option<(TxId, usize, usize)> = None;
        for event in events {
            let session = event["sessionId"].as_str().unwrap_or_default();
            let Some(tx) = transaction_of(session) else {
                return self
                    .ledger
                    .violate(format_args!("the server appended {event}, which is no transaction's"));
            };
            let (index, count) = place_of(session);
            let follows = match expected {
                Some((of, next, all)) if next < all => (of, next, all) == (tx, index, count),
                _ => index == 0,
            };
            if !follows {
                self.ledger.violate(format_args!("the server appended a part of {tx}: {session}"));
            }
            expected = Some((tx, index + 1, count));
            let name = event["name"].as_str().unwrap_or_default();
            let (entity, verb) = name.rsplit_once('.').unwrap_or_default();
            let collection =
                ENTITIES.iter().find(|(_, known)| *known == entity).map_or("", |(collection, _)| collection);
            let key = event["args"]["id"].as_str().unwrap_or_default();
            let kind = match verb {
                "inserted" => MutationKind::Insert,
                "updated" => MutationKind::Update,
                _ => MutationKind::Delete,
            };
            self.arrived(tx, collection, key, kind, Some(&event["args"]));
            self.ledger.applied(tx, session, (collection, key.to_owned()));
        }
        if let Some((tx, next, count)) = expected
            && next < count
        {
            self.ledger.violate(format_args!("the server appended {next} of {count} events of {tx}"));
        }
        if !events.is_empty() {
            self.note(format_args!("log has {} events", self.log.len()));
        }
    }

    /// Tells everybody that listens. `asked`: the push that it is of, over sync-cf 0.3.
    fn broadcast_events(&mut self, events: &[Value], asked: Option<&Value>) {
        if events.is_empty() {
            return;
        }
        let keys: Vec<ConnKey> = self.conns.keys().copied().collect();
        for key in keys {
            if self.strikes(Fault::Poke, 5)
                && let Some(live) = self.tabs.get_mut(&key.0).and_then(|tab| tab.live.get_mut(&key.1))
            {
                live.deaf |= live.generation == key.2;
            }
            if self.is_deaf(key) || self.conn(key).hung {
                continue;
            }
            if self.wire == Wire::S2 {
                self.read_on(key);
                continue;
            }
            let texts: Vec<String> = match asked {
                Some(id) => vec![pull_res("push", id, events, 0).to_string()],
                None => {
                    let pulls: VecDeque<Value> =
                        self.conn(key).pulls.iter().map(|(pull, _)| pull.clone()).collect();
                    pulls
                        .iter()
                        .map(|pull| chunk(pull, events, false, &self.log.name()).to_string())
                        .collect()
                }
            };
            for text in texts {
                if self.strikes(Fault::Gap, 30) {
                    continue;
                }
                if self.strikes(Fault::Duplicate, 40) {
                    self.tell(key, text.clone(), true);
                }
                self.tell(key, text, true);
            }
        }
    }

    /// A frame for a tab. One that may overtake others does so now and then.
    fn tell(&mut self, key: ConnKey, text: String, overtakes: bool) {
        if self.strikes(Fault::Cut, 8) {
            self.cut(key);
        }
        if !self.is_connected(key) || self.is_deaf(key) {
            return;
        }
        if overtakes && self.strikes(Fault::Reorder, 120) {
            let delay = 1 + self.log_dice.latency(200, 2_000);
            return self.tell_conn(key, delay, LiveEvent::Frame(text));
        }
        if self.wire != Wire::S2 {
            return self.tell_live(key.0, key.1, LiveEvent::Frame(text));
        }
        // A stream's pieces are cut anywhere.
        let at = self.log_dice.index(text.len());
        let (one, other) = text.split_at(text.floor_char_boundary(at));
        for piece in [one, other] {
            self.tell_live(key.0, key.1, LiveEvent::Frame(piece.to_owned()));
        }
    }

    fn cut(&mut self, key: ConnKey) {
        if self.is_connected(key) {
            self.note(format_args!("the connection of tab {} is cut", key.0));
            self.tell_live(key.0, key.1, LiveEvent::Closed);
        }
        self.conns.remove(&key);
    }

    fn is_connected(&self, key: ConnKey) -> bool {
        let live = self.tabs.get(&key.0).and_then(|tab| tab.live.get(&key.1));
        live.is_some_and(|live| live.generation == key.2 && live.open) && self.conns.contains_key(&key)
    }

    fn is_deaf(&self, key: ConnKey) -> bool {
        let live = self.tabs.get(&key.0).and_then(|tab| tab.live.get(&key.1));
        live.is_some_and(|live| live.generation == key.2 && live.deaf)
    }

    fn conn(&mut self, key: ConnKey) -> &mut Conn {
        self.conns.entry(key).or_default()
    }
}

/// An answer of status 401.
pub(crate) fn unauthorized() -> HttpResponse {
    HttpResponse {
        status: 401,
        retry_after_ms: None,
        body: json!({ "code": "unauthorized", "error": "who are you" }).to_string(),
    }
}

/// The place of an event in its transaction, and how many there are.
fn place_of(session: &str) -> (usize, usize) {
    let place = session.split_once(':').and_then(|(_, place)| place.split_once('/'));
    let read = |(index, count): (&str, &str)| Some((index.parse().ok()?, count.parse().ok()?));
    place.and_then(read).unwrap_or((0, 1))
}
