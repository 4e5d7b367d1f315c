//! `Range: bytes=…` (RFC 9110, 14.1.1, 14.1.2 and 14.2): from the field's bytes to ranges of a blob.

/// A run of bytes: from `start`, up to and without `end`. Never empty where the planner made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub start: u64,
    /// Offset after the last byte.
    pub end: u64,
}

/// What a `Range` field comes to for a blob of a known size.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// The field is not one we answer to: the whole blob is sent.
    Ignored,
    /// It is well-formed, and nothing of it lies within the blob.
    Unsatisfiable,
    /// At least one range; none overlaps or touches another; in the order they were asked for.
    Ranges(Vec<ByteRange>),
}

impl ByteRange {
    /// Its length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "an empty range is never made")]
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    pub(super) fn content_range(&self, size: u64) -> String {
        format!("bytes {}-{}/{size}", self.start, self.end - 1)
    }
}

/// Reads a `Range` field against a blob's size.
pub(super) fn select(field: &[u8], size: u64) -> Selection {
    let Some(specs) = parse(field) else { return Selection::Ignored };
    let ranges: Vec<ByteRange> = specs.iter().filter_map(|spec| spec.resolve(size)).collect();
    if ranges.is_empty() { Selection::Unsatisfiable } else { Selection::Ranges(coalesce(ranges)) }
}

/// One range as it was asked for. Positions beyond `u64` are `u64::MAX`, which is beyond any blob.
#[derive(Clone, Copy, Debug)]
enum Spec {
    FromTo(u64, u64),
    From(u64),
    Last(u64),
}

impl Spec {
    /// The bytes it selects; `None` if it can't be satisfied.
    fn resolve(self, size: u64) -> Option<ByteRange> {
        let range = match self {
            Self::FromTo(first, last) => ByteRange { start: first, end: last.saturating_add(1).min(size) },
            Self::From(first) => ByteRange { start: first, end: size },
            Self::Last(length) => ByteRange { start: size.saturating_sub(length), end: size },
        };
        (range.start < range.end).then_some(range)
    }
}

/// `None` for another unit, bad syntax, a first position after its last, or too much of it.
fn parse(field: &[u8]) -> Option<Vec<Spec>> {
    let field = trim(field);
    if field.len() > MAX_RANGE_FIELD_BYTES {
        return None;
    }
    let (unit, set) = split_once(field, b'=')?;
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let mut specs = Vec::new();
    for element in set.split(|byte| *byte == b',').map(trim) {
        // A list may have empty elements (RFC 9110, 5.6.1.2), but not only those.
        if element.is_empty() {
            continue;
        }
        if specs.len() == MAX_RANGES {
            return None;
        }
        specs.push(parse_spec(element)?);
    }
    (!specs.is_empty()).then_some(specs)
}

fn parse_spec(element: &[u8]) -> Option<Spec> {
    let (first, last) = split_once(element, b'-')?;
    match (first.is_empty(), last.is_empty()) {
        (true, true) => None,
        (true, false) => Some(Spec::Last(number(last)?)),
        (false, true) => Some(Spec::From(number(first)?)),
        (false, false) => {
            let spec = Spec::FromTo(number(first)?, number(last)?);
            (!is_greater(first, last)).then_some(spec)
        }
    }
}

/// Reads `1*DIGIT`; what is beyond `u64` becomes `u64::MAX`.
fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(value.saturating_mul(10).saturating_add(digit))
    })
}

/// Compares digits as numbers of any length, so that two positions beyond `u64` still differ.
fn is_greater(left: &[u8], right: &[u8]) -> bool {
    let (left, right) = (without_zeros(left), without_zeros(right));
    (left.len(), left) > (right.len(), right)
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|byte| **byte == b'0').count();
    &digits[zeros..]
}

/// Joins what overlaps or touches; a joined range stands where the first of its members stood
/// (RFC 9110, 15.3.7.2). Quadratic, in at most [`MAX_RANGES`].
fn coalesce(ranges: Vec<ByteRange>) -> Vec<ByteRange> {
    let mut joined: Vec<ByteRange> = Vec::new();
    for range in ranges {
        let touches = |other: &ByteRange| range.start <= other.end && other.start <= range.end;
        let place = joined.iter().position(touches).unwrap_or(joined.len());
        let mut whole = range;
        // Those that are there do not touch each other, so whatever joins does so through this range.
        joined.retain(|other| {
            let joins = touches(other);
            if joins {
                whole = ByteRange { start: whole.start.min(other.start), end: whole.end.max(other.end) };
            }
            !joins
        });
        joined.insert(place, whole);
    }
    joined
}

/// Without the optional white space of RFC 9110, 5.6.3: spaces and tabs.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == separator)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// Ranges that one request may ask for; with more, `Range` is ignored (RFC 9110, 17.15).
pub const MAX_RANGES: usize = 50;
const MAX_RANGE_FIELD_BYTES: usize = 8 * 1024;
