//! Devices that share a stream of S2's, directly or through sync-s2's proxy, on fakes that answer as the published
//! servers were recorded to.

#![allow(clippy::unwrap_used)]

mod support;

use driftline_core::{
    Code, HttpRequest, HttpResponse, Input, LiveEndpoint, LiveEvent, Method, TransportError, TxId,
    spec::{BackendSpec, CollectionId, RemoteId},
    view::{RemoteState, TransactionState as S},
};
use driftline_protocol::s2::{MAX_APPEND_BYTES, MAX_REQUEST_BYTES, NewRecord, Record};
use driftline_testkit::s2::{Answer, FakeLive, FakeProxy, FakeS2, Request};
use serde_json::{Value, json};
use support::{Disk, Tab};

const BASIN: &str = "a-basin-of-tests";
const STREAM: &str = "a/stream";
const STORE: &str = "a store";

#[derive(Clone)]
enum Server {
    Direct(FakeS2),
    Proxy(FakeProxy),
}

impl Server {
    fn both() -> [Self; 2] {
        [Self::Direct(FakeS2::default()), Self::Proxy(FakeProxy::default())]
    }

    fn spec(&self) -> BackendSpec {
        match self {
            Self::Direct(_) => BackendSpec::S2 { basin: BASIN.into(), stream: STREAM.into(), create: true },
            Self::Proxy(_) => BackendSpec::S2Proxy {
                store_id: STORE.into(),
                push_to: String::new(),
                ping_to: String::new(),
            },
        }
    }

    fn answer(&self, request: &Request) -> Answer {
        match self {
            Self::Direct(fake) => fake.answer(request),
            Self::Proxy(fake) => fake.answer(request),
        }
    }

    fn open(&self, request: &Request) -> Result<FakeLive, Answer> {
        match self {
            Self::Direct(fake) => fake.open(request),
            Self::Proxy(fake) => fake.open(request),
        }
    }

    fn records(&self) -> Vec<Record> {
        match self {
            Self::Direct(fake) => fake.records(BASIN, STREAM),
            Self::Proxy(fake) => fake.records(STORE),
        }
    }

    fn wipe(&self) {
        match self {
            Self::Direct(fake) => fake.wipe(),
            Self::Proxy(fake) => fake.s2.wipe(),
        }
    }

    fn trim(&self, before: u64) {
        match self {
            Self::Direct(fake) => fake.trim(BASIN, STREAM, before),
            Self::Proxy(fake) => fake.trim(STORE, before),
        }
    }

    /// The keys of the rows that its events name, in order.
    fn keys(&self) -> Vec<String> {
        let events = self.records().into_iter().map(|record| record.event().unwrap());
        events
            .map(|event| {
                serde_json::from_str::<Value>(event.args.get()).unwrap()["id"].as_str().unwrap().into()
            })
            .collect()
    }
}

/// A browser with one tab.
struct Device {
    tab: Tab,
    server: Server,
    remote: RemoteId,
    todos: CollectionId,
    live: Option<FakeLive>,
}

impl Device {
    fn of(server: &Server, seed: u8) -> Self {
        let mut tab = Tab::open(&Disk::default(), seed);
        let remote = tab.connect(server.spec());
        let todos = tab.register_at("todos", remote, "todo");
        Self { tab, server: server.clone(), remote, todos, live: None }
    }

    /// One that has read all there is, and hears what comes.
    fn live_on(server: &Server, seed: u8) -> Self {
        let mut device = Self::of(server, seed);
        device.settle();
        assert_eq!(device.state(), RemoteState::Live);
        device
    }

