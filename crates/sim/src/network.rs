//! The network between the clients and the sync server: requests, answers, live channels.

use driftline_core::{
    HttpRequest, HttpResponse, Input, LiveEndpoint, LiveEvent, OpId, TransportError, TxId, spec::RemoteId,
    view::MutationKind,
};
use serde_json::{Value, json};

use crate::{
    log::{Wire, asked_from},
    plan::Fault,
    tab::{ENTITIES, Live, SCOPE, Tab},
    wires::{ConnKey, pushed_events, unauthorized},
    world::{Event, Exchange, Parcel, TabId, World},
};

impl World {
    /// A request to the sync server leaves a tab.
    pub fn send(&mut self, tab: &mut Tab, op: OpId, request: HttpRequest) {
        let id = self.next_exchange;
        self.next_exchange += 1;
        self.ledger.counts().requests += 1;
        self.note(format_args!("tab {} sends {id} {} {}", tab.id, request.path, request.body));
        self.note_sent(tab, &request.path, &request.body);
        let exchange = Exchange {
            tab: tab.id,
            client: tab.client,
            op,
            path: request.path,
            body: request.body,
            answered: false,
        };
        self.exchanges.insert(id, exchange);
        self.at(request.timeout_ms, Event::Answer(id, Err(TransportError::TimedOut)));
        if !self.clients[tab.client].online {
            let delay = self.dice.latency(5, 50);
            return self.at(delay, Event::Answer(id, Err(unreachable())));
        }
        if self.strikes(Fault::DropRequest, 30) {
            return self.lose(id);
        }
        let delay = self.travel();
        self.at(delay, Event::Arrive(id, false));
        if self.strikes(Fault::Duplicate, 20) {
            let delay = self.travel();
            self.at(delay, Event::Arrive(id, true));
        }
    }

    /// What a tab sends must be its client's to send, and on disk.
    pub fn note_sent(&mut self, tab: &Tab, what: &str, body: &str) {
        for tx in pushed_transactions(body) {
            match tx {
                Ok(tx) => self.ledger.sent(tab.client, tab.id, tx),
                Err(id) => self
                    .ledger
                    .violate(format_args!("a mutation's id does not begin with its transaction's: {id}")),
            }
        }
        if !tab.leases.iter().any(|lease| lease.starts_with("r/")) {
            self.ledger.violate(format_args!("tab {} sends {what} without the remote's lease", tab.id));
        }
    }

    /// Nobody will answer: the client hears of it soon, or not before its time-out.
    fn lose(&mut self, exchange: u64) {
        if self.dice.chance(500) {
            let delay = self.dice.range(10, 2_000);
            self.at(delay, Event::Answer(exchange, Err(unreachable())));
        }
    }

    pub fn travel(&mut self) -> u64 {
        let late = if self.strikes(Fault::Delay, 15) { self.dice.range(5_000, 90_000) } else { 0 };
        1 + self.dice.latency(40, 800) + late
    }

    pub fn reach_server(&mut self, id: u64, copy: bool) {
        let Some(exchange) = self.exchanges.get(&id) else { return };
        let (path, body) = (exchange.path.clone(), exchange.body.clone());
        if !self.server_up {
            if !copy {
                self.at(2, Event::Answer(id, Err(unreachable())));
            }
            return;
        }
        let answer = if self.clients[exchange.client].expired {
            self.ledger.counts().held += 1;
            unauthorized()
        } else if self.strikes(Fault::Busy, 12) {
            let retry_after_ms = if self.dice.chance(700) { Some(self.dice.range(1, 8) * 500) } else { None };
            HttpResponse {
                status: 503,
                retry_after_ms,
                body: json!({ "code": "unavailable", "error": "busy" }).to_string(),
            }
        } else if self.strikes(Fault::Busy, 2) {
            unauthorized()
        } else if self.strikes(Fault::Error, 8) {
            failed()
        } else {
            let (status, text) = if self.wire == Wire::Mizu {
                self.server.handle(self.now, &path, &body)
            } else {
                self.ask_log(&path, &body)
            };
            self.note(format_args!(
                "server answers {id}{}: {status} {text}",
                if copy { ", a copy" } else { "" }
            ));
            if self.wire == Wire::Mizu && path.ends_with("/push") {
                self.note_applied(&body, &text);
            }
            if self.strikes(Fault::Error, 8) {
                failed()
            } else {
                HttpResponse { status, retry_after_ms: None, body: text }
            }
        };
        if copy {
            return;
        }
        if self.strikes(Fault::DropAnswer, 25) {
            return self.lose(id);
        }
        let delay = self.travel();
        self.at(delay, Event::Answer(id, Ok(answer)));
    }

