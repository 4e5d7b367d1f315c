//! Whether a backend is there: pings, refused credentials over a WebSocket, and requests in the place of one.

#![allow(clippy::unwrap_used)]

mod support;

use driftline_core::{
    Input, LiveEvent, Method, TransportError,
    spec::{BackendSpec, LiveStoreWire, MizuDialect, RemoteId},
    view::{RemoteState, RemoteView},
};
use serde_json::{Value, json};
use support::{Disk, Tab};

fn store(wire: LiveStoreWire) -> BackendSpec {
    BackendSpec::LiveStore { store_id: "s".into(), wire }
}

fn view(tab: &Tab, remote: RemoteId) -> RemoteView {
    tab.engine.remote(remote).unwrap()
}

/// A tab with a collection of a backend, which its first request or frame is asked of.
fn tab_at(backend: BackendSpec) -> (Tab, RemoteId) {
    let mut tab = Tab::open(&Disk::default(), 1);
    let remote = tab.connect_with(backend, Some(driftline_core::spec::PING_MS));
    tab.register_at("todos", remote, "todo");
    (tab, remote)
}

/// A page and the end of an HTTP pull of sync-cf 0.4.
fn page() -> String {
    json!([
        { "_tag": "Chunk", "requestId": "0", "values": [{ "batch": [], "pageInfo": { "_tag": "NoMore" }, "backendId": "b" }] },
        { "_tag": "Exit", "requestId": "0", "exit": { "_tag": "Success" } }
    ])
    .to_string()
}

fn exit() -> String {
    r#"[{"_tag":"Exit","requestId":"0","exit":{"_tag":"Success","value":{}}}]"#.to_owned()
}

/// The oldest request is not answered.
fn fail(tab: &mut Tab) {
    let (op, ..) = tab.requests.remove(0);
    tab.input(Input::RequestAnswered(op, Err(TransportError::Unreachable("gone".into()))));
    tab.settle();
}

/// The connection that is being opened can't be, and what is asked then is answered so.
fn refuse_socket(tab: &mut Tab, remote: RemoteId, status: u16, body: &str) {
    assert_eq!(tab.live, [remote]);
    tab.live.clear();
    tab.hear(remote, LiveEvent::Closed);
    let probe = tab.answer_request(status, body);
    assert_eq!(probe.method, Method::Get);
}

#[test]
fn a_silent_backend_is_pinged_and_the_answer_and_its_failure_both_show() {
    let (mut tab, remote) = tab_at(store(LiveStoreWire::Http));
    assert!(!view(&tab, remote).connected, "nothing was heard of it yet");
    tab.answer_request(200, &page());
    assert!(view(&tab, remote).connected);
    tab.advance(9_999);
    assert!(tab.requests.is_empty());
    tab.advance(1);
    let ping = tab.answer_request(200, &exit());
    assert_eq!(serde_json::from_str::<Value>(&ping.body).unwrap()["tag"], "SyncHttpRpc.Ping");
    assert!(view(&tab, remote).connected);
    tab.advance(10_000);
    fail(&mut tab);
    assert_eq!((view(&tab, remote).connected, view(&tab, remote).state), (false, RemoteState::Offline));
    tab.advance(2_000);
    tab.answer_request(200, &page());
    assert_eq!((view(&tab, remote).connected, view(&tab, remote).state), (true, RemoteState::Polling));
}