    /// Lets the server answer all it is asked, and tell all there is to tell.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            if !self.answer_next() && !self.connect() && !self.hear_news() {
                return;
            }
        }
        panic!("it never ends: {:?}", self.tab.requests);
    }

    fn answer_next(&mut self) -> bool {
        let Some((.., request)) = self.tab.requests.first() else { return false };
        let answer = self.server.answer(&sent(request));
        self.tab.answer_request(answer.status, &answer.body);
        true
    }

    /// Opens the live connection that is asked for; the first thing heard of it says where the stream ends.
    fn connect(&mut self) -> bool {
        if self.tab.live.is_empty() {
            self.live = None;
        }
        // Taken when it is opened: the one before it is closed then, too.
        let Some(LiveEndpoint::EventStream(path, headers)) = self.tab.endpoint.take() else { return false };
        if self.tab.live.is_empty() {
            return false;
        }
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        match self.server.open(&Request { method: "GET", path, headers, body: String::new() }) {
            Ok(live) => {
                self.live = Some(live);
                self.tab.hear(self.remote, LiveEvent::Opened);
                self.hear();
            }
            Err(_) => {
                self.tab.live.clear();
                self.tab.hear(self.remote, LiveEvent::Closed);
            }
        }
        true
    }

    fn hear_news(&mut self) -> bool {
        let news = self.live.as_ref().is_some_and(FakeLive::has_news);
        if news {
            self.hear();
        }
        news
    }

    /// Hears the next event, or a ping.
    fn hear(&mut self) {
        if let Some(event) = self.live.as_mut().map(FakeLive::event) {
            self.tab.hear(self.remote, LiveEvent::Frame(event));
        }
    }

    /// The live connection breaks, and no request arrives.
    fn go_offline(&mut self) {
        self.tab.input(Input::Online(false));
        self.live = None;
        self.tab.live.clear();
        self.tab.hear(self.remote, LiveEvent::Closed);
        self.lose_requests();
    }

    fn go_online(&mut self) {
        self.tab.input(Input::Online(true));
        self.tab.settle();
        self.advance(60_000);
    }

    /// Lets time pass, in which a live read pings every ten seconds.
    fn advance(&mut self, ms: u64) {
        let mut left = ms;
        while left > 0 {
            let step = left.min(10_000);
            left -= step;
            self.tab.advance(step);
            self.settle();
            self.hear();
            self.settle();
        }
    }

    fn lose_requests(&mut self) {
        while !self.tab.requests.is_empty() {
            self.lose_next(false);
        }
    }

    /// The next request's answer never comes; `arrives` says whether the request does.
    fn lose_next(&mut self, arrives: bool) {
        let (op, _, request) = self.tab.requests.remove(0);
        if arrives {
            self.server.answer(&sent(&request));
        }
        self.tab.input(Input::RequestAnswered(op, Err(TransportError::TimedOut)));
        self.tab.settle();
    }

    fn insert(&mut self, key: &str) -> TxId {
        let tx = self.tab.insert(self.todos, key, json!({ "id": key })).unwrap();
        self.tab.settle();
        tx
    }

    fn state(&self) -> RemoteState {
        self.tab.engine.remote(self.remote).unwrap().state
    }

    fn pending(&self) -> usize {
        self.tab.engine.status().pending
    }

    fn shows(&self) -> Vec<String> {
        self.tab.shows(self.todos).into_keys().collect()
    }

    fn was_told(&self, code: Code) -> bool {
        self.tab.errors.iter().any(|(told, _)| *told == code)
    }
}

fn sent(request: &HttpRequest) -> Request {
    let method = match request.method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Head => "HEAD",
    };
    let headers = request.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    let mut headers: Vec<_> = headers.collect();
    if request.path.starts_with("?args") {
        headers.push(("accept".to_owned(), "text/event-stream".to_owned()));
    }
    Request { method, path: request.path.clone(), headers, body: request.body.clone() }
}

#[test]
fn devices_that_wrote_while_they_were_apart_end_with_all_events_once_in_one_order() {
    for server in Server::both() {
        let (mut one, mut two) = (Device::live_on(&server, 1), Device::live_on(&server, 2));
        one.insert("a1");
        one.settle();
        two.settle();
        for (device, keys) in [(&mut one, ["a2", "a3"]), (&mut two, ["b2", "b3"])] {
            device.go_offline();
            for key in keys {
                device.insert(key);
            }
        }
        for _ in 0..3 {
            one.go_online();
            two.go_online();
        }
        assert_eq!(server.keys(), ["a1", "a2", "a3", "b2", "b3"]);
        for device in [&one, &two] {
            assert_eq!((device.pending(), device.state()), (0, RemoteState::Live));
            assert_eq!(device.shows(), ["a1", "a2", "a3", "b2", "b3"]);
            assert!(device.tab.errors.is_empty(), "{:?}", device.tab.errors);
        }
    }
}

