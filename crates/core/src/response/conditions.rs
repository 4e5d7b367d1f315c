//! Preconditions (RFC 9110, 13): entity tags, dates, and the order they are looked at in.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::range::trim;
use super::{BlobFacts, Request};

/// What the preconditions come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Answer as if there were none.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// Evaluates all but `If-Range`, in the order of RFC 9110, 13.2.2. A date that can't be read is
/// ignored; an entity tag that can't be read matches nothing.
pub(super) fn evaluate(request: &Request<'_>, blob: &BlobFacts<'_>) -> Verdict {
    if let Some(field) = request.if_match {
        if !matches_any(field, blob.hash, Comparison::Strong) {
            return Verdict::Failed;
        }
    } else if let Some((limit, modified)) = dates(request.if_unmodified_since, blob)
        && modified > limit
    {
        return Verdict::Failed;
    }
    if let Some(field) = request.if_none_match {
        if matches_any(field, blob.hash, Comparison::Weak) {
            return Verdict::NotModified;
        }
    } else if let Some((limit, modified)) = dates(request.if_modified_since, blob)
        && modified <= limit
    {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// Whether `Range` counts: `If-Range` is absent, or names just these bytes (RFC 9110, 13.1.5).
///
/// A date counts on a hash's URL alone. A record can change twice within a second, so there a date is
/// not a strong validator (8.8.2.2), and the safe answer is the whole.
pub(super) fn range_applies(request: &Request<'_>, blob: &BlobFacts<'_>) -> bool {
    let Some(field) = request.if_range else { return true };
    let field = trim(field);
    match entity_tags(field).as_slice() {
        [tag] if tag.is_all_of(field) => !tag.weak && tag.opaque == blob.hash.as_bytes(),
        _ => blob.by_hash && dates(Some(field), blob).is_some_and(|(limit, modified)| modified == limit),
    }
}

/// A strong entity tag of a hash.
pub(super) fn entity_tag(hash: &str) -> String {
    let opaque: String = hash.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("\"{opaque}\"")
}

/// Writes an IMF-fixdate (RFC 9110, 5.6.7).
pub(super) fn format_date(seconds: u64) -> String {
    httpdate::fmt_http_date(time(seconds))
}

/// Whether a single entity tag names the hash, be it weak or strong; `None` if it can't be read.
pub(super) fn names_hash(field: &[u8], hash: &str) -> Option<bool> {
    let field = trim(field);
    match entity_tags(field).as_slice() {
        [tag] if tag.is_all_of(field) => Some(tag.opaque == hash.as_bytes()),
        _ => None,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

struct EntityTag<'a> {
    weak: bool,
    /// Without the quotes.
    opaque: &'a [u8],
}

impl EntityTag<'_> {
    /// Whether the field holds this tag and nothing else.
    fn is_all_of(&self, field: &[u8]) -> bool {
        field.len() == self.opaque.len() + if self.weak { 4 } else { 2 }
    }
}

fn matches_any(field: &[u8], hash: &str, comparison: Comparison) -> bool {
    if trim(field) == b"*" {
        return true;
    }
    let strong_enough = |tag: &EntityTag<'_>| comparison == Comparison::Weak || !tag.weak;
    entity_tags(field).iter().any(|tag| tag.opaque == hash.as_bytes() && strong_enough(tag))
}

/// Reads a list of entity tags (RFC 9110, 8.8.3) up to the first thing that is none.
fn entity_tags(field: &[u8]) -> Vec<EntityTag<'_>> {
    let mut tags = Vec::new();
    let mut rest = trim(field);
    loop {
        while let [b',' | b' ' | b'\t', tail @ ..] = rest {
            rest = tail;
        }
        let weak = rest.starts_with(b"W/");
        let [b'"', quoted @ ..] = (if weak { &rest[2..] } else { rest }) else { return tags };
        let Some(length) = quoted.iter().position(|byte| *byte == b'"') else { return tags };
        let (opaque, tail) = (&quoted[..length], trim(&quoted[length + 1..]));
        let is_tag_byte = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..);
        if !opaque.iter().all(is_tag_byte) || !(tail.is_empty() || tail.starts_with(b",")) {
            return tags;
        }
        tags.push(EntityTag { weak, opaque });
        rest = tail;
    }
}

/// A condition's date and the blob's own, both to the second; `None` if either is missing or the
/// field is not a date in one of HTTP's three formats.
///
/// The two digits of an RFC 850 year are read as 1970 to 2069: there is no clock here to do better.
fn dates(field: Option<&[u8]>, blob: &BlobFacts<'_>) -> Option<(SystemTime, SystemTime)> {
    let text = core::str::from_utf8(trim(field?)).ok()?;
    Some((httpdate::parse_http_date(text).ok()?, time(blob.last_modified?)))
}

fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.min(MAX_DATE_SECONDS))
}

/// The last second of the year 9999, which is as far as HTTP's dates go.
const MAX_DATE_SECONDS: u64 = 253_402_300_799;
