//! Several devices that write to one log at random, over connections that break, answer late or not at all,
//! overtake themselves and say things twice, with tabs that crash and a server that is wiped. Out of one seed;
//! then the faults end, and every event must be there once, in an order that all devices see alike.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, VecDeque};

use driftline_core::{
    LiveEvent, TxId,
    spec::{BackendSpec, CollectionId, LiveStoreWire, RemoteId},
};
use serde_json::{Value, json};
use support::{Disk, Tab};

const SEEDS: u64 = 25;
const STEPS: u32 = 250;
const DEVICES: usize = 3;
const KEYS: u64 = 4;
/// Pages of the server, in events.
const PAGE: usize = 3;
/// No remote has this number.
const SEEN: RemoteId = RemoteId(u32::MAX);

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// The server: a log, and what each connection waits for.
struct Server {
    identity: u64,
    log: Vec<Value>,
    wipes: u64,
}

/// One device, and its connection as the server sees it.
struct Device {
    disk: Disk,
    tab: Tab,
    remote: RemoteId,
    todos: CollectionId,
    seed: u8,
    open: bool,
    /// Frames on their way to the server, and to the device.
    up: VecDeque<Value>,
    down: VecDeque<Value>,
    /// Live pulls, and pages that wait for an acknowledgement.
    pulls: Vec<String>,
    pages: BTreeMap<String, VecDeque<Value>>,
    written: Vec<TxId>,
}

impl Device {
    fn new(seed: u8) -> Self {
        let disk = Disk::default();
        let (tab, remote, todos) = opened(&disk, seed);
        Self {
            disk,
            tab,
            remote,
            todos,
            seed,
            open: false,
            up: VecDeque::new(),
            down: VecDeque::new(),
            pulls: Vec::new(),
            pages: BTreeMap::new(),
            written: Vec::new(),
        }
    }

    fn crash(&mut self) {
        self.cut();
        self.seed = self.seed.wrapping_add(16);
        (self.tab, self.remote, self.todos) = opened(&self.disk, self.seed);
    }

    /// The connection is gone, with all that was on its way.
    fn cut(&mut self) {
        self.open = false;
        self.up.clear();
        self.down.clear();
        self.pulls.clear();
        self.pages.clear();
    }

    /// Takes what the tab has sent.
    fn collect(&mut self) {
        // A mark behind the connection in the tab's list shows that it was closed and opened anew meanwhile.
        if self.tab.live != [self.remote, SEEN] {
            self.cut();
            let wanted = self.tab.live.contains(&self.remote);
            self.tab.live = if wanted { vec![self.remote, SEEN] } else { Vec::new() };
        }
        let sent = self.tab.frames.drain(..).map(|frame| serde_json::from_str::<Value>(&frame).unwrap());
        self.up.extend(sent);
    }

    fn write(&mut self, dice: &mut Dice, number: u64) {
        let key = format!("k{}", dice.below(KEYS));
        let there = self.tab.shows(self.todos).contains_key(&key);
        let written = match (there, dice.below(4)) {
            (false, _) => self.tab.insert(self.todos, &key, json!({ "id": key, "n": number })),
            (true, 0) => self.tab.delete(self.todos, &key),
            (true, _) => self.tab.update(self.todos, &key, json!({ "n": number, "by": number % 3 })),
        };
        self.written.push(written.unwrap());
        self.tab.settle();
    }
}

fn opened(disk: &Disk, seed: u8) -> (Tab, RemoteId, CollectionId) {
    let mut tab = Tab::open(disk, seed);
    let wire = LiveStoreWire::WebSocket;
    let remote = tab.connect(BackendSpec::LiveStore { store_id: "s".into(), wire });
    let todos = tab.register_at("todos", remote, "todo");
    (tab, remote, todos)
}

impl Server {
    fn chunk(&self, pull: &str, events: &[Value], has_more: bool) -> Value {
        let batch: Vec<Value> = events
            .iter()
            .map(|event| json!({ "eventEncoded": event, "metadata": { "_tag": "None" } }))
            .collect();
        let info = if has_more { json!({ "_tag": "MoreUnknown" }) } else { json!({ "_tag": "NoMore" }) };
        json!({ "_tag": "Chunk", "requestId": pull, "values": [{ "batch": batch, "pageInfo": info, "backendId": format!("b{}", self.identity) }] })
    }

