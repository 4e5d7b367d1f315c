//! The sync routes over real HTTP: exactly once, pokes, limits, origins.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{TestServer, code, create, header};
use driftline_server::engine::EntityMutator;

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_duplicates_of_a_push_are_applied_once() {
    let server = TestServer::start().await;
    let pushes = (0..40).flat_map(|round| {
        (0..4).map(move |_| vec![create("s", &format!("a{round}")), create("s", &format!("b{round}"))])
    });
    let answers = futures_util::future::join_all(pushes.map(|push| server.push(push))).await;
    assert!(answers.iter().flat_map(|answer| &answer.results).all(|result| result.ok));
    let fresh =
        answers.iter().flat_map(|answer| &answer.results).filter(|result| !result.changes.is_empty()).count();
    let changes = server.pull("s", 0).await.changes.unwrap();
    let distinct: BTreeSet<_> = changes.iter().map(|change| change.data.get()).collect();
    assert_eq!((fresh, changes.len(), distinct.len()), (80, 80, 80));
    assert!(changes.is_sorted_by_key(|change| change.cursor));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_gets_the_head_at_once_and_each_later_one_that_it_can_take() {
    let server = TestServer::start().await;
    server.push(vec![create("s", "1")]).await;
    for path in ["/_sync/events", "/events"] {
        let mut events = server.http.get(format!("{}{path}?scope=s", server.url)).send().await.unwrap();
        assert_eq!(header(&events, "content-type"), "text/event-stream");
        let head = server.engine.head("s").unwrap();
        assert_eq!(next_cursor(&mut events).await, head);
        server.push(vec![create("other", &format!("{path}0"))]).await;
        server.push(vec![create("s", &format!("{path}1")), create("s", &format!("{path}2"))]).await;
        assert_eq!(next_cursor(&mut events).await, head + 3);
    }
}

async fn next_cursor(events: &mut reqwest::Response) -> u64 {
    let chunk = events.chunk().await.unwrap().unwrap();
    let text = String::from_utf8(chunk.to_vec()).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "event: sync", "{text}");
    let data = lines[1].strip_prefix(r#"data: {"type":"sync","payload":{"cursor":"#).unwrap();
    data.strip_suffix("}}").unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_reads_nothing_holds_no_push_up_and_then_gets_the_newest() {
    let server = TestServer::start().await;
    let mut events = server.http.get(format!("{}/events?scope=s", server.url)).send().await.unwrap();
    for index in 0..200 {
        server.push(vec![create("s", &index.to_string())]).await;
    }
    let mut seen = Vec::new();
    while seen.last() != Some(&200) {
        let text = String::from_utf8(events.chunk().await.unwrap().unwrap().to_vec()).unwrap();
        let data =
            text.lines().filter_map(|line| line.strip_prefix(r#"data: {"type":"sync","payload":{"cursor":"#));
        seen.extend(data.map(|data| data.trim_end_matches('}').parse::<u64>().unwrap()));
    }
    assert!(seen.is_sorted(), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_get_a_json_error_and_change_nothing() {
    let server = TestServer::start().await;
    server.push(vec![create("s", "kept")]).await;
    let long_scope = format!(r#"{{"scope":"{}"}}"#, "x".repeat(300));
    let deep = format!(r#"{{"mutations":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    let large = "x".repeat(1024 * 1024 + 1);
    for (path, body, status, expected) in [
        ("/_sync/push", "", 400, "invalid_mutation"),
        ("/_sync/push", "[]", 400, "invalid_mutation"),
        ("/_sync/push", &deep, 400, "invalid_mutation"),
        ("/_sync/push", "{\"mutations\":[{\"id\":\"\u{0}\"}]}", 400, "invalid_mutation"),
        ("/_sync/push", &large, 413, "too_large"),
        ("/_sync/pull", r#"{"cursor":18446744073709551616}"#, 400, "invalid_mutation"),
        ("/_sync/pull", &long_scope, 400, "invalid_mutation"),
        ("/_sync/snapshot", &long_scope, 400, "invalid_mutation"),
        ("/_sync/snapshot", r#"{"scope":"s"}{}"#, 400, "invalid_mutation"),
        ("/_sync/nothing", "{}", 404, "not_found"),
        ("/_sync", "{}", 404, "not_found"),
        ("/", "{}", 404, "not_found"),
        ("/healthz", "{}", 405, "method_not_allowed"),
    ] {
        let (got, text) = server.post(path, body.to_owned()).await;
        assert_eq!((got, code(&text).as_str()), (status, expected), "{path}: {text}");
    }
    let (_, text) = server.post("/_sync/push", vec![0xff, 0xfe]).await;
    assert_eq!(code(&text), "invalid_mutation");
    let response = server.http.get(format!("{}/_sync/push", server.url)).send().await.unwrap();
    assert_eq!((response.status().as_u16(), header(&response, "allow")), (405, "POST"));
    let response =
        server.http.get(format!("{}/events?scope={}", server.url, "x".repeat(300))).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 400);
    assert_eq!(server.engine.head("s").unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_with_too_many_or_too_large_fields_is_refused() {
    let server = TestServer::start().await;
    let mut request = server.http.get(format!("{}/healthz", server.url));
    for index in 0..150 {
        request = request.header(format!("x-{index}"), "x");
    }
    assert_eq!(request.send().await.unwrap().status().as_u16(), 431);
    // What is left unread may break the connection before the answer is seen.
    let request = server.http.get(format!("{}/healthz", server.url)).header("x-large", "x".repeat(300_000));
    assert!(request.send().await.map_or(431, |response| response.status().as_u16()) == 431);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_foreign_origin_changes_nothing_unless_it_is_allowed() {
    let allow = vec!["https://app.example".to_owned()];
    let server = TestServer::start_with(|config| config.allow_origin = allow, EntityMutator::new()).await;
    let own = server.url.clone();
    let push = r#"{"mutations":[{"scope":"s","name":"todo.delete","args":{"id":"1"}}]}"#;
    for (headers, status) in [
        (&[][..], 200),
        (&[("origin", own.as_str())], 200),
        (&[("origin", "https://app.example"), ("sec-fetch-site", "cross-site")], 200),
        (&[("origin", "https://proxied.example"), ("sec-fetch-site", "same-origin")], 200),
        (&[("origin", "https://evil.example")], 403),
        (&[("origin", "null")], 403),
        (&[("origin", own.as_str()), ("sec-fetch-site", "cross-site")], 403),
        (&[("sec-fetch-site", "same-site")], 403),
    ] {
        let mut request = server.http.post(format!("{}/_sync/push", server.url)).body(push);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        assert_eq!(request.send().await.unwrap().status().as_u16(), status, "{headers:?}");
    }
    let preflight = |origin: &'static str| {
        let request = server.http.request(reqwest::Method::OPTIONS, format!("{}/_sync/push", server.url));
        request.header("origin", origin).header("access-control-request-method", "POST").send()
    };
    let allowed = preflight("https://app.example").await.unwrap();
    assert_eq!(header(&allowed, "access-control-allow-origin"), "https://app.example");
    assert_eq!(header(&preflight("https://evil.example").await.unwrap(), "access-control-allow-origin"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_counters_are_there_for_those_who_run_the_server() {
    let server = TestServer::start().await;
    server.push(vec![create("s", "1"), create("s", "1")]).await;
    let get = async |path: &str| {
        server.http.get(format!("{}{path}", server.url)).send().await.unwrap().text().await.unwrap()
    };
    assert_eq!(get("/healthz").await, "{\"status\":\"ok\"}\n");
    let metrics = get("/metrics").await;
    assert!(metrics.contains("driftline_mutations_total{result=\"applied\"} 2\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_stop_ends_streams_finishes_requests_and_refuses_new_ones() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut server = TestServer::start().await;
    let mut events = server.http.get(format!("{}/events?scope=s", server.url)).send().await.unwrap();
    events.chunk().await.unwrap().unwrap();
    let body = r#"{"mutations":[{"id":"1","scope":"s","name":"todo.create","args":{"id":"1"}}]}"#;
    let mut slow = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let head = format!("POST /_sync/push HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    slow.write_all(head.as_bytes()).await.unwrap();
    slow.write_all(&body.as_bytes()[..10]).await.unwrap();
    // An answer on another connection shows that the loop has gone round; the half request is with its handler.
    server.http.get(format!("{}/healthz", server.url)).send().await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;

    let stopped = server.stop();
    assert_eq!(events.chunk().await.unwrap(), None);
    slow.write_all(&body.as_bytes()[10..]).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains(r#""ok":true"#), "{answer}");
    stopped.await.unwrap();
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
    assert_eq!(server.engine.head("s").unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_app_is_served_beside_the_routes_with_its_types_and_a_strict_policy() {
    let site = tempfile::tempdir().unwrap();
    for (name, text) in
        [("index.html", "<!doctype html>"), ("app.js", "1"), ("app.wasm", "x"), ("sw.js", "2")]
    {
        std::fs::write(site.path().join(name), text).unwrap();
    }
    let directory = site.path().to_owned();
    let server =
        TestServer::start_with(|config| config.static_dir = Some(directory), EntityMutator::new()).await;
    for (path, expected) in [
        ("/", "text/html"),
        ("/app.js", "text/javascript"),
        ("/app.wasm", "application/wasm"),
        ("/sw.js", "text/javascript"),
    ] {
        let response = server.http.get(format!("{}{path}", server.url)).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), header(&response, "content-type")),
            (200, expected),
            "{path}"
        );
        assert_eq!(header(&response, "cache-control"), "no-cache");
        assert_eq!(header(&response, "x-content-type-options"), "nosniff");
        let policy = header(&response, "content-security-policy");
        assert!(
            policy.contains("script-src 'self' 'wasm-unsafe-eval';") && !policy.contains("unsafe-inline")
        );
    }
    for path in ["/nothing", "/app.js/", "/..%2f..%2fetc%2fpasswd", "/_sync/nothing", "/files/"] {
        let response = server.http.get(format!("{}{path}", server.url)).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 404, "{path}");
        assert_eq!(code(&response.text().await.unwrap()), "not_found");
    }
    assert_eq!(server.post("/_sync/nothing", "{}").await.0, 404);
    assert_eq!(server.post("/_sync/snapshot", "{}").await.0, 200);
}
