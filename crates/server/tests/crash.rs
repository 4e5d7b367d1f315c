//! The real binary, killed with SIGKILL under load and told to stop with SIGTERM.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::process::ServerProcess;
use common::{bytes, create, digest_of, header};
use driftline_protocol::mizu::{PullResponse, PushRequest, PushResponse, SnapshotResponse};

/// Pushes one mutation after the other until the server is gone, and notes each that was acknowledged.
async fn push_until_gone(
    url: String,
    client: usize,
    round: usize,
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
) {
    let http = reqwest::Client::new();
    for index in 0.. {
        let id = format!("r{round}-c{client}-{index}");
        let body = serde_json::to_string(&PushRequest { mutations: vec![create("s", &id)] }).unwrap();
        let Ok(response) = http.post(format!("{url}/_sync/push")).body(body).send().await else { return };
        let Ok(text) = response.text().await else { return };
        let push: PushResponse = serde_json::from_str(&text).unwrap();
        assert!(push.results[0].ok, "{text}");
        acknowledged.lock().unwrap().insert(id);
    }
}

async fn all_changes(url: &str) -> Vec<String> {
    let http = reqwest::Client::new();
    let (mut cursor, mut ids) = (0, Vec::new());
    loop {
        let body = format!(r#"{{"scope":"s","cursor":{cursor},"limit":1000}}"#);
        let text =
            http.post(format!("{url}/_sync/pull")).body(body).send().await.unwrap().text().await.unwrap();
        let page: PullResponse = serde_json::from_str(&text).unwrap();
        for change in page.changes.into_iter().flatten() {
            let data: serde_json::Value = serde_json::from_str(change.data.get()).unwrap();
            ids.push(data["todo"]["id"].as_str().unwrap().to_owned());
        }
        cursor = page.next_cursor.unwrap_or(cursor);
        if !page.has_more {
            return ids;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_under_load_loses_nothing_acknowledged_and_applies_nothing_twice() {
    let data = tempfile::tempdir().unwrap();
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    for round in 0..3 {
        let mut server = ServerProcess::start(data.path());
        let clients: Vec<_> = (0..8)
            .map(|client| {
                tokio::spawn(push_until_gone(server.url.clone(), client, round, acknowledged.clone()))
            })
            .collect();
        let before = acknowledged.lock().unwrap().len();
        while acknowledged.lock().unwrap().len() < before + 100 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.kill();
        for client in clients {
            client.await.unwrap();
        }
    }
    let server = ServerProcess::start(data.path());
    let acknowledged = acknowledged.lock().unwrap().clone();
    // Each client sends its last mutation again, not knowing whether it landed; and some that it knows of.
    let http = reqwest::Client::new();
    for id in acknowledged.iter().step_by(10) {
        let body = serde_json::to_string(&PushRequest { mutations: vec![create("s", id)] }).unwrap();
        let text = http
            .post(format!("{}/_sync/push", server.url))
            .body(body)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let push: PushResponse = serde_json::from_str(&text).unwrap();
        assert!(push.results[0].ok && push.results[0].changes.is_empty(), "{text}");
    }
    let changes = all_changes(&server.url).await;
    let distinct: BTreeSet<_> = changes.iter().cloned().collect();
    assert_eq!(changes.len(), distinct.len(), "a mutation was applied twice");
    assert!(acknowledged.is_subset(&distinct), "an acknowledged mutation is lost");
    let body = r#"{"scope":"s"}"#;
    let text = http
        .post(format!("{}/_sync/snapshot", server.url))
        .body(body)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let snapshot: SnapshotResponse = serde_json::from_str(&text).unwrap();
    let rows: BTreeSet<_> = snapshot.data["todos"].as_ref().unwrap().keys().cloned().collect();
    assert_eq!(rows, distinct, "rows and log differ");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_parts_goes_on_after_a_kill_where_the_last_acknowledged_part_ended() {
    let data = tempfile::tempdir().unwrap();
    let blob = bytes(3_000_000);
    let digest = digest_of(&blob);
    let http = reqwest::Client::new();
    let mut server = ServerProcess::start(data.path());
    let url = format!("{}/files/{digest}", server.url);
    let part = &blob[..1_000_000];
    let request = http.put(&url).header("content-range", "bytes 0-999999/3000000").body(part.to_vec());
    let response = request.send().await.unwrap();
    assert_eq!((response.status().as_u16(), header(&response, "upload-offset")), (202, "1000000"));
    // The next part is under way when the server dies.
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    sender.send(Ok(blob[1_000_000..2_000_000].to_vec())).await.unwrap();
    let stream = futures_util::stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    let request = http.put(&url).header("content-range", "bytes 1000000-2999999/3000000");
    let cut_off = tokio::spawn(request.body(reqwest::Body::wrap_stream(stream)).send());
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.kill();
    drop(sender);
    assert!(cut_off.await.unwrap().is_err());

    let server = ServerProcess::start(data.path());
    let url = format!("{}/files/{digest}", server.url);
    let response = http.head(&url).send().await.unwrap();
    assert_eq!((response.status().as_u16(), header(&response, "upload-resume")), (404, "v1"));
    let offset: usize = header(&response, "upload-offset").parse().unwrap();
    assert!((1_000_000..=2_000_000).contains(&offset), "{offset}");
    let request = http.put(&url).header("content-range", format!("bytes {offset}-2999999/3000000"));
    let response = request.body(blob[offset..].to_vec()).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 201);
    assert_eq!(http.get(&url).send().await.unwrap().bytes().await.unwrap(), blob);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_gets_sigterm_ends_by_itself_and_successfully() {
    let data = tempfile::tempdir().unwrap();
    let mut server = ServerProcess::start(data.path());
    let mut events = reqwest::get(format!("{}/events?scope=s", server.url)).await.unwrap();
    events.chunk().await.unwrap().unwrap();
    server.terminate();
    assert_eq!(events.chunk().await.unwrap(), None);
    assert!(server.child.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_directory_does_not_start() {
    let data = tempfile::tempdir().unwrap();
    let _first = ServerProcess::start(data.path());
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_driftline-server"))
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(data.path())
        .output()
        .unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("which another server uses"));
}