#[test]
fn each_wire_is_pinged_in_its_own_way() {
    let s2 = BackendSpec::S2 { basin: "a-basin".into(), stream: "s".into(), create: false };
    let (mut tab, remote) = tab_at(s2);
    tab.answer_request(416, r#"{"tail":{"seq_num":0,"timestamp":0}}"#);
    // Its live read is not answered, so that nothing is heard of it.
    tab.advance(10_000);
    let ping = tab.answer_request(200, r#"{"tail":{"seq_num":2,"timestamp":0}}"#);
    assert_eq!((ping.method, ping.path.as_str()), (Method::Get, "/v1/streams/s/records/tail"));
    assert!(tab.requests[0].2.path.contains("seq_num=0"), "there is something new: {:?}", tab.requests);
    assert!(view(&tab, remote).connected);

    let proxy = BackendSpec::S2Proxy {
        store_id: "s".into(),
        push_to: String::new(),
        ping_to: "https://p.example/ping".into(),
    };
    let (mut tab, _) = tab_at(proxy);
    tab.answer_request(200, "data: [DONE]\n\n");
    tab.advance(10_000);
    let ping = tab.answer_request(200, "");
    assert_eq!((ping.method, ping.path.as_str()), (Method::Head, "https://p.example/ping"));

    for dialect in [MizuDialect::V03, MizuDialect::Plan] {
        let mizu = BackendSpec::Mizu { scope: "s".into(), dialect, poke: None, poke_url: None };
        let (mut tab, _) = tab_at(mizu);
        tab.answer_request(200, r#"{"data":{},"cursor":7}"#);
        tab.advance(10_000);
        let ping = tab.answer_request(200, r#"{"changes":null,"has_more":false,"cursor":7}"#);
        assert_eq!(ping.path, "/_sync/pull", "it has none, and a pull shows as much");
        assert!(tab.requests.is_empty(), "nothing is new");
    }
}

#[test]
fn what_fails_is_not_pinged_besides_and_what_is_held_not_at_all() {
    let (mut tab, remote) = tab_at(store(LiveStoreWire::Http));
    tab.answer_request(200, &page());
    let mut asked = 0;
    for _ in 0..600 {
        tab.advance(1_000);
        while !tab.requests.is_empty() {
            asked += 1;
            fail(&mut tab);
        }
    }
    assert!((20..80).contains(&asked), "{asked} requests in ten minutes");
    tab.engine.pause(tab.now, "test");
    tab.advance(600_000);
    assert!(tab.requests.is_empty());
    tab.engine.resume(tab.now);
    tab.settle();
    tab.answer_request(200, &page());
    assert!(view(&tab, remote).connected);
}

#[test]
fn a_socket_that_is_refused_for_its_payload_is_asked_about_once_more_and_then_held() {
    for (wire, body) in [
        (LiveStoreWire::WebSocket, "UnknownError: Error: Invalid auth token"),
        (LiveStoreWire::Auto, "UnknownError: Error: Invalid auth token"),
        (LiveStoreWire::V03, "UnexpectedError: Error: Invalid auth token"),
    ] {
        let (mut tab, remote) = tab_at(store(wire));
        refuse_socket(&mut tab, remote, 400, body);
        assert_eq!(view(&tab, remote).state, RemoteState::Offline, "it is tried once more with fresh ones");
        refuse_socket(&mut tab, remote, 401, "");
        assert_eq!((view(&tab, remote).connected, view(&tab, remote).state), (false, RemoteState::Auth));
        assert_eq!(view(&tab, remote).last_error.unwrap().code, "auth_required");
        tab.advance(600_000);
        assert!(tab.live.is_empty() && tab.requests.is_empty(), "it waits for the app");
        tab.engine.resume(tab.now);
        tab.settle();
        assert_eq!(tab.live, [remote]);
    }
}

#[test]
fn a_connection_that_is_closed_for_its_credentials_is_opened_with_new_ones() {
    let (mut tab, remote) = tab_at(store(LiveStoreWire::WebSocket));
    tab.hear(remote, LiveEvent::Opened);
    tab.live.clear();
    tab.hear(remote, LiveEvent::Refused("closed by 4401".into()));
    assert_eq!(tab.live, [remote], "at once: the token may just have expired");
    tab.hear(remote, LiveEvent::Opened);
    tab.live.clear();
    tab.hear(remote, LiveEvent::Refused("closed by 4401".into()));
    assert_eq!(view(&tab, remote).state, RemoteState::Auth);
}

#[test]
fn a_server_that_is_not_there_is_offline_and_no_matter_of_credentials() {
    let (mut tab, remote) = tab_at(store(LiveStoreWire::Auto));
    for _ in 0..5 {
        tab.live.clear();
        tab.hear(remote, LiveEvent::Closed);
        fail(&mut tab);
        assert_eq!(view(&tab, remote).state, RemoteState::Offline);
        tab.advance(60_000);
    }
}

#[test]
fn where_no_socket_can_be_opened_requests_stand_in_for_it_until_one_can() {
    let (mut tab, remote) = tab_at(store(LiveStoreWire::Auto));
    refuse_socket(&mut tab, remote, 426, "Durable Object expected Upgrade: websocket");
    let pull = tab.answer_request(200, &page());
    assert_eq!(pull.path, "?storeId=s&transport=http");
    assert_eq!((view(&tab, remote).connected, view(&tab, remote).state), (true, RemoteState::Polling));
    tab.insert(driftline_core::spec::CollectionId(0), "a", json!({ "id": "a" })).unwrap();
    tab.settle();
    let push = tab.answer_request(200, &exit());
    assert_eq!(serde_json::from_str::<Value>(&push.body).unwrap()["tag"], "SyncHttpRpc.Push");
    // A socket is tried from time to time, and nothing that fails there holds up the rest.
    tab.advance(60_000);
    assert_eq!(tab.live, [remote]);
    while !tab.requests.is_empty() {
        tab.answer_request(200, &page());
    }
    tab.hear(remote, LiveEvent::Opened);
    assert!(tab.frames.iter().any(|frame| frame.contains("SyncWsRpc.Pull")), "{:?}", tab.frames);
}

#[test]
fn without_a_substitute_the_error_says_that_the_server_takes_no_socket() {
    let (mut tab, remote) = tab_at(store(LiveStoreWire::WebSocket));
    refuse_socket(&mut tab, remote, 426, "");
    assert_eq!(view(&tab, remote).state, RemoteState::Offline);
    assert!(view(&tab, remote).last_error.unwrap().message.contains("no WebSocket"));
}

#[test]
fn a_ping_of_the_apps_is_answered_by_what_the_backend_says_next() {
    let (mut tab, remote) = tab_at(store(LiveStoreWire::WebSocket));
    tab.hear(remote, LiveEvent::Opened);
    tab.frames.clear();
    tab.engine.ping(tab.now, remote).unwrap();
    tab.settle();
    assert!(tab.pinged.is_empty());
    tab.hear(remote, LiveEvent::Frame(r#"{"_tag":"Pong"}"#.into()));
    assert_eq!(tab.pinged, [None]);
    tab.engine.ping(tab.now, remote).unwrap();
    tab.settle();
    tab.live.clear();
    tab.hear(remote, LiveEvent::Closed);
    assert_eq!(tab.pinged, [None, Some("offline".into())]);
    // While it is offline, a ping does not wait for the back-off.
    tab.requests.clear();
    tab.engine.ping(tab.now, remote).unwrap();
    tab.settle();
    assert_eq!(tab.live, [remote]);
    refuse_socket(&mut tab, remote, 401, "");
    refuse_socket(&mut tab, remote, 401, "");
    tab.pinged.clear();
    tab.engine.ping(tab.now, remote).unwrap();
    tab.settle();
    assert_eq!(tab.pinged, [Some("auth_required".into())], "nothing is asked before the app resumes");
}

#[test]
fn a_ping_over_http_is_a_request_of_its_own() {
    let (mut tab, remote) = tab_at(store(LiveStoreWire::Http));
    tab.answer_request(200, &page());
    for _ in 0..2 {
        tab.engine.ping(tab.now, remote).unwrap();
        tab.settle();
    }
    assert_eq!(tab.requests.len(), 1, "two that ask at once share it");
    tab.answer_request(200, &exit());
    assert_eq!(tab.pinged, [None]);
    let unused = tab.engine.connect(
        tab.now,
        driftline_core::RemoteSpec {
            id: "other".into(),
            backend: store(LiveStoreWire::Http),
            retry: Default::default(),
            ping_ms: None,
        },
    );
    let error = tab.engine.ping(tab.now, unused.unwrap()).unwrap_err();
    assert_eq!(error.code, driftline_core::Code::NotInitialized);
}

#[test]
fn a_tab_that_does_not_lead_has_the_leader_ask() {
    let disk = Disk::default();
    let mut leader = Tab::open(&disk, 1);
    let remote = leader.connect(store(LiveStoreWire::Http));
    leader.register_at("todos", remote, "todo");
    leader.answer_request(200, &page());
    let mut follower = Tab::open_with(&disk, 2, false);
    let same = follower.connect(store(LiveStoreWire::Http));
    follower.register_at("todos", same, "todo");
    follower.engine.ping(follower.now, same).unwrap();
    follower.settle();
    for note in std::mem::take(&mut follower.notes) {
        leader.input(Input::TabNote(note));
    }
    leader.settle();
    fail(&mut leader);
    for note in std::mem::take(&mut leader.notes) {
        follower.input(Input::TabNote(note));
    }
    follower.settle();
    assert_eq!(follower.pinged, [Some("offline".into())]);
    assert!(leader.pinged.is_empty(), "nobody asked there");
}
