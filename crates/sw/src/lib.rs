//! The service worker's part in wasm, kept small: it reads file URLs, plans answers by
//! [`driftline_core::response`], and judges what a remote answers. The TypeScript in `sw/` looks up
//! the record, opens the file, and turns a plan into a `Response`.
//!
//! Sizes and offsets cross the boundary as JavaScript numbers; a blob has at most 16 GiB, so they are
//! exact.

use driftline_core::response::{self, BlobFacts, Body, ByteRange, Plan, Refusal, RemoteAnswer, Request};
use js_sys::{Array, Number};
use wasm_bindgen::prelude::*;
use web_sys::Headers;

mod url;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** A file as its URL names it. */
export type FileAddress = { database: string; id: string } | { database: string; hash: string };
/** Text, or a range of the blob: from its first byte, up to and without its last number. */
export type Segment = string | [start: number, end: number];
/** An answer: its status, its headers, and the segments of its body; null where there is no body. */
export type ResponsePlan = [status: number, headers: [name: string, value: string][], body: Segment[] | null];
/** Why a request is refused. */
export type RefusalKind = 'not_found' | 'not_uploaded' | 'storage_unavailable' | 'remote_status' | 'remote_mismatch' | 'offline';
/** Bytes to drop and bytes to pass on, or why the remote's answer can't be used. */
export type RemoteVerdict = [skip: number, take: number] | 'remote_status' | 'remote_mismatch';
"#;

/// Reads the path of a URL below the prefix: `<database>/<record id>/<any name>` or
/// `<database>/sha256/<hex>`, each segment by `encodeURIComponent`; undefined for anything else.
#[wasm_bindgen(js_name = readFileUrl, unchecked_return_type = "FileAddress | undefined")]
pub fn read_file_url(path: &str, prefix: &str) -> JsValue {
    url::read(path, prefix).map(JsValue::from).unwrap_or_default()
}

/// Plans the answer to a request for a file that is known.
///
/// `last_modified` is in seconds since 1970, NaN where it is not known.
#[wasm_bindgen(js_name = planFile, unchecked_return_type = "ResponsePlan")]
#[expect(
    clippy::too_many_arguments,
    reason = "an object would be taken apart field by field on each request"
)]
pub fn plan_file(
    method: &str,
    headers: &Headers,
    hash: &str,
    size: f64,
    media_type: &str,
    name: &str,
    last_modified: f64,
    by_hash: bool,
    isolated: bool,
) -> Array {
    let field = |name| headers.get(name).ok().flatten();
    let (range, if_range, if_match) = (field("range"), field("if-range"), field("if-match"));
    let (none_match, modified, unmodified) =
        (field("if-none-match"), field("if-modified-since"), field("if-unmodified-since"));
    let request = Request {
        method,
        range: range.as_deref().map(str::as_bytes),
        if_range: if_range.as_deref().map(str::as_bytes),
        if_match: if_match.as_deref().map(str::as_bytes),
        if_none_match: none_match.as_deref().map(str::as_bytes),
        if_modified_since: modified.as_deref().map(str::as_bytes),
        if_unmodified_since: unmodified.as_deref().map(str::as_bytes),
    };
    let last_modified = (last_modified >= 0.0).then_some(last_modified as u64);
    let blob = BlobFacts { hash, size: size as u64, media_type, name, last_modified, by_hash, isolated };
    to_js(&response::plan(&request, &blob), blob.size)
}

/// Plans the answer to a request that is refused. `status` is the remote's, for `remote_status`.
#[wasm_bindgen(js_name = planRefusal, unchecked_return_type = "ResponsePlan")]
pub fn plan_refusal(
    method: &str,
    #[wasm_bindgen(unchecked_param_type = "RefusalKind")] kind: &str,
    status: u16,
) -> Array {
    let refusal = match kind {
        "not_found" => Refusal::NotFound,
        "not_uploaded" => Refusal::NotUploaded,
        "storage_unavailable" => Refusal::StorageUnavailable,
        "remote_status" => Refusal::RemoteStatus { status },
        "remote_mismatch" => Refusal::RemoteMismatch,
        _ => Refusal::Offline,
    };
    to_js(&response::refuse(method, &refusal), 0)
}

/// Judges the head of a remote's answer to a GET for the bytes from `start` up to `end` of a blob.
///
/// `length_is_plain` says that `Content-Length` is the content's own: no coding is, or could be, at work.
#[wasm_bindgen(js_name = judgeRemote, unchecked_return_type = "RemoteVerdict")]
pub fn judge_remote(
    status: u16,
    headers: &Headers,
    length_is_plain: bool,
    hash: &str,
    size: f64,
    start: f64,
    end: f64,
) -> JsValue {
    let field = |name| headers.get(name).ok().flatten();
    let (content_range, etag) = (field("content-range"), field("etag"));
    let content_length = if length_is_plain { field("content-length") } else { None };
    let answer = RemoteAnswer {
        status,
        content_range: content_range.as_deref().map(str::as_bytes),
        content_length: content_length.as_deref().map(str::as_bytes),
        etag: etag.as_deref().map(str::as_bytes),
    };
    match answer.judge(hash, size as u64, ByteRange { start: start as u64, end: end as u64 }) {
        Ok(body) => pair(number(body.skip), number(body.take)).into(),
        Err(response::RemoteFault::Status(_)) => "remote_status".into(),
        Err(response::RemoteFault::Mismatch) => "remote_mismatch".into(),
    }
}

fn to_js(plan: &Plan, size: u64) -> Array {
    let headers: Array =
        plan.headers.iter().map(|(name, value)| pair((*name).into(), value.into())).collect();
    let body: JsValue = match &plan.body {
        Body::Empty => JsValue::NULL,
        Body::Text(text) => Array::of1(&text.into()).into(),
        Body::Whole => Array::of1(&segment(ByteRange { start: 0, end: size })).into(),
        Body::Range(range) => Array::of1(&segment(*range)).into(),
        Body::Multipart { parts, trailer, .. } => {
            let segments = Array::new();
            for part in parts {
                segments.push(&(&part.head).into());
                segments.push(&segment(part.range));
            }
            segments.push(&trailer.into());
            segments.into()
        }
    };
    Array::of3(&plan.status.into(), &headers, &body)
}

fn segment(range: ByteRange) -> JsValue {
    pair(number(range.start), number(range.end)).into()
}

fn pair(first: JsValue, second: JsValue) -> Array {
    Array::of2(&first, &second)
}

fn number(value: u64) -> JsValue {
    Number::from(value as f64).into()
}
