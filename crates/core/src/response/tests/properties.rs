//! What holds for any request: the planner agrees with a slow, plain model, and bad bytes break nothing.

use proptest::prelude::*;

use super::super::{
    BlobFacts, Body, ByteRange, Plan, Refusal, RemoteAnswer, RemoteBody, RemoteFault, Request, plan, refuse,
};
use super::{HASH, facts, read_multipart, rendered};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_bytes_selected_are_those_of_a_byte_by_byte_model(
        size in 0_usize..40,
        specs in prop::collection::vec((prop::option::of(0_u64..45), prop::option::of(0_u64..45)), 1..8),
    ) {
        let content: Vec<u8> = (0..size as u8).collect();
        let elements: Vec<String> = specs
            .iter()
            .map(|(first, last)| format!("{}-{}", text(*first), text(*last)))
            .collect();
        let field = format!("bytes={}", elements.join(","));
        let request = Request { method: "GET", range: Some(field.as_bytes()), ..Request::default() };
        let plan = plan(&request, &facts(&content));
        let runs = model(&specs, size);
        match runs {
            Model::Ignored => {
                prop_assert_eq!(plan.status, 200);
                prop_assert_eq!(rendered(&plan, &content), content);
            }
            Model::Unsatisfiable => prop_assert_eq!(plan.status, 416),
            Model::Runs(runs) => {
                prop_assert_eq!(plan.status, 206);
                let body = rendered(&plan, &content);
                let length = body.len().to_string();
                prop_assert_eq!(plan.header("content-length"), Some(length.as_str()));
                let got = if runs.len() == 1 {
                    vec![body]
                } else {
                    read_multipart(plan.header("content-type").unwrap_or_default(), &body).into_iter().map(|part| part.bytes).collect()
                };
                prop_assert_eq!(got, runs);
            }
        }
    }

    #[test]
    fn no_bytes_of_any_header_break_the_planner(
        method in prop::sample::select(vec!["GET", "HEAD", "POST", ""]),
        fields in prop::collection::vec(prop::option::of(field()), 6),
        media_type in ".{0,40}",
        name in ".{0,300}",
        hash in ".{0,70}",
        size: u64,
        last_modified in prop::option::of(any::<u64>()),
        by_hash: bool,
        isolated: bool,
    ) {
        let at = |index: usize| fields[index].as_deref();
        let request = Request {
            method,
            range: at(0),
            if_range: at(1),
            if_match: at(2),
            if_none_match: at(3),
            if_modified_since: at(4),
            if_unmodified_since: at(5),
        };
        let facts = BlobFacts { hash: &hash, size, media_type: &media_type, name: &name, last_modified, by_hash, isolated };
        let plan = plan(&request, &facts);
        prop_assert!([200, 206, 304, 405, 412, 416].contains(&plan.status));
        for (index, (header, value)) in plan.headers.iter().enumerate() {
            prop_assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{header}: {value:?}");
            prop_assert!(header.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
            prop_assert!(plan.headers[..index].iter().all(|(earlier, _)| earlier != header), "{header} twice");
        }
        let ranges: Vec<ByteRange> = match &plan.body {
            Body::Range(range) => vec![*range],
            Body::Multipart { parts, .. } => parts.iter().map(|part| part.range).collect(),
            _ => Vec::new(),
        };
        prop_assert!(ranges.iter().all(|range| range.start < range.end && range.end <= size));
        prop_assert!(method != "HEAD" || plan.body == Body::Empty);
    }

    #[test]
    fn no_answer_of_a_remote_yields_bytes_outside_the_file(
        status in prop::sample::select(vec![200_u16, 206, 204, 304, 404, 416, 500]),
        content_range in prop::option::of("(bytes|BYTES|x)? ?[0-9]{0,3}-[0-9]{0,3}/([0-9]{0,3}|\\*)"),
        content_length in prop::option::of("[+-]?[0-9]{0,3}"),
        start in 0_u64..20,
        length in 1_u64..20,
    ) {
        let answer = RemoteAnswer {
            status,
            content_range: content_range.as_deref().map(str::as_bytes),
            content_length: content_length.as_deref().map(str::as_bytes),
            etag: None,
        };
        let wanted = ByteRange { start, end: start + length };
        if let Ok(RemoteBody { skip, take }) = answer.judge(HASH, 40, wanted) {
            prop_assert_eq!(take, length);
            prop_assert!(skip <= start);
            prop_assert!(status == 206 || (status == 200 && skip == start));
        }
    }
}

