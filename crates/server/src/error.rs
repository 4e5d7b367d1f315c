//! The crate's one error type: what went wrong, by kind, with a text for a person.
//!
//! A kind decides the HTTP status, the code on either wire, and whether trying again can help.

use std::error::Error as StdError;
use std::fmt;

use driftline_protocol::{files, mizu};

/// A result whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    limit_bytes: Option<u64>,
    size_bytes: Option<u64>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Kinds of failure, told apart by what the other side can do about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// 400: the request is malformed or breaks a limit that is not one of size.
    Invalid,
    /// 400: a blob's name is not a SHA-256 in lower-case hex.
    InvalidDigest,
    /// 401: no token came along, or none that is good.
    Unauthorized,
    /// 403: the scope is not among those that the server serves.
    ScopeNotAllowed,
    /// 403: a page of another origin asked for a change.
    OriginNotAllowed,
    /// 404: no such route, or no such blob.
    NotFound,
    /// 405: the route exists for another method.
    MethodNotAllowed,
    /// 408: the request's body stopped arriving.
    RequestTimeout,
    /// 409: a part of an upload does not begin where the stored bytes end.
    WrongOffset,
    /// 409: another request took over this upload.
    UploadTakenOver,
    /// 410: the log has been trimmed past the cursor.
    CursorTooOld,
    /// 412: a condition of the request does not hold.
    PreconditionFailed,
    /// 413: larger than a limit.
    TooLarge,
    /// 422: the bytes do not hash to the name.
    DigestMismatch,
    /// 500: the server failed.
    Internal,
    /// 503: busy or stopping.
    Unavailable,
    /// 503: the disk is full.
    StorageFull,
}

impl Error {
    /// An error of this kind; `message` says what happened, what was kept and what to do.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), limit_bytes: None, size_bytes: None, source: None }
    }

    /// A failure of the disk or the database under `doing`.
    pub fn storage(doing: &str, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = source.into();
        let kind = if is_disk_full(source.as_ref()) { ErrorKind::StorageFull } else { ErrorKind::Internal };
        let message = match kind {
            ErrorKind::StorageFull => {
                "the server's disk is full: nothing of this request was stored; try again later".to_owned()
            }
            _ => format!(
                "the server failed while {doing}: nothing of this request was stored; try again later"
            ),
        };
        Self { source: Some(source), ..Self::new(kind, message) }
    }

    /// The same error with the limit that was exceeded and, if known, the size that exceeded it.
    pub fn with_limit(mut self, limit_bytes: u64, size_bytes: Option<u64>) -> Self {
        self.limit_bytes = Some(limit_bytes);
        self.size_bytes = size_bytes;
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What happened, for a person.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the same request can succeed later.
    pub fn is_temporary(&self) -> bool {
        use ErrorKind::*;
        matches!(
            self.kind,
            RequestTimeout | WrongOffset | UploadTakenOver | Internal | Unavailable | StorageFull
        )
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        use ErrorKind::*;
        match self.kind {
            Invalid | InvalidDigest => 400,
            Unauthorized => 401,
            ScopeNotAllowed | OriginNotAllowed => 403,
            NotFound => 404,
            MethodNotAllowed => 405,
            RequestTimeout => 408,
            WrongOffset | UploadTakenOver => 409,
            CursorTooOld => 410,
            PreconditionFailed => 412,
            TooLarge => 413,
            DigestMismatch => 422,
            Internal => 500,
            Unavailable | StorageFull => 503,
        }
    }

    /// The body on the mizu routes.
    pub fn to_wire(&self) -> mizu::WireError {
        use ErrorKind::*;
        let code = match self.kind {
            Unauthorized => mizu::code::UNAUTHORIZED,
            CursorTooOld => mizu::code::CURSOR_TOO_OLD,
            NotFound => mizu::code::NOT_FOUND,
            MethodNotAllowed => mizu::code::METHOD_NOT_ALLOWED,
            OriginNotAllowed => mizu::code::ORIGIN_NOT_ALLOWED,
            RequestTimeout => mizu::code::REQUEST_TIMEOUT,
            TooLarge => mizu::code::TOO_LARGE,
            Unavailable | StorageFull => mizu::code::UNAVAILABLE,
            ScopeNotAllowed | Internal => mizu::code::INTERNAL_ERROR,
            Invalid | InvalidDigest | WrongOffset | UploadTakenOver | PreconditionFailed | DigestMismatch => {
                mizu::code::INVALID_MUTATION
            }
        };
        mizu::WireError { code: code.to_owned(), error: self.message.clone() }
    }

    /// The body everywhere else.
    pub fn to_body(&self) -> files::ErrorBody {
        use ErrorKind::*;
        let code = match self.kind {
            Invalid | CursorTooOld => files::code::INVALID_REQUEST,
            Unauthorized => files::code::UNAUTHORIZED,
            InvalidDigest => files::code::INVALID_DIGEST,
            ScopeNotAllowed => files::code::SCOPE_NOT_ALLOWED,
            OriginNotAllowed => files::code::ORIGIN_NOT_ALLOWED,
            NotFound => files::code::NOT_FOUND,
            MethodNotAllowed => files::code::METHOD_NOT_ALLOWED,
            RequestTimeout => files::code::REQUEST_TIMEOUT,
            WrongOffset => files::code::WRONG_OFFSET,
            UploadTakenOver => files::code::UPLOAD_TAKEN_OVER,
            PreconditionFailed => files::code::PRECONDITION_FAILED,
            TooLarge => files::code::TOO_LARGE,
            DigestMismatch => files::code::DIGEST_MISMATCH,
            Internal => files::code::INTERNAL_ERROR,
            Unavailable => files::code::UNAVAILABLE,
            StorageFull => files::code::STORAGE_FULL,
        };
        files::ErrorBody {
            code: code.to_owned(),
            message: self.message.clone(),
            limit_bytes: self.limit_bytes,
            size_bytes: self.size_bytes,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

fn is_disk_full(source: &(dyn StdError + Send + Sync + 'static)) -> bool {
    use std::io::{Error as IoError, ErrorKind as IoKind};
    if let Some(error) = source.downcast_ref::<IoError>() {
        return matches!(error.kind(), IoKind::StorageFull | IoKind::QuotaExceeded);
    }
    source.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code)
        == Some(rusqlite::ErrorCode::DiskFull)
}
