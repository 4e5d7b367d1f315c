//! The file service's wire: `GET`, `HEAD`, `PUT`, `DELETE` on `<base>/<sha256 in lower-case hex>`.
//!
//! A whole upload is one `PUT` with `If-None-Match: *`: 201 if it was stored, 200 or 412 if the bytes were there. Where a
//! `HEAD` answers `Upload-Resume: v1`, a blob may also be sent in parts, each a `PUT` with a `Content-Range` that begins
//! where the last one ended: 202 with `Upload-Offset` until the last, then 201. `HEAD` on a blob that is not complete is
//! 404 with the `Upload-Offset` to go on from. A part that begins elsewhere is 409 with the right `Upload-Offset`.

use alloc::format;
use alloc::string::String;
use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// Bytes of a blob that any part of Driftline handles, at most: 16 GiB.
pub const MAX_BLOB_BYTES: u64 = 16 * 1024 * 1024 * 1024;
/// Bytes of a blob that the server takes when its configuration does not say: 2 GiB.
pub const DEFAULT_MAX_FILE_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// Bytes of a stored `Content-Type`, at most.
pub const MAX_CONTENT_TYPE_BYTES: usize = 255;

/// Names of headers, in lower case.
pub mod header {
    /// On answers to `HEAD`: uploads in parts are understood, with this dialect's version.
    pub const UPLOAD_RESUME: &str = "upload-resume";
    /// How many bytes of an incomplete blob are stored durably.
    pub const UPLOAD_OFFSET: &str = "upload-offset";
    /// `max-size=<bytes>`: the largest blob that is taken (draft-ietf-httpbis-resumable-upload).
    pub const UPLOAD_LIMIT: &str = "upload-limit";
    /// Digest of the whole representation (RFC 9530).
    pub const REPR_DIGEST: &str = "repr-digest";
}

/// Value of [`header::UPLOAD_RESUME`].
pub const UPLOAD_RESUME_V1: &str = "v1";

/// Values of [`ErrorBody::code`].
pub mod code {
    /// 404: no such route, or no such blob.
    pub const NOT_FOUND: &str = "not_found";
    /// 405: the route exists for another method.
    pub const METHOD_NOT_ALLOWED: &str = "method_not_allowed";
    /// 400: the request is not one of this service.
    pub const INVALID_REQUEST: &str = "invalid_request";
    /// 400: the path does not end in 64 lower-case hex digits.
    pub const INVALID_DIGEST: &str = "invalid_digest";
    /// 422: the bytes do not hash to the name.
    pub const DIGEST_MISMATCH: &str = "digest_mismatch";
    /// 413: larger than the limit in `limitBytes`.
    pub const TOO_LARGE: &str = "too_large";
    /// 412: a condition of the request does not hold; for `If-None-Match: *` on a PUT, the blob is there already.
    pub const PRECONDITION_FAILED: &str = "precondition_failed";
    /// 409: a part does not begin where the stored bytes end; `Upload-Offset` says where that is.
    pub const WRONG_OFFSET: &str = "wrong_offset";
    /// 409: another request took over this upload; ask for the offset and go on.
    pub const UPLOAD_TAKEN_OVER: &str = "upload_taken_over";
    /// 416: no byte of the blob is in the range.
    pub const RANGE_NOT_SATISFIABLE: &str = "range_not_satisfiable";
    /// 403: the page's origin is not among those that the server allows.
    pub const ORIGIN_NOT_ALLOWED: &str = "origin_not_allowed";
    /// No token that the server takes came along.
    pub const UNAUTHORIZED: &str = "unauthorized";
    /// 403: the scope is not among those that the server serves.
    pub const SCOPE_NOT_ALLOWED: &str = "scope_not_allowed";
    /// 408: the request's body stopped arriving.
    pub const REQUEST_TIMEOUT: &str = "request_timeout";
    /// 503: the server is busy or stopping; try again.
    pub const UNAVAILABLE: &str = "unavailable";
    /// 503: the server's disk is full.
    pub const STORAGE_FULL: &str = "storage_full";
    /// 500: the server failed.
    pub const INTERNAL_ERROR: &str = "internal_error";
}

/// Body of every error outside the mizu routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// One of [`code`].
    pub code: String,
    /// What happened, what was kept, what to do; for a person.
    #[serde(default)]
    pub message: String,
    /// The limit that was exceeded, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
    /// The size that exceeded it, in bytes, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
}

/// The `Content-Range` of a part of an upload: `bytes first-last/total`, both ends inclusive, the total known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadRange {
    first: u64,
    last: u64,
    total: u64,
}

impl UploadRange {
    /// A part of `bytes` bytes from `first` on, of a blob of `total` bytes. `None` if it is empty or goes past the end.
    pub fn new(first: u64, bytes: u64, total: u64) -> Option<Self> {
        let last = first.checked_add(bytes.checked_sub(1)?)?;
        (last < total).then_some(Self { first, last, total })
    }

