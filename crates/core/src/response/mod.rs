//! Decides the status, the headers and the bytes of an answer that serves a blob over HTTP.
//!
//! Pure: from a [`Request`]'s head and a [`BlobFacts`] to a [`Plan`], with no bytes of the blob in
//! hand. The service worker and the server's file route both answer by it, so that one set of vectors
//! (`tests/vectors/range`) judges both. The rules are those of RFC 9110: preconditions (13.2.2), range
//! requests (14), partial content (15.3.7); with one more: what a user uploaded never runs as the app.

mod conditions;
mod media;
mod range;
mod refusal;
mod remote;

pub use range::{ByteRange, MAX_RANGES};
pub use refusal::{RETRY_AFTER_SECONDS, Refusal};
pub use remote::{RemoteAnswer, RemoteBody, RemoteFault};

use conditions::Verdict;
use range::Selection;

/// The head of a request, as far as it changes the answer. A field that came on several lines is
/// given joined by `", "`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// The method, as it stands on the wire: case counts (RFC 9110, 9.1).
    pub method: &'a str,
    /// `Range`.
    pub range: Option<&'a [u8]>,
    /// `If-Range`.
    pub if_range: Option<&'a [u8]>,
    /// `If-Match`.
    pub if_match: Option<&'a [u8]>,
    /// `If-None-Match`.
    pub if_none_match: Option<&'a [u8]>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<&'a [u8]>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<&'a [u8]>,
}

/// What is known about the blob that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct BlobFacts<'a> {
    /// SHA-256 of the bytes, in lower-case hex: the entity tag.
    pub hash: &'a str,
    /// Length in bytes.
    pub size: u64,
    /// The media type its record declares. Not trusted: what is not a media type is served as
    /// `application/octet-stream`.
    pub media_type: &'a str,
    /// The name a saved copy gets. Not trusted; may be empty.
    pub name: &'a str,
    /// When the record last changed, in seconds since 1970; `None` where that is not known.
    pub last_modified: Option<u64>,
    /// Whether the URL names the hash, so that its bytes can never change.
    pub by_hash: bool,
    /// Whether the app is cross-origin isolated, so that its documents need COEP.
    pub isolated: bool,
}

/// An answer: everything but the blob's own bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// 200, 206, 304, 405, 412 or 416, or a [`Refusal`]'s.
    pub status: u16,
    /// Names in lower case, each at most once; values are visible ASCII and spaces. `content-length`
    /// is among them except on 304.
    pub headers: Vec<(&'static str, String)>,
    /// What follows the head.
    pub body: Body,
}

/// The content of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// None at all: the answer to HEAD, and 304.
    Empty,
    /// The text of an error: JSON, `{"code": …, "message": …}`.
    Text(String),
    /// The blob, from its first byte to its last.
    Whole,
    /// One range of the blob.
    Range(ByteRange),
    /// `multipart/byteranges` (RFC 9110, 14.6): each part's head, then its bytes; last the trailer.
    Multipart {
        /// Parts the parts; stands in `content-type` already.
        boundary: String,
        /// In the order they were asked for; no two overlap or touch.
        parts: Vec<Part>,
        /// Ends the body.
        trailer: String,
    },
}

/// One part of a multipart body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The boundary's line, the part's headers and the empty line after them.
    pub head: String,
    /// The bytes that follow.
    pub range: ByteRange,
}