#[test]
fn positions_beyond_64_bits_do_not_overflow_for_the_greatest_blob() {
    let blob = BlobFacts { size: u64::MAX, ..facts(b"") };
    let answer = |field: &str| {
        plan(&Request { method: "GET", range: Some(field.as_bytes()), ..Request::default() }, &blob)
    };
    let last = u64::MAX - 1;
    let range = |plan: &Plan| plan.header("content-range").map(str::to_owned);
    assert_eq!(range(&answer("bytes=1-99999999999999999999")), Some(format!("bytes 1-{last}/{}", u64::MAX)));
    assert_eq!(range(&answer("bytes=-1")), Some(format!("bytes {last}-{last}/{}", u64::MAX)));
    assert_eq!(answer("bytes=18446744073709551615-").status, 416);
}

#[test]
fn a_field_of_a_megabyte_is_ignored() {
    let field = format!("bytes={}0-1", ",".repeat(1 << 20));
    let request = Request { method: "GET", range: Some(field.as_bytes()), ..Request::default() };
    assert_eq!(plan(&request, &facts(b"0123")).status, 200);
}

#[test]
fn only_get_and_head_read_a_file() {
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "get", ""] {
        let plan = plan(&Request { method, ..Request::default() }, &facts(b"0123"));
        assert_eq!((plan.status, plan.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
}

#[test]
fn an_isolated_app_gets_coep_on_every_answer_it_may_embed() {
    let blob = BlobFacts { isolated: true, ..facts(b"0123") };
    let tag = format!("\"{HASH}\"");
    let whole = Request { method: "GET", ..Request::default() };
    let partial = Request { range: Some(b"bytes=0-1"), ..whole };
    let unchanged = Request { if_none_match: Some(tag.as_bytes()), ..whole };
    for request in [whole, partial, unchanged] {
        assert_eq!(plan(&request, &blob).header("cross-origin-embedder-policy"), Some("require-corp"));
        assert_eq!(plan(&request, &facts(b"0123")).header("cross-origin-embedder-policy"), None);
    }
}

#[test]
fn a_blob_without_a_date_has_no_last_modified_and_dates_are_not_looked_at() {
    let blob = BlobFacts { last_modified: None, ..facts(b"0123") };
    let date = Some(b"Tue, 14 Nov 2023 22:13:20 GMT".as_slice());
    let plan = plan(
        &Request { method: "GET", if_modified_since: date, if_unmodified_since: date, ..Request::default() },
        &blob,
    );
    assert_eq!((plan.status, plan.header("last-modified")), (200, None));
}

#[test]
fn refusals_are_told_apart_by_status_and_code() {
    let refusals = [
        (Refusal::NotFound, 404, "not_found"),
        (Refusal::RemoteStatus { status: 500 }, 502, "remote_error"),
        (Refusal::RemoteMismatch, 502, "remote_error"),
        (Refusal::Offline, 503, "offline"),
        (Refusal::NotUploaded, 503, "not_uploaded"),
        (Refusal::StorageUnavailable, 503, "storage_unavailable"),
    ];
    for (refusal, status, code) in refusals {
        let plan = refuse("GET", &refusal);
        let Body::Text(text) = &plan.body else { panic!("a refusal has a text") };
        let json: serde_json::Value = serde_json::from_str(text).expect("the body is JSON");
        assert_eq!((plan.status, json["code"].as_str()), (status, Some(code)));
        assert_eq!(plan.header("retry-after").is_some(), status == 503);
        assert_eq!(refuse("HEAD", &refusal), Plan { body: Body::Empty, ..plan });
    }
}

#[test]
fn a_remote_that_ignores_the_range_is_cut_to_it() {
    let answer = RemoteAnswer { status: 200, content_length: Some(b"10"), ..RemoteAnswer::default() };
    assert_eq!(answer.judge(HASH, 10, WANTED), Ok(RemoteBody { skip: 2, take: 3 }));
}

#[test]
fn a_remote_that_sends_just_the_range_is_passed_on() {
    let tag = format!("W/\"{HASH}\"");
    let answer = RemoteAnswer { etag: Some(tag.as_bytes()), ..PARTIAL };
    assert_eq!(answer.judge(HASH, 10, WANTED), Ok(RemoteBody { skip: 0, take: 3 }));
}

#[test]
fn a_remote_with_other_bytes_is_refused() {
    let other = [
        RemoteAnswer { content_range: Some(b"bytes 2-4/11"), ..PARTIAL },
        RemoteAnswer { content_range: Some(b"bytes 3-5/10"), ..PARTIAL },
        RemoteAnswer { content_range: Some(b"bytes 2-4/*"), ..PARTIAL },
        RemoteAnswer { content_range: None, ..PARTIAL },
        RemoteAnswer { content_length: Some(b"4"), ..PARTIAL },
        RemoteAnswer { content_length: Some(b"+3"), ..PARTIAL },
        RemoteAnswer { etag: Some(b"\"other\""), ..PARTIAL },
        RemoteAnswer { etag: Some(b"unquoted"), ..PARTIAL },
        RemoteAnswer { status: 200, content_length: Some(b"9"), ..PARTIAL },
    ];
    for answer in other {
        assert_eq!(answer.judge(HASH, 10, WANTED), Err(RemoteFault::Mismatch), "{answer:?}");
    }
    let missing = RemoteAnswer { status: 404, ..PARTIAL };
    assert_eq!(missing.judge(HASH, 10, WANTED), Err(RemoteFault::Status(404)));
}

#[test]
fn a_long_name_keeps_its_extension() {
    let name = format!("{}.tar", "ü".repeat(400));
    let plan = plan(
        &Request { method: "GET", ..Request::default() },
        &BlobFacts { name: &name, media_type: "text/html", ..facts(b"") },
    );
    let disposition = plan.header("content-disposition").expect("HTML is an attachment");
    assert!(disposition.ends_with("%C3%BC.tar") && disposition.len() < 1_200, "{disposition}");
}

enum Model {
    Ignored,
    Unsatisfiable,
    Runs(Vec<Vec<u8>>),
}

/// Marks each byte with the index of the first range that is joined with its run, one byte at a time.
fn model(specs: &[(Option<u64>, Option<u64>)], size: usize) -> Model {
    let mut owner: Vec<Option<usize>> = vec![None; size];
    for (index, spec) in specs.iter().enumerate() {
        let selects = |at: usize| match *spec {
            (Some(first), Some(last)) => first <= at as u64 && at as u64 <= last,
            (Some(first), None) => first <= at as u64,
            (None, Some(length)) => (size - at) as u64 <= length,
            (None, None) => false,
        };
        if matches!(spec, (None, None)) || matches!(spec, (Some(first), Some(last)) if first > last) {
            return Model::Ignored;
        }
        for (at, owner) in owner.iter_mut().enumerate() {
            if selects(at) {
                *owner = Some(owner.map_or(index, |earlier| earlier.min(index)));
            }
        }
    }
    let mut runs: Vec<(usize, Vec<u8>)> = Vec::new();
    let mut in_run = false;
    for (at, owner) in owner.iter().enumerate() {
        match (owner, in_run) {
            (Some(index), false) => runs.push((*index, vec![at as u8])),
            (Some(index), true) => {
                let run = runs.last_mut().expect("a run has begun");
                run.0 = run.0.min(*index);
                run.1.push(at as u8);
            }
            (None, _) => {}
        }
        in_run = owner.is_some();
    }
    runs.sort_by_key(|(index, _)| *index);
    if runs.is_empty() {
        Model::Unsatisfiable
    } else {
        Model::Runs(runs.into_iter().map(|(_, run)| run).collect())
    }
}

/// Bytes of a header: any at all, or such as come close to being right.
fn field() -> impl Strategy<Value = Vec<u8>> {
    let near = "(bytes=|W/|\\*|\"|,| |-|[0-9]{1,25}|[a-f0-9]{64}|Tue, 14 Nov 2023 22:13:20 GMT|Tuesday, 14-Nov-23 |Tue Nov 14 22:13:20 9999){0,12}";
    prop_oneof![prop::collection::vec(any::<u8>(), 0..80), near.prop_map(String::into_bytes)]
}

fn text(number: Option<u64>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

const WANTED: ByteRange = ByteRange { start: 2, end: 5 };
const PARTIAL: RemoteAnswer<'static> = RemoteAnswer {
    status: 206,
    content_range: Some(b"bytes 2-4/10"),
    content_length: Some(b"3"),
    etag: None,
};
