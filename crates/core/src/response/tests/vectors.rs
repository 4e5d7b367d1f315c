//! Every case of `tests/vectors/range`. The same files are run over HTTP and through the service worker.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::super::{BlobFacts, Request, plan};
use super::{read_multipart, rendered};

struct Blob {
    content: Vec<u8>,
    hash: String,
    media_type: String,
    name: String,
    last_modified: u64,
}

#[test]
fn one_range_is_answered_as_rfc_9110_says() {
    run("single.json");
}

#[test]
fn several_ranges_are_answered_as_rfc_9110_says() {
    run("several.json");
}

#[test]
fn preconditions_are_answered_as_rfc_9110_says() {
    run("conditions.json");
}

#[test]
fn headers_are_those_of_a_safe_file_server() {
    run("headers.json");
}

#[test]
fn every_file_of_vectors_is_run() {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .expect("the vectors are part of this project")
        .map(|entry| entry.expect("a folder can be read").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["blobs.json", "conditions.json", "headers.json", "several.json", "single.json"]);
}

fn run(file: &str) {
    let blobs = blobs();
    let document = read(file);
    let cases = document["cases"].as_array().expect("cases are a list");
    assert!(cases.len() > 10, "{file} has its cases");
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let blob = &blobs[case["blob"].as_str().expect("a case names its blob")];
            check(case, blob).err().map(|why| format!("{}: {why}", case["name"]))
        })
        .collect();
    assert!(failures.is_empty(), "{file}:\n{}", failures.join("\n"));
}

fn check(case: &Value, blob: &Blob) -> Result<(), String> {
    let fill = |text: &str| text.replace("{hash}", &blob.hash);
    let field = |name: &str| case["headers"][name].as_str().map(|text| fill(text).into_bytes());
    let (range, if_range, if_match) = (field("range"), field("if-range"), field("if-match"));
    let (none_match, modified, unmodified) =
        (field("if-none-match"), field("if-modified-since"), field("if-unmodified-since"));
    let request = Request {
        method: case["method"].as_str().unwrap_or("GET"),
        range: range.as_deref(),
        if_range: if_range.as_deref(),
        if_match: if_match.as_deref(),
        if_none_match: none_match.as_deref(),
        if_modified_since: modified.as_deref(),
        if_unmodified_since: unmodified.as_deref(),
    };
    let facts = BlobFacts {
        hash: &blob.hash,
        size: blob.content.len() as u64,
        media_type: &blob.media_type,
        name: &blob.name,
        last_modified: Some(blob.last_modified),
        by_hash: case["by"] == "hash",
        isolated: false,
    };
    let plan = plan(&request, &facts);
    let body = rendered(&plan, &blob.content);
    if case["status"] != plan.status {
        return Err(format!("status {}", plan.status));
    }
    for (name, wanted) in case["expect"].as_object().expect("expect is an object") {
        let wanted = wanted.as_str().map(fill);
        if plan.header(name) != wanted.as_deref() {
            return Err(format!("{name}: {:?}, not {wanted:?}", plan.header(name)));
        }
    }
    match &case["body"] {
        Value::String(text) if text == "whole" => same(&body, &blob.content)?,
        Value::String(text) if text == "none" => return same(&body, b""),
        Value::Array(ranges) if ranges.len() == 1 => same(&body, slice(&ranges[0], &blob.content))?,
        Value::Array(ranges) => {
            let parts = read_multipart(plan.header("content-type").unwrap_or_default(), &body);
            let size = blob.content.len();
            if parts.len() != ranges.len() {
                return Err(format!("{} parts", parts.len()));
            }
            for (part, range) in parts.iter().zip(ranges) {
                same(&part.bytes, slice(range, &blob.content))?;
                let last = range[1].as_u64().expect("a range has an end") - 1;
                same(part.content_range.as_bytes(), format!("bytes {}-{last}/{size}", range[0]).as_bytes())?;
                same(part.media_type.as_bytes(), blob.media_type.as_bytes())?;
            }
        }
        Value::Object(error) => {
            let answered: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
            if answered["code"] != error["code"] || !answered["message"].is_string() {
                return Err(format!("{answered}"));
            }
        }
        other => return Err(format!("{other} is not a body")),
    }
    same(plan.header("content-length").unwrap_or_default().as_bytes(), body.len().to_string().as_bytes())
}

fn same(got: &[u8], wanted: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy;
    if got == wanted { Ok(()) } else { Err(format!("{:?}, not {:?}", text(got), text(wanted))) }
}

fn slice<'a>(range: &Value, content: &'a [u8]) -> &'a [u8] {
    let at = |index: usize| range[index].as_u64().expect("a range is two numbers") as usize;
    &content[at(0)..at(1)]
}

fn blobs() -> BTreeMap<String, Blob> {
    let document = read("blobs.json");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let blob = |value: &Value| Blob {
        content: match value["pattern"].as_u64() {
            Some(length) => (0..length).map(|index| (index % 251) as u8).collect(),
            None => text(&value["text"]).into_bytes(),
        },
        hash: text(&value["hash"]),
        media_type: text(&value["type"]),
        name: text(&value["name"]),
        last_modified: value["lastModified"].as_u64().expect("a time"),
    };
    document["blobs"]
        .as_object()
        .expect("blobs are an object")
        .iter()
        .map(|(key, value)| (key.clone(), blob(value)))
        .collect()
}

fn read(file: &str) -> Value {
    let text = std::fs::read_to_string(folder().join(file)).expect("the vectors are part of this project");
    serde_json::from_str(&text).expect("vectors are JSON")
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/range")
}
