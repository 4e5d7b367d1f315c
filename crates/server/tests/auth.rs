//! Tokens: without a good one nothing is read or written, over any wire.

mod common;

use common::TestServer;
use driftline_server::engine::EntityMutator;

async fn guarded() -> TestServer {
    let tokens = vec!["one".to_owned(), "two".to_owned()];
    TestServer::start_with(|config| config.auth_token = tokens, EntityMutator::new()).await
}

const PULL: &str = r#"{"scope":"s","cursor":0}"#;
const LIVESTORE_PING: &str = r#"{"_tag":"Request","id":"0","tag":"SyncHttpRpc.Ping","payload":{"storeId":"s","payload":null},"headers":[]}"#;

#[tokio::test]
async fn any_of_the_tokens_opens_every_route_and_nothing_else_does() {
    let server = guarded().await;
    let ask = async |path: &str, body: &'static str, authorization: Option<&str>| {
        let mut request = server.http.post(format!("{}{path}", server.url)).body(body);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        request.send().await.expect("the server answers")
    };
    for path in ["/_sync/pull", "/plan/_sync/pull"] {
        for (authorization, status) in [
            (None, 401),
            (Some("Bearer three"), 401),
            (Some("Bearer "), 401),
            (Some("one"), 401),
            (Some("Bearer one"), 200),
            (Some("Bearer two"), 200),
        ] {
            let answer = ask(path, PULL, authorization).await;
            assert_eq!(answer.status(), status, "{path} {authorization:?}");
        }
    }
    let refused = ask("/_sync/pull", PULL, None).await;
    assert_eq!(refused.headers()["www-authenticate"], "Bearer");
    assert!(refused.text().await.expect("a text").contains(r#""code":"unauthorized""#));
    for path in [
        "/events?scope=s",
        "/metrics",
        "/files/00",
        "/ws",
        "/livestore?storeId=s",
        "/livestore/websocket?storeId=s",
    ] {
        let answer =
            server.http.get(format!("{}{path}", server.url)).send().await.expect("the server answers");
        assert_eq!(answer.status(), 401, "{path}");
    }
    let health = server.http.get(format!("{}/healthz", server.url)).send().await.expect("the server answers");
    assert_eq!(health.status(), 200);
}

#[tokio::test]
async fn livestores_clients_show_theirs_in_the_payload() {
    let server = guarded().await;
    for (payload, status) in [
        ("%7B%22authToken%22%3A%22one%22%7D", 200),
        ("%257B%2522authToken%2522%253A%2522two%2522%257D", 200),
        ("%7B%22authToken%22%3A%22three%22%7D", 401),
        ("one", 401),
    ] {
        let path = format!("/livestore?storeId=s&transport=http&payload={payload}");
        assert_eq!(server.post(&path, LIVESTORE_PING).await.0, status, "{payload}");
    }
    let elsewhere = "/_sync/pull?payload=%7B%22authToken%22%3A%22one%22%7D";
    assert_eq!(server.post(elsewhere, PULL).await.0, 401, "only where the published wire has it there");
}