    /// Reads from a push and its answer what the server has done.
    fn note_applied(&mut self, request: &str, answer: &str) {
        let (Ok(request), Ok(answer)) =
            (serde_json::from_str::<Value>(request), serde_json::from_str::<Value>(answer))
        else {
            return;
        };
        let pairs = request["mutations"]
            .as_array()
            .into_iter()
            .flatten()
            .zip(answer["results"].as_array().into_iter().flatten());
        let mut changed = false;
        for (mutation, result) in pairs {
            let id = mutation["id"].as_str().unwrap_or_default();
            let name = mutation["name"].as_str().unwrap_or_default();
            let (entity, verb) = name.rsplit_once('.').unwrap_or_default();
            let collection =
                ENTITIES.iter().find(|(_, known)| *known == entity).map_or("", |(collection, _)| collection);
            let key = mutation["args"]["id"].as_str().unwrap_or_default();
            if let Some(tx) = transaction_of(id) {
                let kind = match verb {
                    "create" => MutationKind::Insert,
                    "update" => MutationKind::Update,
                    _ => MutationKind::Delete,
                };
                self.arrived(tx, collection, key, kind, Some(&mutation["args"]));
            }
            if result["ok"] != true {
                continue;
            }
            self.server_head = self.server_head.max(result["cursor"].as_u64().unwrap_or_default());
            let quiet = result["changes"].as_array().is_none_or(Vec::is_empty);
            // The delete of a row that was gone already is done, and changes nothing.
            let gone = verb == "delete";
            if quiet && !(gone && transaction_of(id).is_some_and(|tx| !self.ledger.was_applied(tx, id))) {
                self.ledger.counts().repeated += 1;
                continue;
            }
            changed |= !quiet;
            match transaction_of(id) {
                Some(tx) => self.ledger.applied(tx, id, (collection, key.to_owned())),
                None => {
                    self.ledger.violate(format_args!("the server applied {id}, which is no transaction's"))
                }
            }
        }
        if changed {
            self.poke();
        }
    }

    pub fn answer(&mut self, id: u64, answer: Result<HttpResponse, TransportError>) {
        let Some(exchange) = self.exchanges.get_mut(&id) else { return };
        if core::mem::replace(&mut exchange.answered, true) {
            return;
        }
        let (tab, op, client) = (exchange.tab, exchange.op, exchange.client);
        let answer = if self.clients[client].online { answer } else { Err(unreachable()) };
        match &answer {
            Ok(answer) => self.note(format_args!("tab {tab} has the answer to {id}: {}", answer.status)),
            Err(error) => self.note(format_args!("tab {tab} has no answer to {id}: {error:?}")),
        }
        self.arrive(tab, Parcel::Input(Input::RequestAnswered(op, answer)));
    }

    /// A request is aborted: often nothing more is heard of it.
    pub fn cancel(&mut self, tab: &Tab, op: OpId) {
        if self.dice.chance(500)
            && let Some(exchange) =
                self.exchanges.values_mut().find(|exchange| exchange.tab == tab.id && exchange.op == op)
        {
            exchange.answered = true;
        }
    }

    pub fn open_live(&mut self, tab: &mut Tab, remote: RemoteId, endpoint: &LiveEndpoint) {
        let from = if let LiveEndpoint::EventStream(path, _) = endpoint { asked_from(path) } else { 0 };
        let live = tab.live.entry(remote).or_default();
        *live = Live { generation: live.generation + 1, ..Live::default() };
        let generation = live.generation;
        let delay = 1 + self.dice.latency(40, 500);
        self.at(delay, Event::LiveArrive(tab.id, remote, generation, from));
    }

    pub fn live_arrives(&mut self, tab: TabId, remote: RemoteId, generation: u64, from: u64) {
        let refused = !self.server_up || self.strikes(Fault::Poke, 50);
        let Some(holder) = self.tabs.get_mut(&tab) else { return };
        let online = self.clients[holder.client].online;
        let expired = self.clients[holder.client].expired;
        let live = holder.live.entry(remote).or_default();
        if live.generation != generation {
            return;
        }
        live.open = !refused && online && !expired;
        let open = live.open;
        let event = match open {
            true => LiveEvent::Opened,
            false if expired && self.wire.by_frames() => {
                self.ledger.counts().held += 1;
                LiveEvent::Refused("the app has no token".into())
            }
            false => LiveEvent::Closed,
        };
        self.tell_live(tab, remote, event);
        if open && self.wire != Wire::Mizu {
            self.connect_log((tab, remote, generation), from);
        }
    }

