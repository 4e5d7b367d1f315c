//! The plan's dialect over HTTP: on the log that the other dialect shows too.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::TestServer;
use serde_json::{Value, json};

async fn post(server: &TestServer, path: &str, body: &Value) -> Value {
    let (status, text) = server.post(&format!("/plan/_sync{path}"), body.to_string()).await;
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn mutation(seq: u64, name: &str, args: &Value) -> Value {
    json!({ "name": name, "args": args, "client_id": "c1", "client_seq": seq, "scope": "s1" })
}

async fn push(server: &TestServer, mutations: &[Value]) -> Value {
    post(server, "/push", &json!({ "mutations": mutations })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn mutations_become_changes_that_name_entity_row_and_operation() {
    let server = TestServer::start().await;
    let answer = push(
        &server,
        &[
            mutation(1, "todo/create", &json!({ "id": "t1", "title": "one" })),
            mutation(2, "todo/update", &json!({ "id": "t1", "done": true })),
            mutation(3, "todo/create", &json!({ "id": "t2" })),
            mutation(4, "todo/delete", &json!({ "id": "t2" })),
        ],
    )
    .await;
    assert!(answer["results"].as_array().unwrap().iter().all(|result| result["ok"] == true), "{answer}");
    assert_eq!(answer["cursor"], answer["results"][3]["cursor"]);
    let page = post(&server, "/pull", &json!({ "scope": "s1", "cursor": 0 })).await;
    let told: Vec<_> = page["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| {
            (
                change["op"].as_str().unwrap(),
                change["entity"].as_str().unwrap(),
                change["id"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("create", "todo", "t1"),
            ("update", "todo", "t1"),
            ("create", "todo", "t2"),
            ("delete", "todo", "t2")
        ]
    );
    assert_eq!(page["changes"][1]["data"], json!({ "id": "t1", "title": "one", "done": true }));
    assert!(page["changes"][0]["ts"].as_str().unwrap().contains('T'));
    assert_eq!((&page["cursor"], &page["has_more"]), (&answer["cursor"], &json!(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_is_known_by_client_and_count() {
    let server = TestServer::start().await;
    let create = mutation(1, "todo/create", &json!({ "id": "t1", "title": "one" }));
    let update = mutation(2, "todo/update", &json!({ "id": "t1", "title": "two" }));
    push(&server, &[create.clone(), update.clone()]).await;
    push(&server, &[mutation(3, "todo/update", &json!({ "id": "t1", "title": "three" }))]).await;
    let again = push(&server, &[create, update]).await;
    assert!(
        again["results"]
            .as_array()
            .unwrap()
            .iter()
            .all(|result| result["ok"] == true && result.get("changes").is_none()),
        "{again}"
    );
    let snapshot = post(&server, "/snapshot", &json!({ "scope": "s1" })).await;
    assert_eq!(snapshot["data"]["todo"]["t1"]["title"], "three");
    let other = json!({ "name": "todo/create", "args": { "id": "t9" }, "client_id": "c2", "client_seq": 1, "scope": "s1" });
    assert_eq!(push(&server, &[other]).await["results"][0]["changes"][0]["id"], "t9");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_join_without_a_gap_and_the_head_answers_its_own_cursor() {
    let server = TestServer::start().await;
    let all: Vec<_> =
        (1..=5).map(|n| mutation(n, "todo/create", &json!({ "id": format!("t{n}") }))).collect();
    let head = push(&server, &all).await["cursor"].clone();
    let (mut cursor, mut seen) = (json!(0), 0);
    for more in [true, true, false] {
        let page = post(&server, "/pull", &json!({ "scope": "s1", "cursor": cursor, "limit": 2 })).await;
        seen += page["changes"].as_array().unwrap().len();
        assert_eq!(page["has_more"], more);
        cursor = page["cursor"].clone();
    }
    assert_eq!((seen, &cursor), (5, &head));
    let at_head = post(&server, "/pull", &json!({ "scope": "s1", "cursor": head })).await;
    assert_eq!(at_head, json!({ "changes": null, "cursor": head, "has_more": false }));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_the_texts_of_this_dialect() {
    let server = TestServer::start().await;
    let answer = push(
        &server,
        &[
            mutation(1, "todo/nope", &json!({})),
            mutation(2, "todo/update", &json!({ "id": "missing" })),
            mutation(3, "todo/create", &json!({ "id": "t1" })),
        ],
    )
    .await;
    let text = |at: usize| answer["results"][at]["error"].as_str().unwrap_or_default().to_owned();
    assert!(text(0).starts_with("sync: unknown mutation"), "{answer}");
    assert_eq!(text(1), "sync: entity not found");
    assert_eq!(answer["results"][2]["ok"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_dialects_show_one_log() {
    let server = TestServer::start().await;
    push(&server, &[mutation(1, "todo/create", &json!({ "id": "t1" }))]).await;
    server.push(vec![common::create("s1", "t2")]).await;
    let page = post(&server, "/pull", &json!({ "scope": "s1", "cursor": 0 })).await;
    assert_eq!(page["changes"][1]["id"], "t2");
    assert_eq!(server.pull("s1", 0).await.changes.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_of_this_dialect_is_refused() {
    let server = TestServer::start().await;
    for (path, body) in [
        ("/push", json!({ "mutations": [] })),
        ("/push", json!({ "mutations": [{ "id": "m1", "name": "todo/create", "scope": "s1", "args": {} }] })),
        (
            "/push",
            json!({ "mutations": [{ "name": "todo/create", "client_id": "c".repeat(200), "client_seq": 1 }] }),
        ),
        ("/push", json!({ "mutations": [{ "name": "todo/create", "client_id": "c", "client_seq": -1 }] })),
        ("/pull", json!({ "scope": "s1", "cursor": -1 })),
        ("/snapshot", json!({})),
    ] {
        let (status, text) = server.post(&format!("/plan/_sync{path}"), body.to_string()).await;
        assert_eq!(status, 400, "{body}: {text}");
        assert_eq!(common::code(&text), "invalid_mutation");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trimmed_log_answers_that_the_cursor_is_too_old() {
    let server = TestServer::start().await;
    for n in 1..=3 {
        push(&server, &[mutation(n, "todo/create", &json!({ "id": format!("t{n}") }))]).await;
    }
    server.engine.trim("s1", 3).unwrap();
    let body = json!({ "scope": "s1", "cursor": 1 }).to_string();
    let (status, text) = server.post("/plan/_sync/pull", body).await;
    assert_eq!((status, common::code(&text).as_str()), (410, "cursor_too_old"));
}
