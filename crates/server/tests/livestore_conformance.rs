//! The testkit's suite for servers of LiveStore's sync-cf, over real sockets; and what is ours alone.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::TestServer;
use common::socket::Socket;
use driftline_protocol::livestore::v03 as wire_v03;
use driftline_protocol::livestore::v04::{Exit, Failure, ServerFrame, Transport};
use driftline_server::engine::EntityMutator;
use driftline_testkit::livestore::{FrameSocket, LiveStoreServer};

mod suite_of {
    pub use driftline_testkit::livestore::{v03 as in_v03, v04 as in_v04};
}

/// The server in one of its two dialects.
struct OverSockets(TestServer, Dialect);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    V03,
    V04,
}

impl LiveStoreServer for OverSockets {
    type Socket = Socket;

    fn store(&mut self, name: &str) -> String {
        name.to_owned()
    }

    async fn connect(&mut self, store: &str) -> Socket {
        let url = format!("{}/livestore", self.0.url);
        let address = match self.1 {
            Dialect::V03 => wire_v03::address(&format!("{url}/websocket"), store, None),
            Dialect::V04 => Transport::WebSocket.address(&url, store, None),
        };
        Socket::open(&address, "").await
    }

    async fn post(&mut self, store: &str, body: &str) -> String {
        let address = Transport::Http.address("http://server/livestore", store, None);
        let path = address.strip_prefix("http://server").unwrap();
        let (status, text) = self.0.post(path, body.to_owned()).await;
        assert_eq!(status, 200, "{text}");
        text
    }
}

impl FrameSocket for Socket {
    async fn send(&mut self, frame: String) {
        Socket::send(self, &frame).await;
    }

    async fn receive(&mut self) -> String {
        self.text().await
    }
}

macro_rules! checks {
    ($dialect:ident $suite:ident $($name:ident)*) => {
        mod $suite {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                suite_of::$suite::$name(&mut OverSockets(TestServer::start().await, Dialect::$dialect)).await;
            })*
        }
    };
}

macro_rules! v04_checks {
    ($($name:ident)*) => { checks! { V04 in_v04 $($name)* } };
}

macro_rules! v03_checks {
    ($($name:ident)*) => { checks! { V03 in_v03 $($name)* } };
}

driftline_testkit::for_each_livestore_v04_check!(v04_checks);
driftline_testkit::for_each_livestore_v03_check!(v03_checks);

async fn answer(socket: &mut Socket, text: &str) -> ServerFrame {
    Socket::send(socket, text).await;
    ServerFrame::decode(&socket.text().await).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_for_another_store_than_the_addresss_is_refused() {
    let mut server = OverSockets(TestServer::start().await, Dialect::V04);
    let mut socket = server.connect("mine").await;
    let pull = r#"{"_tag":"Request","id":"0","tag":"SyncWsRpc.Pull","payload":{"storeId":"other","live":false,"cursor":{"_tag":"None"}},"headers":[]}"#;
    let frame = answer(&mut socket, pull).await;
    assert!(
        matches!(frame, ServerFrame::Exit { exit: Exit::Failure(Failure::Defect { .. }), .. }),
        "{frame:?}"
    );
    let text = server.post("mine", &pull.replace("Ws", "Http")).await;
    assert!(
        matches!(ServerFrame::decode_http(&text).unwrap().1, Exit::Failure(Failure::Defect { .. })),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_inside_a_batch_is_refused_and_nothing_is_stored() {
    let mut server = OverSockets(TestServer::start().await, Dialect::V04);
    let event = |seq: u64, parent: u64| {
        format!(
            r#"{{"name":"n","args":{{}},"seqNum":{seq},"parentSeqNum":{parent},"clientId":"c","sessionId":"s"}}"#
        )
    };
    let push = format!(
        r#"{{"_tag":"Request","id":"0","tag":"SyncHttpRpc.Push","payload":{{"storeId":"gap","batch":[{},{}],"backendId":{{"_tag":"None"}}}},"headers":[]}}"#,
        event(1, 0),
        event(9, 1)
    );
    let (_, exit) = ServerFrame::decode_http(&server.post("gap", &push).await).unwrap();
    assert!(
        matches!(&exit, Exit::Failure(Failure::Other { name, .. }) if name == "InvalidPushError"),
        "{exit:?}"
    );
    let pull = r#"{"_tag":"Request","id":"0","tag":"SyncHttpRpc.Pull","payload":{"storeId":"gap","cursor":{"_tag":"None"}},"headers":[]}"#;
    let (pages, _) = ServerFrame::decode_http(&server.post("gap", pull).await).unwrap();
    assert!(pages[0].batch.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_page_a_store_that_is_not_served_and_a_nameless_one_get_no_socket() {
    let allow = |config: &mut driftline_server::Config| config.allow_scope = vec!["s1".into()];
    let server = TestServer::start_with(allow, EntityMutator::new()).await;
    for (path, origin, status) in [
        ("/livestore?storeId=s1&transport=ws", Some("https://evil.example"), Some(403)),
        ("/livestore?storeId=s2&transport=ws", None, Some(403)),
        ("/livestore?storeId=&transport=ws", None, Some(400)),
        ("/livestore?transport=ws", None, Some(400)),
        ("/livestore?storeId=s1&transport=ws", None, None),
    ] {
        let opened = Socket::try_open(&server.url, path, origin).await;
        assert_eq!(opened.map(|_| ()).err(), status, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_dialects_show_one_log() {
    let mut server = OverSockets(TestServer::start().await, Dialect::V03);
    let mut old = server.connect("one").await;
    let event = |seq: u64| {
        format!(
            r#"{{"name":"n","args":{{}},"seqNum":{seq},"parentSeqNum":{},"clientId":"c","sessionId":"s"}}"#,
            seq - 1
        )
    };
    Socket::send(
        &mut old,
        &format!(r#"{{"_tag":"WSMessage.PushReq","requestId":"p1","batch":[{}]}}"#, event(1)),
    )
    .await;
    assert!(old.text().await.contains("PushAck"));
    assert!(old.text().await.contains(r#""context":"push","requestId":"p1""#));
    let push = format!(
        r#"{{"_tag":"Request","id":"0","tag":"SyncHttpRpc.Push","payload":{{"storeId":"one","batch":[{}],"backendId":{{"_tag":"None"}}}},"headers":[]}}"#,
        event(2)
    );
    let (_, exit) = ServerFrame::decode_http(&server.post("one", &push).await).unwrap();
    assert_eq!(exit, Exit::Success);
    let told = wire_v03::ServerFrame::decode(&old.text().await).unwrap();
    let wire_v03::ServerFrame::Page { batch, context, .. } = told else { panic!("{told:?}") };
    assert_eq!((batch[0].event.seq_num, context), (2, wire_v03::Context::Push("broadcast".into())));
}