    pub fn tell_live(&mut self, tab: TabId, remote: RemoteId, event: LiveEvent) {
        let at = self.now + self.dice.latency(20, 400);
        let Some(holder) = self.tabs.get_mut(&tab) else { return };
        let live = holder.live.entry(remote).or_default();
        live.last_at = live.last_at.max(at);
        if matches!(event, LiveEvent::Closed | LiveEvent::Refused(_)) {
            live.open = false;
        }
        let (generation, delay) = (live.generation, live.last_at - self.now);
        self.tell_conn((tab, remote, generation), delay, event);
    }

    /// Something comes over a live connection, whatever is on its way.
    pub fn tell_conn(&mut self, (tab, remote, generation): ConnKey, delay: u64, event: LiveEvent) {
        self.at(delay, Event::Parcel(tab, Parcel::Live(remote, generation, event)));
    }

    /// Tells everybody that listens where the server's head is.
    fn poke(&mut self) {
        let frame = json!({ "type": "sync", "payload": { "cursor": self.server_head } }).to_string();
        for (tab, remote) in self.listeners() {
            if self.strikes(Fault::Poke, 10) {
                self.live_of(tab, remote).deaf = true;
            }
            if self.live_of(tab, remote).deaf || self.strikes(Fault::Poke, 50) {
                continue;
            }
            let copies = if self.strikes(Fault::Poke, 30) { 2 } else { 1 };
            for _ in 0..copies {
                self.tell_live(tab, remote, LiveEvent::Frame(frame.clone()));
            }
        }
    }

    fn live_of(&mut self, tab: TabId, remote: RemoteId) -> &mut Live {
        self.tabs.get_mut(&tab).and_then(|tab| tab.live.get_mut(&remote)).expect("a listener has a channel")
    }

    fn listeners(&self) -> Vec<(TabId, RemoteId)> {
        let open = |tab: &Tab| {
            tab.live
                .iter()
                .filter(|(_, live)| live.open)
                .map(|(remote, _)| (tab.id, *remote))
                .collect::<Vec<_>>()
        };
        self.tabs.values().flat_map(open).collect()
    }

    /// Channels die: all, or those of one client.
    pub fn cut_channels(&mut self, client: Option<usize>) {
        for (tab, remote) in self.listeners() {
            if client.is_none_or(|client| self.tabs[&tab].client == client) {
                self.tell_live(tab, remote, LiveEvent::Closed);
            }
        }
    }

    pub fn set_online(&mut self, client: usize, online: bool) {
        if self.clients[client].online == online {
            return;
        }
        self.clients[client].online = online;
        self.note(format_args!("client {client} is {}", if online { "online" } else { "offline" }));
        if !online {
            self.cut_channels(Some(client));
            let open: Vec<u64> = self
                .exchanges
                .iter()
                .filter(|(_, exchange)| exchange.client == client && !exchange.answered)
                .map(|(id, _)| *id)
                .collect();
            for id in open {
                let delay = self.dice.latency(5, 100);
                self.at(delay, Event::Answer(id, Err(unreachable())));
            }
        }
        let tabs: Vec<TabId> =
            self.tabs.values().filter(|tab| tab.client == client).map(|tab| tab.id).collect();
        for id in tabs {
            self.at(1, Event::Parcel(id, Parcel::Input(Input::Online(online))));
            self.restart_feeds(id);
        }
    }

    /// The rows that the sync server has of an entity.
    pub fn server_rows(&mut self, entity: &str) -> serde_json::Map<String, Value> {
        let (status, body) =
            self.server.handle(self.now, "/_sync/snapshot", &json!({ "scope": SCOPE }).to_string());
        assert_eq!(status, 200, "the server answers a snapshot: {body}");
        let body: Value = serde_json::from_str(&body).expect("the server answers JSON");
        body["data"][format!("{entity}s")].as_object().cloned().unwrap_or_default()
    }
}

fn pushed_transactions(body: &str) -> Vec<Result<TxId, String>> {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let mut all = Vec::new();
    let mutations = body["mutations"].as_array().into_iter().flatten().map(|mutation| &mutation["id"]);
    let events = pushed_events(&body);
    for id in mutations.chain(events.iter().map(|event| &event["sessionId"])) {
        let id = id.as_str().unwrap_or_default();
        let tx = transaction_of(id).ok_or_else(|| id.to_owned());
        if !all.contains(&tx) {
            all.push(tx);
        }
    }
    all
}

/// The transaction that a mutation's or an event's id begins with.
pub(crate) fn transaction_of(mutation: &str) -> Option<TxId> {
    mutation.get(..UUID_TEXT_BYTES).and_then(TxId::parse)
}

fn unreachable() -> TransportError {
    TransportError::Unreachable("the network is gone".into())
}

fn failed() -> HttpResponse {
    HttpResponse {
        status: 500,
        retry_after_ms: None,
        body: json!({ "code": "internal_error", "error": "something broke" }).to_string(),
    }
}

const UUID_TEXT_BYTES: usize = 36;