#[test]
fn what_landed_though_its_answer_was_lost_is_not_sent_again() {
    for server in Server::both() {
        let mut device = Device::live_on(&server, 1);
        device.insert("mine");
        device.lose_next(true);
        device.advance(60_000);
        device.advance(60_000);
        assert_eq!((device.pending(), server.keys()), (0, vec!["mine".to_owned()]));
    }
}

#[test]
fn what_is_heard_while_an_answer_is_lost_proves_nothing_about_what_was_sent() {
    for server in Server::both() {
        let (mut one, mut two) = (Device::live_on(&server, 1), Device::live_on(&server, 2));
        two.insert("theirs");
        two.settle();
        one.insert("mine");
        // What was told before it landed is heard only now.
        let earlier = one.live.as_mut().unwrap().event();
        one.lose_next(true);
        one.tab.hear(one.remote, LiveEvent::Frame(earlier));
        one.settle();
        one.advance(60_000);
        assert_eq!((one.pending(), server.keys()), (0, vec!["theirs".to_owned(), "mine".to_owned()]));
    }
}

#[test]
fn a_conflict_that_was_told_before_what_came_since_was_heard_is_no_reset() {
    let server = Server::Direct(FakeS2::default());
    let (mut one, mut two) = (Device::live_on(&server, 1), Device::live_on(&server, 2));
    two.insert("first");
    two.settle();
    one.insert("mine");
    let (op, _, push) = one.tab.requests.remove(0);
    let Answer { status, body } = server.answer(&sent(&push));
    assert_eq!((status, body.as_str()), (412, r#"{"seq_num_mismatch":1}"#));
    two.insert("second");
    two.settle();
    one.hear();
    let response = HttpResponse { status, retry_after_ms: None, body };
    one.tab.input(Input::RequestAnswered(op, Ok(response)));
    one.advance(1_000);
    assert!(!one.was_told(Code::BackendReset), "{:?}", one.tab.errors);
    assert_eq!((one.pending(), server.keys()), (0, vec!["first".into(), "second".into(), "mine".into()]));
}

#[test]
fn an_answer_that_is_older_than_what_was_heard_meanwhile_is_no_reset() {
    let server = Server::Direct(FakeS2::default());
    let (mut one, mut two) = (Device::live_on(&server, 1), Device::live_on(&server, 2));
    one.tab.engine.pull_now(one.tab.now, one.remote).unwrap();
    one.tab.settle();
    let at_tail = server.answer(&sent(&one.tab.requests[0].2));
    assert_eq!(at_tail.status, 416);
    two.insert("theirs");
    two.settle();
    one.hear();
    one.tab.answer_request(at_tail.status, &at_tail.body);
    assert!(!one.was_told(Code::BackendReset), "{:?}", one.tab.errors);
    assert_eq!((one.shows(), one.state()), (vec!["theirs".to_owned()], RemoteState::Live));
}

#[test]
fn a_server_that_was_wiped_is_a_reset_and_what_waits_is_kept() {
    for server in Server::both() {
        let mut device = Device::live_on(&server, 1);
        for key in ["old", "older"] {
            device.insert(key);
            device.settle();
        }
        device.go_offline();
        let kept = device.insert("kept");
        server.wipe();
        device.go_online();
        device.advance(60_000);
        assert!(device.was_told(Code::BackendReset), "{:?}", device.tab.errors);
        device.advance(60_000);
        assert_eq!((device.shows(), server.keys()), (vec!["kept".to_owned()], vec!["kept".to_owned()]));
        assert_eq!(device.tab.state(kept), S::Completed);
    }
}

#[test]
fn a_server_that_is_wiped_under_an_open_connection_is_made_anew_and_written_to() {
    let server = Server::Direct(FakeS2::default());
    let mut device = Device::live_on(&server, 1);
    device.insert("old");
    device.settle();
    server.wipe();
    let kept = device.insert("kept");
    device.settle();
    for _ in 0..5 {
        device.advance(60_000);
    }
    assert_eq!(device.tab.state(kept), S::Completed, "{:?}", device.tab.errors);
    assert_eq!((device.shows(), server.keys()), (vec!["kept".to_owned()], vec!["kept".to_owned()]));
    assert!(device.was_told(Code::BackendReset));
}

#[test]
fn a_stream_that_was_trimmed_past_the_cursor_is_a_reset() {
    for server in Server::both() {
        let (mut one, mut two) = (Device::live_on(&server, 1), Device::live_on(&server, 2));
        one.insert("a");
        one.settle();
        two.settle();
        two.go_offline();
        for key in ["b", "c", "d"] {
            one.insert(key);
            one.settle();
        }
        server.trim(2);
        two.go_online();
        two.advance(60_000);
        assert!(two.was_told(Code::BackendReset));
        assert_eq!(two.shows(), ["c", "d"]);
        // Who has read on notices nothing.
        one.advance(60_000);
        assert!(!one.was_told(Code::BackendReset));
        assert_eq!(one.shows(), ["a", "b", "c", "d"]);
    }
}

#[test]
fn a_token_that_expired_is_asked_for_again_and_then_waited_for() {
    for (server, status) in Server::both().into_iter().zip([401, 403]) {
        let mut device = Device::live_on(&server, 1);
        let tx = device.insert("mine");
        device.tab.answer_request(status, r#"{"code":"permission_denied","message":"expired"}"#);
        // Once more with what the app says by now, before anybody is asked.
        while !device.tab.requests.is_empty() {
            device.tab.answer_request(status, r#"{"code":"permission_denied","message":"expired"}"#);
        }
        device.tab.advance(60_000);
        while !device.tab.requests.is_empty() {
            device.tab.answer_request(status, r#"{"code":"permission_denied","message":"expired"}"#);
        }
        assert_eq!(device.state(), RemoteState::Auth);
        assert_eq!(device.tab.state(tx), S::Pending);
        device.tab.advance(600_000);
        assert!(device.tab.requests.is_empty(), "nothing is asked before the app has seen to it");
        device.tab.engine.resume(device.tab.now);
        device.tab.settle();
        device.settle();
        device.advance(60_000);
        assert_eq!((device.tab.state(tx), device.state()), (S::Completed, RemoteState::Live));
    }
}

#[test]
fn a_proxy_that_answers_its_failures_with_status_200_is_asked_less_and_less_often() {
    let server = Server::Proxy(FakeProxy::default());
    let mut device = Device::live_on(&server, 1);
    device.go_offline();
    let tx = device.insert("kept");
    device.tab.input(Input::Online(true));
    device.tab.settle();
    let mut asked = 0;
    for _ in 0..600 {
        device.tab.advance(1_000);
        while !device.tab.requests.is_empty() || !device.tab.live.is_empty() {
            if let Some((.., request)) = device.tab.requests.first() {
                let is_push = request.method == Method::Post;
                let body = if is_push { r#"{"success":false}"# } else { r#"{"records":[]}"# };
                device.tab.answer_request(200, body);
            } else {
                device.tab.hear(device.remote, LiveEvent::Opened);
                device.tab.hear(device.remote, LiveEvent::Frame("event: ping\ndata: {}\n\n".into()));
                device.tab.live.clear();
                device.tab.hear(device.remote, LiveEvent::Closed);
            }
            asked += 1;
            assert!(asked < 200, "ten minutes of failures take so many requests");
        }
    }
    assert!(asked > 20, "{asked}: it is still tried");
    assert_ne!(device.state(), RemoteState::Live);
    device.settle();
    device.advance(60_000);
    assert_eq!(device.tab.state(tx), S::Completed);
}

#[test]
fn twenty_seconds_of_silence_are_the_end_of_a_live_read() {
    for server in Server::both() {
        let mut device = Device::live_on(&server, 1);
        for _ in 0..10 {
            device.tab.advance(19_999);
            while device.answer_next() {}
            assert_eq!(device.tab.live.len(), 1);
            device.hear();
        }
        device.tab.advance(19_999);
        while device.answer_next() {}
        assert_eq!((device.tab.live.len(), device.state()), (1, RemoteState::Live));
        device.tab.advance(1);
        assert_eq!((device.tab.live.len(), device.state()), (0, RemoteState::Polling));
    }
}

#[test]
fn the_largest_change_fits_into_a_request_whatever_its_characters() {
    let server = Server::Direct(FakeS2::default());
    let mut device = Device::live_on(&server, 1);
    for (key, text) in
        [("quotes", "\""), ("backslashes", "\\"), ("controls", "\u{1}"), ("letters", "x"), ("signs", "𝄞")]
    {
        let escaped = serde_json::to_string(text).unwrap().len() - 2;
        // Whatever the app may give is either sent or refused for its size.
        for bytes in [MAX_APPEND_BYTES - 5_000, MAX_APPEND_BYTES] {
            let tx = device.tab.insert(
                device.todos,
                key,
                json!({ "id": key, "text": text.repeat(bytes / escaped) }),
            );
            device.tab.settle();
            if let Some((.., request)) =
                device.tab.requests.iter().find(|(.., request)| request.method == Method::Post)
            {
                assert!(request.body.len() <= MAX_REQUEST_BYTES, "{key}: {}", request.body.len());
                let append: driftline_protocol::s2::Append = serde_json::from_str(&request.body).unwrap();
                assert!(
                    append.records.iter().map(NewRecord::metered_bytes).sum::<usize>() < MAX_APPEND_BYTES
                );
            }
            device.settle();
            if bytes < MAX_APPEND_BYTES {
                assert_eq!(device.tab.state(tx.unwrap()), S::Completed, "{key}");
                let gone = device.tab.delete(device.todos, key).unwrap();
                device.tab.settle();
                device.settle();
                assert_eq!(device.tab.state(gone), S::Completed);
            } else if let Ok(tx) = tx {
                assert_eq!(
                    device.tab.engine.transaction(tx).unwrap().error.unwrap().code,
                    Code::TooLarge.as_str(),
                    "{key}"
                );
            }
        }
    }
}

/// What came over a connection when the published servers were recorded, piece by piece; ends where a piece was cut.
fn recorded(file: &str, conn: &str) -> Vec<String> {
    let path = format!("{}/../../tests/vectors/transcripts/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let pieces =
        lines.filter(|line| line["conn"] == conn).filter_map(|line| line["sse"].as_str().map(str::to_owned));
    pieces.take_while(|piece| !piece.contains('…')).collect()
}

#[test]
fn what_the_published_servers_were_recorded_to_send_is_read_to_where_it_ends() {
    // Through the proxy: four batches after a pull that found nothing; two of the events have the same number.
    let mut device = Device::of(&Server::Proxy(FakeProxy::default()), 1);
    device.tab.answer_request(200, &recorded("sync-s2-proxy.jsonl", "pull")[0]);
    device.tab.hear(device.remote, LiveEvent::Opened);
    for piece in recorded("sync-s2-proxy.jsonl", "B-live") {
        // Cut anywhere, as a network cuts.
        let (one, other) = piece.split_at(piece.len() / 2);
        for part in [one, other] {
            device.tab.hear(device.remote, LiveEvent::Frame(part.to_owned()));
        }
    }
    assert_eq!(device.tab.engine.remote(device.remote).unwrap().cursor, Some(5));
    assert_eq!(device.state(), RemoteState::Live);

    // Directly: what is there, then what comes, with records that are no events.
    let mut device = Device::of(&Server::Direct(FakeS2::default()), 1);
    device.tab.answer_request(416, r#"{"tail":{"seq_num":0,"timestamp":0}}"#);
    device.tab.hear(device.remote, LiveEvent::Opened);
    for conn in ["sse0", "sse-live"] {
        for piece in recorded("s2-lite.jsonl", conn).iter().filter(|piece| !piece.contains("[DONE]")) {
            device.tab.hear(device.remote, LiveEvent::Frame(piece.clone()));
        }
    }
    assert_eq!(device.tab.engine.remote(device.remote).unwrap().cursor, Some(8));
    assert!(device.tab.errors.is_empty(), "{:?}", device.tab.errors);
    device.tab.hear(device.remote, LiveEvent::Frame("data: [DONE]\n\n".into()));
    assert!(device.tab.live.is_empty(), "it is made anew from where it got to");
}
