//! Pokes over a WebSocket, in both dialects.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::socket::Socket;
use common::{TestServer, create};
use driftline_protocol::mizu::live::Frame;
use driftline_protocol::mizu::plan;
use driftline_server::engine::EntityMutator;

fn subscribe(scope: &str, reference: &str) -> String {
    Frame::Subscribe { scope: scope.into(), reference: reference.into() }.encode()
}

fn poke(scope: &str, cursor: u64) -> Frame {
    Frame::Poke { scope: scope.into(), cursor }
}

async fn frame(socket: &mut Socket) -> Frame {
    Frame::decode(&socket.text().await).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_is_told_the_head_at_once_and_then_each_time_it_moves() {
    let server = TestServer::start().await;
    server.push(vec![create("s1", "t1")]).await;
    for path in ["/ws", "/_sync/ws"] {
        let head = server.pull("s1", 0).await.next_cursor.unwrap();
        let mut socket = Socket::open(&server.url, path).await;
        socket.send(&subscribe("s1", "r1")).await;
        assert_eq!(frame(&mut socket).await, Frame::Ack { scope: "s1".into(), reference: "r1".into() });
        assert_eq!(frame(&mut socket).await, poke("s1", head));
        let pushed =
            server.push(vec![create("s1", &format!("after {head}"))]).await.results[0].cursor.unwrap();
        assert_eq!(frame(&mut socket).await, poke("s1", pushed));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_of_the_address_is_subscribed_to_without_a_frame() {
    let server = TestServer::start().await;
    let mut socket = Socket::open(&server.url, "/ws?scope=s%201").await;
    assert_eq!(frame(&mut socket).await, poke("s 1", 0));
    let cursor = server.push(vec![create("s 1", "t1")]).await.results[0].cursor.unwrap();
    assert_eq!(frame(&mut socket).await, poke("s 1", cursor));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_hears_its_own_scopes_only_and_none_after_unsubscribing() {
    let server = TestServer::start().await;
    let mut socket = Socket::open(&server.url, "/ws?scope=mine").await;
    assert_eq!(frame(&mut socket).await, poke("mine", 0));
    server.push(vec![create("other", "t1")]).await;
    let cursor = server.push(vec![create("mine", "t1")]).await.results[0].cursor.unwrap();
    assert_eq!(frame(&mut socket).await, poke("mine", cursor));
    socket.send(&Frame::Unsubscribe { scope: "mine".into() }.encode()).await;
    // Frames are taken in order: once this one is answered, the one before it has been taken.
    socket.send(&subscribe("other", "r")).await;
    assert!(matches!(frame(&mut socket).await, Frame::Ack { .. }));
    assert!(matches!(frame(&mut socket).await, Frame::Poke { scope, .. } if scope == "other"));
    server.push(vec![create("mine", "t2")]).await;
    let cursor = server.push(vec![create("other", "t2")]).await.results[0].cursor.unwrap();
    assert_eq!(frame(&mut socket).await, poke("other", cursor));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plans_route_pokes_in_binary() {
    let server = TestServer::start().await;
    let mut socket = Socket::open(&server.url, "/plan/ws?scope=s1").await;
    for cursor in [0, 1] {
        let message = socket.next().await.unwrap();
        assert!(message.is_binary(), "{message:?}");
        let poke = plan::Poke::decode(&message.into_data()).unwrap();
        assert_eq!(poke, Some(plan::Poke { scope: "s1".into(), cursor }));
        if cursor == 0 {
            server.push(vec![create("s1", "t1")]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_frame_of_syncs_is_passed_over() {
    let server = TestServer::start().await;
    let mut socket = Socket::open(&server.url, "/ws").await;
    for text in ["", "{", "[]", "7", r#"{"topic":"chat","data":{"type":"subscribe","ref":"r"}}"#] {
        socket.send(text).await;
    }
    socket.send(&subscribe("s1", "r1")).await;
    assert!(matches!(frame(&mut socket).await, Frame::Ack { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_that_is_not_served_is_refused_once_and_the_others_go_on() {
    let allow = |config: &mut driftline_server::Config| config.allow_scope = vec!["s1".into()];
    let server = TestServer::start_with(allow, EntityMutator::new()).await;
    let mut socket = Socket::open(&server.url, "/ws").await;
    socket.send(&subscribe("other", "r1")).await;
    socket.send(&subscribe("other", "r2")).await;
    socket.send(&subscribe("s1", "r3")).await;
    let refused = frame(&mut socket).await;
    assert_eq!(refused, Frame::Error { scope: "other".into(), message: "scope not allowed".into() });
    assert_eq!(frame(&mut socket).await, Frame::Ack { scope: "s1".into(), reference: "r3".into() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_foreign_origin_gets_no_socket() {
    let server = TestServer::start_with(
        |config| config.allow_origin = vec!["https://app.example".into()],
        EntityMutator::new(),
    )
    .await;
    let open =
        async |origin: Option<&str>| Socket::try_open(&server.url, "/ws", origin).await.map(|_| ()).err();
    assert_eq!(open(Some("https://evil.example")).await, Some(403));
    assert_eq!(open(Some("null")).await, Some(403));
    assert_eq!(open(Some("https://app.example")).await, None);
    assert_eq!(open(Some(&server.url)).await, None);
    assert_eq!(open(None).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_request_is_told_what_the_address_takes() {
    let server = TestServer::start().await;
    let answer = server.http.get(format!("{}/ws", server.url)).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert!(answer.text().await.unwrap().contains("WebSockets only"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_closes_its_sockets_and_ends() {
    let mut server = TestServer::start().await;
    let mut socket = Socket::open(&server.url, "/ws?scope=s1").await;
    assert_eq!(frame(&mut socket).await, poke("s1", 0));
    let stopped = server.stop();
    assert!(socket.next().await.is_none());
    stopped.await.unwrap();
}
