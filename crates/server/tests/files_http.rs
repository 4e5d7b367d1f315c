//! `/files/<sha256>` over real HTTP: uploads whole and in parts, reads, limits.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{TestServer, bytes, code, digest_of, header};
use driftline_protocol::files::{ErrorBody, Sha256Digest};
use driftline_server::engine::EntityMutator;
use reqwest::Response;

async fn put(server: &TestServer, digest: Sha256Digest, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let mut request = server.http.put(server.file_url(digest)).body(body.to_vec());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

async fn refused(response: Response) -> (u16, String) {
    (response.status().as_u16(), code(&response.text().await.unwrap()))
}

fn leftovers(server: &TestServer) -> usize {
    ["tmp", "partial"]
        .iter()
        .map(|part| std::fs::read_dir(server.data.path().join(part)).unwrap().count())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_stored_once_and_read_whole_in_part_and_conditionally() {
    let server = TestServer::start().await;
    let blob = bytes(1_000_000);
    let digest = digest_of(&blob);
    let (url, etag, repr) = (server.file_url(digest), format!("\"{digest}\""), digest.to_repr_digest());
    let headers = [("if-none-match", "*"), ("content-type", "image/png"), ("repr-digest", &repr)];
    assert_eq!(put(&server, digest, &headers, &blob).await.status().as_u16(), 201);
    assert_eq!(
        refused(put(&server, digest, &headers, &blob).await).await,
        (412, "precondition_failed".into())
    );
    assert_eq!(put(&server, digest, &[], &blob).await.status().as_u16(), 200);

    let whole = server.http.get(&url).send().await.unwrap();
    assert_eq!((header(&whole, "etag"), header(&whole, "content-type")), (&*etag, "image/png"));
    assert_eq!(
        (header(&whole, "repr-digest"), header(&whole, "x-content-type-options")),
        (&*repr, "nosniff")
    );
    assert!(header(&whole, "cache-control").contains("immutable"));
    assert_eq!(whole.bytes().await.unwrap(), blob);

    let get = async |name: &str, value: &str| server.http.get(&url).header(name, value).send().await.unwrap();
    let part = get("range", "bytes=999990-2000000").await;
    assert_eq!(
        (part.status().as_u16(), header(&part, "content-range")),
        (206, "bytes 999990-999999/1000000")
    );
    assert_eq!(part.bytes().await.unwrap(), blob[999_990..]);
    let two = get("range", "bytes=0-1,500000-500003").await;
    assert!(header(&two, "content-type").starts_with("multipart/byteranges"));
    let length: usize = header(&two, "content-length").parse().unwrap();
    let two = two.bytes().await.unwrap();
    assert_eq!(two.len(), length);
    assert!(two.windows(4).any(|window| window == &blob[500_000..500_004]));
    assert_eq!(get("range", "bytes=1000000-").await.status().as_u16(), 416);
    assert_eq!(get("if-none-match", &etag).await.status().as_u16(), 304);
    assert_eq!(refused(get("if-match", "\"other\"").await).await, (412, "precondition_failed".into()));

    let head = server.http.head(&url).send().await.unwrap();
    assert_eq!((header(&head, "content-length"), header(&head, "upload-resume")), ("1000000", "v1"));
    assert_eq!(server.http.delete(&url).send().await.unwrap().status().as_u16(), 204);
    assert_eq!(refused(server.http.delete(&url).send().await.unwrap()).await, (404, "not_found".into()));
    assert_eq!(refused(server.http.get(&url).send().await.unwrap()).await, (404, "not_found".into()));
    assert_eq!(leftovers(&server), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uploaded_page_never_runs_as_the_app() {
    let server = TestServer::start().await;
    for (media_type, attachment) in [("text/html", true), ("image/svg+xml", true), ("image/png", false)] {
        let blob = format!("<script>{media_type}</script>");
        let digest = digest_of(blob.as_bytes());
        put(&server, digest, &[("content-type", media_type)], blob.as_bytes()).await;
        let response = server.http.get(server.file_url(digest)).send().await.unwrap();
        assert_eq!(
            header(&response, "content-disposition").starts_with("attachment"),
            attachment,
            "{media_type}"
        );
        assert_eq!(
            header(&response, "content-security-policy").contains("sandbox"),
            attachment,
            "{media_type}"
        );
        assert_eq!(header(&response, "cross-origin-resource-policy"), "same-origin");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_do_not_match_their_name_are_not_stored() {
    let server = TestServer::start().await;
    let digest = digest_of(b"hello");
    let mismatch = (422, "digest_mismatch".to_owned());
    assert_eq!(refused(put(&server, digest, &[], b"hullo").await).await, mismatch);
    let other = digest_of(b"hullo").to_repr_digest();
    assert_eq!(refused(put(&server, digest, &[("repr-digest", &other)], b"hello").await).await, mismatch);
    let range = [("content-range", "bytes 0-4/5")];
    assert_eq!(refused(put(&server, digest, &range, b"hullo").await).await, mismatch);
    assert_eq!(server.http.head(server.file_url(digest)).send().await.unwrap().status().as_u16(), 404);
    assert_eq!(leftovers(&server), 0);
    assert_eq!(put(&server, digest, &range, b"hello").await.status().as_u16(), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_over_the_limit_is_refused_with_the_limit_however_it_comes() {
    let server = TestServer::start_with(|config| config.max_file_bytes = 100_000, EntityMutator::new()).await;
    let blob = bytes(8_000_000);
    let digest = digest_of(&blob);
    let told = put(&server, digest, &[], &blob).await;
    assert_eq!((told.status().as_u16(), header(&told, "upload-limit")), (413, "max-size=100000"));
    let body: ErrorBody = serde_json::from_str(&told.text().await.unwrap()).unwrap();
    assert_eq!(
        (body.code.as_str(), body.limit_bytes, body.size_bytes),
        ("too_large", Some(100_000), Some(8_000_000))
    );

    let chunks: Vec<Result<_, std::io::Error>> =
        blob.chunks(50_000).map(|chunk| Ok(chunk.to_vec())).collect();
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    let streamed = server.http.put(server.file_url(digest)).body(stream).send().await.unwrap();
    assert_eq!(refused(streamed).await, (413, "too_large".into()));
    let part = put(&server, digest, &[("content-range", "bytes 0-9/8000000")], &blob[..10]).await;
    assert_eq!(refused(part).await, (413, "too_large".into()));
    assert_eq!(leftovers(&server), 0);

    let fits = bytes(100_000);
    assert_eq!(put(&server, digest_of(&fits), &[], &fits).await.status().as_u16(), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_taken_in_order_and_a_wrong_one_learns_where_to_go_on() {
    let server = TestServer::start().await;
    let blob = bytes(10);
    let digest = digest_of(&blob);
    let part = async |range: &str, body: &[u8]| put(&server, digest, &[("content-range", range)], body).await;
    let first = part("bytes 0-3/10", &blob[..4]).await;
    assert_eq!((first.status().as_u16(), header(&first, "upload-offset")), (202, "4"));
    for range in ["bytes 0-3/10", "bytes 5-8/10"] {
        let wrong = part(range, &blob[..4]).await;
        assert_eq!(header(&wrong, "upload-offset"), "4");
        assert_eq!(refused(wrong).await, (409, "wrong_offset".into()));
    }
    for (range, body) in [
        ("bytes 4-9/*", &blob[4..]),
        ("bytes */10", &[]),
        ("bytes 4-10/10", &blob[4..]),
        ("bytes 4-9/10", &blob[4..9]),
        ("bytes 4-9/11", &blob[4..]),
        ("4-9/10", &blob[4..]),
    ] {
        assert_eq!(refused(part(range, body).await).await, (400, "invalid_request".into()), "{range}");
    }
    let head = server.http.head(server.file_url(digest)).send().await.unwrap();
    assert_eq!((head.status().as_u16(), header(&head, "upload-offset")), (404, "4"));
    assert_eq!(server.http.get(server.file_url(digest)).send().await.unwrap().status().as_u16(), 404);
    assert_eq!(part("bytes 4-9/10", &blob[4..]).await.status().as_u16(), 201);
    assert_eq!(server.http.get(server.file_url(digest)).send().await.unwrap().bytes().await.unwrap(), blob);
    assert_eq!(leftovers(&server), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_breaks_off_keeps_what_came_and_a_new_request_takes_over() {
    use tokio::io::AsyncWriteExt;
    let server = TestServer::start().await;
    let blob = bytes(1_000_000);
    let digest = digest_of(&blob);
    // Half of it comes, then nothing: the connection stays open, as when a phone has changed its network.
    let mut stalled = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "PUT /files/{digest} HTTP/1.1\r\nhost: x\r\ncontent-range: bytes 0-999999/1000000\r\ncontent-length: 1000000\r\n\r\n"
    );
    stalled.write_all(head.as_bytes()).await.unwrap();
    stalled.write_all(&blob[..600_000]).await.unwrap();
    let partial = server.data.path().join("partial").join(digest.to_string());
    while std::fs::metadata(&partial).map_or(0, |meta| meta.len()) == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let mut offset = 0;
    let response = loop {
        let range = format!("bytes {offset}-999999/1000000");
        let response = put(&server, digest, &[("content-range", &range)], &blob[offset..]).await;
        if response.status().as_u16() != 409 {
            break response;
        }
        let stored = header(&response, "upload-offset").parse().unwrap();
        assert!(stored > offset, "an upload that is told to go on at {stored} after {offset} gets nowhere");
        offset = stored;
    };
    assert_eq!(response.status().as_u16(), 201);
    assert!(offset > 0);
    assert_eq!(server.http.get(server.file_url(digest)).send().await.unwrap().bytes().await.unwrap(), blob);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_is_a_file() {
    let server = TestServer::start().await;
    let digest = digest_of(b"");
    assert_eq!(put(&server, digest, &[("if-none-match", "*")], b"").await.status().as_u16(), 201);
    let response = server.http.get(server.file_url(digest)).send().await.unwrap();
    assert_eq!((response.status().as_u16(), header(&response, "content-length")), (200, "0"));
    let request = server.http.get(server.file_url(digest)).header("range", "bytes=0-");
    assert_eq!(request.send().await.unwrap().status().as_u16(), 416);
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_and_headers_that_make_no_sense_are_refused() {
    let server = TestServer::start().await;
    let upper = digest_of(b"x").to_string().to_uppercase();
    for name in ["abc", &upper, "..%2f..%2fetc", &"0".repeat(65)] {
        let url = format!("{}/files/{name}", server.url);
        for response in [server.http.get(&url).send().await, server.http.put(&url).body("x").send().await] {
            assert_eq!(refused(response.unwrap()).await, (400, "invalid_digest".into()), "{name}");
        }
    }
    let digest = digest_of(b"x");
    let long = format!("text/{}", "x".repeat(300));
    for headers in [("content-type", long.as_str()), ("repr-digest", "sha-256=?"), ("content-range", "x")] {
        assert_eq!(
            refused(put(&server, digest, &[headers], b"x").await).await,
            (400, "invalid_request".into())
        );
    }
    let response = server.http.patch(server.file_url(digest)).send().await.unwrap();
    assert_eq!(header(&response, "allow"), "GET,HEAD,PUT,DELETE");
    assert_eq!(refused(response).await, (405, "method_not_allowed".into()));
    assert_eq!(put(&server, digest, &[("if-match", "*")], b"x").await.status().as_u16(), 412);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_file_sent_at_once_by_many_is_stored_once() {
    let server = TestServer::start().await;
    let blob = bytes(300_000);
    let digest = digest_of(&blob);
    let puts = (0..8).map(|_| put(&server, digest, &[], &blob));
    let statuses: Vec<_> = futures_util::future::join_all(puts)
        .await
        .iter()
        .map(|response| response.status().as_u16())
        .collect();
    assert!(statuses.iter().all(|status| matches!(status, 200 | 201)), "{statuses:?}");
    assert!(statuses.contains(&201));
    assert_eq!(leftovers(&server), 0);
}