impl Plan {
    /// Looks a header up by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

/// Plans the answer to a request for a blob that is known.
///
/// Never fails: a header that makes no sense is ignored where RFC 9110 says so, and answered with 412
/// or 416 where it says that. A method other than GET and HEAD is answered with 405.
pub fn plan(request: &Request<'_>, blob: &BlobFacts<'_>) -> Plan {
    let head_only = request.method == "HEAD";
    if !head_only && request.method != "GET" {
        return refuse(request.method, &Refusal::MethodNotAllowed);
    }
    match conditions::evaluate(request, blob) {
        Verdict::Proceed => {}
        Verdict::NotModified => return not_modified(blob),
        Verdict::Failed => return refuse(request.method, &Refusal::PreconditionFailed),
    }
    let selection = match request.range {
        Some(range) if !head_only && conditions::range_applies(request, blob) => {
            range::select(range, blob.size)
        }
        _ => Selection::Ignored,
    };
    let mut plan = match selection {
        Selection::Ignored => whole(blob),
        Selection::Unsatisfiable => {
            return refuse(request.method, &Refusal::RangeNotSatisfiable { size: blob.size });
        }
        Selection::Ranges(ranges) => match ranges[..] {
            [range] => single(range, blob),
            _ => multipart(&ranges, blob),
        },
    };
    if head_only {
        plan.body = Body::Empty;
    }
    plan
}

/// Plans the answer to a request that is refused: a JSON body `{code, message}`, never cached; for
/// HEAD the same without the body.
pub fn refuse(method: &str, refusal: &Refusal) -> Plan {
    let text = refusal.json();
    let mut headers = vec![
        ("content-type", "application/json".to_owned()),
        ("content-length", text.len().to_string()),
        ("cache-control", "no-store".to_owned()),
        ("vary", VARY.to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
        ("cross-origin-resource-policy", "same-origin".to_owned()),
    ];
    match refusal {
        Refusal::RangeNotSatisfiable { size } => {
            headers.push(("content-range", format!("bytes */{size}")));
            headers.push(("accept-ranges", "bytes".to_owned()));
        }
        Refusal::MethodNotAllowed => headers.push(("allow", "GET, HEAD".to_owned())),
        Refusal::Offline | Refusal::NotUploaded | Refusal::StorageUnavailable => {
            headers.push(("retry-after", RETRY_AFTER_SECONDS.to_string()))
        }
        _ => {}
    }
    let body = if method == "HEAD" { Body::Empty } else { Body::Text(text) };
    Plan { status: refusal.status(), headers, body }
}

fn whole(blob: &BlobFacts<'_>) -> Plan {
    let media = media::MediaType::of(blob.media_type);
    let mut headers = content_headers(blob, &media, media.value.clone(), blob.size);
    headers.extend(common_headers(blob));
    Plan { status: 200, headers, body: Body::Whole }
}

fn single(range: ByteRange, blob: &BlobFacts<'_>) -> Plan {
    let media = media::MediaType::of(blob.media_type);
    let mut headers = content_headers(blob, &media, media.value.clone(), range.len());
    headers.push(("content-range", range.content_range(blob.size)));
    headers.extend(common_headers(blob));
    Plan { status: 206, headers, body: Body::Range(range) }
}

fn multipart(ranges: &[ByteRange], blob: &BlobFacts<'_>) -> Plan {
    let media = media::MediaType::of(blob.media_type);
    let boundary = boundary(blob.hash);
    let parts: Vec<Part> = ranges
        .iter()
        .enumerate()
        .map(|(index, range)| {
            let break_before = if index == 0 { "" } else { "\r\n" };
            let content_range = range.content_range(blob.size);
            let head = format!(
                "{break_before}--{boundary}\r\nContent-Type: {}\r\nContent-Range: {content_range}\r\n\r\n",
                media.value
            );
            Part { head, range: *range }
        })
        .collect();
    let trailer = format!("\r\n--{boundary}--\r\n");
    let length = parts.iter().map(|part| part.head.len() as u64 + part.range.len()).sum::<u64>()
        + trailer.len() as u64;
    let mut headers =
        content_headers(blob, &media, format!("multipart/byteranges; boundary={boundary}"), length);
    headers.extend(common_headers(blob));
    Plan { status: 206, headers, body: Body::Multipart { boundary, parts, trailer } }
}

/// RFC 9110, 15.4.5: the validators and what a cache needs, no metadata of the content.
fn not_modified(blob: &BlobFacts<'_>) -> Plan {
    Plan { status: 304, headers: common_headers(blob), body: Body::Empty }
}

fn content_headers(
    blob: &BlobFacts<'_>,
    media: &media::MediaType,
    content_type: String,
    length: u64,
) -> Headers {
    let mut headers = vec![
        ("content-type", content_type),
        ("content-length", length.to_string()),
        ("accept-ranges", "bytes".to_owned()),
    ];
    if let Some(seconds) = blob.last_modified {
        headers.push(("last-modified", conditions::format_date(seconds)));
    }
    if media.attachment {
        headers.push(("content-disposition", media::attachment(blob.name)));
        headers.push(("content-security-policy", SANDBOX.to_owned()));
    }
    headers
}

fn common_headers(blob: &BlobFacts<'_>) -> Headers {
    let cache = if blob.by_hash { CACHE_BY_HASH } else { CACHE_BY_RECORD };
    let mut headers = vec![
        ("etag", conditions::entity_tag(blob.hash)),
        ("cache-control", cache.to_owned()),
        ("vary", VARY.to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
        ("cross-origin-resource-policy", "same-origin".to_owned()),
    ];
    if blob.isolated {
        headers.push(("cross-origin-embedder-policy", "require-corp".to_owned()));
    }
    headers
}

/// No blob can be made that holds its own boundary, short of finding bytes that hold 160 bits of
/// their own SHA-256; so none needs to be searched for it, and no randomness is needed.
fn boundary(hash: &str) -> String {
    let digits: String = hash.chars().filter(char::is_ascii_hexdigit).take(BOUNDARY_HASH_CHARS).collect();
    format!("driftline-{digits}")
}

type Headers = Vec<(&'static str, String)>;

/// RFC 2046 allows 70 characters in all.
const BOUNDARY_HASH_CHARS: usize = 40;
/// `private`: who may read a file is for the app to say, and a shared cache would not ask it.
const CACHE_BY_HASH: &str = "private, max-age=31536000, immutable";
const CACHE_BY_RECORD: &str = "no-cache";
const SANDBOX: &str = "sandbox; default-src 'none'";
/// What a server's CORS answer depends on; the same for the service worker, so that the two agree.
const VARY: &str = "Origin";

#[cfg(test)]
mod tests;