    fn hear(&mut self, devices: &mut [Device], at: usize, frame: &Value) {
        let id = frame["id"].as_str().unwrap_or_default().to_owned();
        let exit = |exit: Value| json!({ "_tag": "Exit", "requestId": id, "exit": exit });
        let failed =
            |error: Value| exit(json!({ "_tag": "Failure", "cause": { "_tag": "Fail", "error": error } }));
        let mine = format!("b{}", self.identity);
        let mismatch = |told: &Value| {
            failed(json!({ "_tag": "BackendIdMismatchError", "expected": mine, "received": told }))
        };
        match (frame["_tag"].as_str().unwrap(), frame["tag"].as_str()) {
            ("Ping", _) => devices[at].down.push_back(json!({ "_tag": "Pong" })),
            ("Ack", _) => {
                let pull = frame["requestId"].as_str().unwrap();
                if let Some(next) = devices[at].pages.get_mut(pull).and_then(VecDeque::pop_front) {
                    devices[at].down.push_back(next);
                }
            }
            ("Interrupt", _) => {
                devices[at].pulls.retain(|pull| *pull != frame["requestId"].as_str().unwrap())
            }
            (_, Some("SyncWsRpc.Pull")) => {
                let cursor = &frame["payload"]["cursor"]["value"];
                if cursor.is_object() && cursor["backendId"] != mine.as_str() {
                    return devices[at].down.push_back(mismatch(&cursor["backendId"]));
                }
                let from = cursor["eventSequenceNumber"].as_u64().unwrap_or(0) as usize;
                let rest = self.log.get(from..).unwrap_or_default();
                let count = rest.len().div_ceil(PAGE).max(1);
                let mut pages: VecDeque<Value> = (0..count)
                    .map(|page| {
                        let end = rest.len().min((page + 1) * PAGE);
                        self.chunk(&id, &rest[page * PAGE..end], page + 1 < count)
                    })
                    .collect();
                devices[at].down.extend(pages.pop_front());
                devices[at].pages.insert(id.clone(), pages);
                devices[at].pulls.push(id);
            }
            (_, Some("SyncWsRpc.Push")) => {
                let payload = &frame["payload"];
                let told = &payload["backendId"]["value"];
                if told.is_string() && *told != mine.as_str() {
                    return devices[at].down.push_back(mismatch(told));
                }
                let batch = payload["batch"].as_array().unwrap();
                let (parent, head) = (batch[0]["parentSeqNum"].as_u64().unwrap(), self.log.len() as u64);
                if parent != head {
                    let error = json!({ "_tag": "ServerAheadError", "minimumExpectedNum": head, "providedNum": parent });
                    return devices[at].down.push_back(failed(error));
                }
                for (event, position) in batch.iter().zip(head + 1..) {
                    assert_eq!(event["seqNum"], position, "the events of a push follow one another");
                }
                self.log.extend(batch.iter().cloned());
                for device in devices.iter_mut() {
                    for pull in device.pulls.clone() {
                        device.down.push_back(self.chunk(&pull, batch, false));
                    }
                }
                devices[at].down.push_back(exit(json!({ "_tag": "Success", "value": {} })));
            }
            other => panic!("the server does not know {other:?}"),
        }
    }

    /// The rows that the log makes.
    fn rows(&self) -> BTreeMap<String, Value> {
        let mut rows: BTreeMap<String, Value> = BTreeMap::new();
        for event in &self.log {
            let key = event["args"]["id"].as_str().unwrap().to_owned();
            match event["name"].as_str().unwrap() {
                "todo.inserted" => drop(rows.insert(key, event["args"].clone())),
                "todo.deleted" => drop(rows.remove(&key)),
                _ => {
                    if let Some(row) = rows.get_mut(&key) {
                        for (field, value) in event["args"].as_object().unwrap() {
                            row[field] = value.clone();
                        }
                    }
                }
            }
        }
        rows
    }
}

