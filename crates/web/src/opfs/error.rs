//! What can go wrong in OPFS, by the type of the browser's exception.

use core::fmt;

use wasm_bindgen::{JsCast, JsValue};
use web_sys::DomException;

/// What went wrong, and the browser's own words.
#[derive(Clone, Debug)]
pub struct StoreError {
    /// What to do about it.
    pub kind: StoreErrorKind,
    /// What happened.
    pub message: String,
}

/// What a storage error means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// The device or the origin's share of it is full.
    QuotaExceeded,
    /// Somebody has the file open.
    Busy,
    /// It is not there.
    NotFound,
    /// This browser has no such storage, or refuses it here (a private window).
    Unavailable,
    /// It is larger than [`driftline_core::files::MAX_BLOB_BYTES`].
    TooLarge,
    /// The bytes are not those of the digest.
    DigestMismatch,
    /// Anything else.
    Other,
}

impl StoreError {
    pub(crate) fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Something that a correct caller does not meet.
    #[must_use]
    pub fn unexpected(message: &str) -> Self {
        Self::new(StoreErrorKind::Other, message)
    }

    /// The code of api.md, Errors.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.kind {
            StoreErrorKind::QuotaExceeded => "quota_exceeded",
            StoreErrorKind::NotFound => "not_found",
            StoreErrorKind::Unavailable | StoreErrorKind::Busy => "storage_unavailable",
            StoreErrorKind::TooLarge => "too_large",
            StoreErrorKind::DigestMismatch => "digest_mismatch",
            StoreErrorKind::Other => "unexpected",
        }
    }
}

impl From<JsValue> for StoreError {
    fn from(error: JsValue) -> Self {
        let Some(exception) = error.dyn_ref::<DomException>() else {
            let message = error
                .dyn_ref::<js_sys::Error>()
                .map_or_else(|| format!("{error:?}"), |error| error.message().into());
            // A TypeError here is a method that this browser lacks.
            let lacks = error.is_instance_of::<js_sys::TypeError>();
            return Self {
                kind: if lacks { StoreErrorKind::Unavailable } else { StoreErrorKind::Other },
                message,
            };
        };
        let kind = match exception.name().as_str() {
            "QuotaExceededError" => StoreErrorKind::QuotaExceeded,
            "NoModificationAllowedError" => StoreErrorKind::Busy,
            "NotFoundError" => StoreErrorKind::NotFound,
            "SecurityError" | "NotSupportedError" | "NotAllowedError" => StoreErrorKind::Unavailable,
            _ => StoreErrorKind::Other,
        };
        Self { kind, message: format!("{}: {}", exception.name(), exception.message()) }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for StoreError {}