    /// Reads the header's value; `None` if it is anything else.
    pub fn parse(value: &str) -> Option<Self> {
        let (unit, rest) = value.trim().split_once(' ')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (range, total) = rest.trim().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last, total) = (digits(first)?, digits(last)?, digits(total)?);
        (first <= last && last < total).then_some(Self { first, last, total })
    }

    /// Offset of the first byte.
    pub fn first(self) -> u64 {
        self.first
    }

    /// Offset just past the last byte.
    pub fn end(self) -> u64 {
        self.last + 1
    }

    /// Size of the whole blob.
    pub fn total(self) -> u64 {
        self.total
    }

    /// Whether this part ends the blob.
    pub fn is_final(self) -> bool {
        self.end() == self.total
    }
}

impl fmt::Display for UploadRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {}-{}/{}", self.first, self.last, self.total)
    }
}

/// A SHA-256, which is a blob's name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Digest([u8; 32]);

impl Sha256Digest {
    /// The digest of these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads 64 lower-case hex digits; `None` if it is anything else, so that a blob has one URL only.
    pub fn parse_hex(text: &str) -> Option<Self> {
        fn nibble(digit: u8) -> Option<u8> {
            match digit {
                b'0'..=b'9' => Some(digit - b'0'),
                b'a'..=b'f' => Some(digit - b'a' + 10),
                _ => None,
            }
        }
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
        let pairs: &[[u8; 2]; 32] = pairs.try_into().ok()?;
        let mut bytes = [0; 32];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Some(Self(bytes))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The value of a `Repr-Digest` header (RFC 9530) for a blob of this digest.
    pub fn to_repr_digest(self) -> String {
        format!("sha-256=:{}:", STANDARD.encode(self.0))
    }

    /// Reads the SHA-256 out of a `Repr-Digest` header; `Ok(None)` if it names other algorithms only.
    ///
    /// # Errors
    /// [`InvalidReprDigest`] if there is a `sha-256` member that is not 32 bytes of base64 between colons.
    pub fn parse_repr_digest(value: &str) -> Result<Option<Self>, InvalidReprDigest> {
        for member in value.split(',') {
            let Some((algorithm, rest)) = member.trim().split_once('=') else {
                return Err(InvalidReprDigest);
            };
            if algorithm.trim_end() != "sha-256" {
                continue;
            }
            let text = rest
                .trim()
                .strip_prefix(':')
                .and_then(|rest| rest.strip_suffix(':'))
                .ok_or(InvalidReprDigest)?;
            let bytes = STANDARD.decode(text).map_err(|_| InvalidReprDigest)?;
            return bytes.try_into().map(|bytes| Some(Self(bytes))).map_err(|_| InvalidReprDigest);
        }
        Ok(None)
    }
}

/// As 64 lower-case hex digits.
impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256Digest({self})")
    }
}

/// A `Repr-Digest` whose SHA-256 can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidReprDigest;

impl fmt::Display for InvalidReprDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the Repr-Digest header is not sha-256=:<base64>:")
    }
}

impl core::error::Error for InvalidReprDigest {}

/// A number of digits only: `str::parse` would take a sign.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    const EMPTY_HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_part_is_read_as_it_is_written() {
        let part = UploadRange::new(8, 4, 12).expect("within the blob");
        assert_eq!(part.to_string(), "bytes 8-11/12");
        assert_eq!(UploadRange::parse("bytes 8-11/12"), Some(part));
        assert!(part.is_final());
        assert_eq!((part.first(), part.end(), part.total()), (8, 12, 12));
    }

    #[test]
    fn a_part_that_is_empty_or_past_the_end_is_refused() {
        assert_eq!(UploadRange::new(0, 0, 5), None);
        assert_eq!(UploadRange::new(u64::MAX, 2, u64::MAX), None);
        for text in [
            "bytes 5-4/9",
            "bytes 0-9/9",
            "bytes 0-1/*",
            "bytes */9",
            "bytes +0-1/9",
            "0-1/9",
            "bytes 0-99999999999999999999/9",
            "lines 0-1/9",
            "",
        ] {
            assert_eq!(UploadRange::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_digest_has_one_spelling() {
        let digest = Sha256Digest::parse_hex(EMPTY_HEX).expect("64 hex digits");
        assert_eq!(digest.to_string(), EMPTY_HEX);
        assert_eq!(Sha256Digest::parse_hex(&EMPTY_HEX.to_uppercase()), None);
        assert_eq!(Sha256Digest::parse_hex(&EMPTY_HEX[1..]), None);
        assert_eq!(Sha256Digest::parse_hex(""), None);
    }

    #[test]
    fn a_repr_digest_is_read_as_it_is_written() {
        let digest = Sha256Digest::parse_hex(EMPTY_HEX).expect("64 hex digits");
        assert_eq!(digest.to_repr_digest(), "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:");
        assert_eq!(Sha256Digest::parse_repr_digest(&digest.to_repr_digest()), Ok(Some(digest)));
        assert_eq!(Sha256Digest::parse_repr_digest("sha-512=:AAAA:"), Ok(None));
        assert_eq!(Sha256Digest::parse_repr_digest("sha-256=:AAAA:"), Err(InvalidReprDigest));
        assert_eq!(Sha256Digest::parse_repr_digest("sha-256=AAAA"), Err(InvalidReprDigest));
    }
}