fn step(dice: &mut Dice, server: &mut Server, devices: &mut [Device], faults: bool, number: u64) {
    let at = dice.below(devices.len() as u64) as usize;
    for device in devices.iter_mut() {
        device.collect();
    }
    match dice.below(100) {
        0..25 if faults => devices[at].write(dice, number),
        25..40 => {
            let device = &mut devices[at];
            if !device.open && device.tab.live.contains(&device.remote) {
                let fails = faults && dice.chance(20);
                device.open = !fails;
                let event = if fails { LiveEvent::Closed } else { LiveEvent::Opened };
                if fails {
                    device.tab.live.clear();
                }
                device.tab.hear(device.remote, event);
            }
        }
        40..62 if devices[at].open => {
            if let Some(frame) = devices[at].up.pop_front() {
                server.hear(devices, at, &frame);
            }
        }
        62..88 if devices[at].open => {
            let device = &mut devices[at];
            // Answers and broadcasts overtake one another, and some come twice.
            let index = if faults && device.down.len() > 1 && dice.chance(15) { 1 } else { 0 };
            if let Some(frame) = device.down.remove(index) {
                let copies = if faults && frame["_tag"] == "Chunk" && dice.chance(5) { 2 } else { 1 };
                for _ in 0..copies {
                    if device.tab.live.contains(&device.remote) {
                        device.tab.hear(device.remote, LiveEvent::Frame(frame.to_string()));
                    }
                }
            }
        }
        88..92 if faults && devices[at].open => {
            let device = &mut devices[at];
            device.cut();
            device.tab.live.clear();
            device.tab.frames.clear();
            device.tab.hear(device.remote, LiveEvent::Closed);
        }
        92..94 if faults => devices[at].crash(),
        94 if faults && dice.chance(10) => {
            server.identity += 1;
            server.wipes += 1;
            server.log.clear();
            for device in devices.iter_mut() {
                device.pages.clear();
            }
        }
        _ => {
            let wait = if faults { dice.below(4_000) } else { 500 };
            for device in devices.iter_mut() {
                device.tab.advance(wait);
                device.collect();
            }
        }
    }
}

fn run(seed: u64) -> (Vec<Value>, u64) {
    let mut dice = Dice(seed);
    let mut server = Server { identity: 1, log: Vec::new(), wipes: 0 };
    let mut devices: Vec<Device> = (0..DEVICES).map(|index| Device::new(index as u8 + 1)).collect();
    for number in 0..STEPS {
        step(&mut dice, &mut server, &mut devices, true, u64::from(number));
    }
    let mut quiet = 0;
    for number in 0..20_000_u64 {
        step(&mut dice, &mut server, &mut devices, false, number);
        let rows = server.rows();
        let settled = devices.iter().all(|device| {
            device.tab.engine.status().pending == 0 && device.tab.shows(device.todos) == rows && device.open
        });
        quiet = if settled { quiet + 1 } else { 0 };
        if quiet > 50 {
            break;
        }
    }
    let rows = server.rows();
    for (at, device) in devices.iter().enumerate() {
        let status = device.tab.engine.status();
        assert_eq!(status.pending, 0, "seed {seed}: device {at} still waits: {:?}", status.oldest_waiting);
        let remote = device.tab.engine.remote(device.remote);
        let wire = (
            device.open,
            device.tab.live.len(),
            &device.pulls,
            &device.up,
            device.down.len(),
            server.log.len(),
        );
        assert_eq!(
            device.tab.shows(device.todos),
            rows,
            "seed {seed}: device {at} stands at {remote:?}, {wire:?}"
        );
    }
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for event in &server.log {
        *times.entry(event["sessionId"].as_str().unwrap()).or_default() += 1;
    }
    for device in &devices {
        for tx in &device.written {
            let landed = times.get(tx.to_string().as_str()).copied().unwrap_or(0);
            assert!(landed <= 1, "seed {seed}: {tx} landed {landed} times");
            // What a server that was wiped had is gone with it.
            assert!(landed == 1 || server.wipes > 0, "seed {seed}: {tx} is done and nowhere");
        }
    }
    (server.log, server.wipes)
}

#[test]
fn every_event_lands_once_and_all_devices_end_alike_whatever_the_network_does() {
    let (mut events, mut wipes) = (0, 0);
    for seed in 1..=SEEDS {
        let (log, wiped) = run(seed);
        events += log.len();
        wipes += wiped;
    }
    assert!(events > SEEDS as usize * 10, "only {events} events: nothing was shown");
    assert!(wipes > 0, "no server was wiped");
}

#[test]
fn one_seed_run_twice_gives_the_same_log() {
    assert_eq!(run(7), run(7));
}
