//! The vectors of `tests/vectors/range`, and what random requests must never break.

mod properties;
mod vectors;

use super::{BlobFacts, Body, Plan};

/// The bytes that a plan comes to.
fn rendered(plan: &Plan, content: &[u8]) -> Vec<u8> {
    let slice = |range: &super::ByteRange| &content[range.start as usize..range.end as usize];
    match &plan.body {
        Body::Empty => Vec::new(),
        Body::Text(text) => text.clone().into_bytes(),
        Body::Whole => content.to_vec(),
        Body::Range(range) => slice(range).to_vec(),
        Body::Multipart { parts, trailer, .. } => {
            let mut bytes = Vec::new();
            for part in parts {
                bytes.extend_from_slice(part.head.as_bytes());
                bytes.extend_from_slice(slice(&part.range));
            }
            bytes.extend_from_slice(trailer.as_bytes());
            bytes
        }
    }
}

/// A part read back from a multipart body: its type, its `Content-Range`, its bytes.
#[derive(Debug, PartialEq, Eq)]
struct ReadPart {
    media_type: String,
    content_range: String,
    bytes: Vec<u8>,
}

/// Reads `multipart/byteranges` by the boundary alone, as a recipient does.
fn read_multipart(content_type: &str, body: &[u8]) -> Vec<ReadPart> {
    let boundary =
        content_type.strip_prefix("multipart/byteranges; boundary=").expect("the type names its boundary");
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    let mut rest = [b"\r\n", body].concat();
    let mut parts = Vec::new();
    assert!(rest.starts_with(&delimiter), "the body begins with a boundary");
    rest.drain(..delimiter.len());
    while rest != b"--\r\n" {
        assert!(rest.starts_with(b"\r\n"), "a boundary ends its line");
        let head_end = find(&rest, b"\r\n\r\n").expect("a part has a head");
        let part_end = find(&rest[head_end + 4..], &delimiter).expect("a part has an end") + head_end + 4;
        let head = String::from_utf8(rest[2..head_end].to_vec()).expect("heads are ASCII");
        let field = |name: &str| {
            head.lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap_or_else(|| panic!("{name} in {head:?}"))
                .to_owned()
        };
        parts.push(ReadPart {
            media_type: field("Content-Type: "),
            content_range: field("Content-Range: "),
            bytes: rest[head_end + 4..part_end].to_vec(),
        });
        rest.drain(..part_end + delimiter.len());
    }
    parts
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn facts(content: &[u8]) -> BlobFacts<'static> {
    BlobFacts {
        hash: HASH,
        size: content.len() as u64,
        media_type: "text/plain",
        name: "a.txt",
        last_modified: Some(1_700_000_000),
        by_hash: false,
        isolated: false,
    }
}

const HASH: &str = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882";
