//! What goes between worker and page, and between workers: plain data.

use driftline_core::files::{Digest, FileId, FileState, Input, Status, TransferKind};
use serde::{Deserialize, Serialize};
use wasm_bindgen::JsValue;

/// What the app says when it opens its files; api.md, `FilesConfig`, as far as it is data.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FilesConfig {
    /// Where the remote's blobs are: an absolute URL.
    pub base_url: String,
    /// The path that the service worker serves files under.
    pub url_prefix: String,
    /// Whether requests need headers that only a page knows.
    #[serde(default)]
    pub auth: bool,
    /// Whether what is saved is uploaded without being asked for.
    pub auto_upload: Option<bool>,
    /// Uploads at a time.
    pub max_concurrent_uploads: Option<usize>,
    /// Downloads at a time.
    pub max_concurrent_downloads: Option<usize>,
    /// The size of an upload's parts, in bytes.
    pub chunk_bytes: Option<f64>,
    /// Tries after the first.
    pub retries: Option<u32>,
    /// The first back-off's bound, in milliseconds.
    pub base_delay_ms: Option<u64>,
    /// The largest back-off, in milliseconds.
    pub max_delay_ms: Option<u64>,
    /// Whether to start on hold.
    #[serde(default)]
    pub paused: bool,
}

/// A wish of the page's.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
#[allow(missing_docs)]
pub enum Command {
    Wanted { hash: Digest },
    EnqueueUpload { hash: Digest },
    EnqueueDownload { hash: Digest },
    Prioritize { hash: Digest },
    Cancel { hash: Digest },
    Pin { hash: Digest, pinned: bool },
    Evict { request: u32, hash: Digest },
    Pause,
    Resume,
    Online { online: bool },
}

/// What is told to the pages of all tabs; `uploaded` only to that of the tab that leads.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
#[allow(missing_docs)]
pub enum Event {
    State {
        state: FileState,
    },
    Removed {
        id: FileId,
    },
    Progress {
        kind: TransferKind,
        files: Vec<FileId>,
        loaded: u64,
        total: u64,
    },
    Status {
        status: Status,
    },
    Uploaded {
        hash: Digest,
        files: Vec<FileId>,
    },
    Evicted {
        request: u32,
        evicted: bool,
    },
    /// The durable states can't be read: files are saved and read, but nothing is transferred.
    Unavailable {
        message: String,
    },
}

/// What is on this device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Bytes of all local blobs.
    pub bytes: u64,
    /// How many there are.
    pub files: u64,
    /// Bytes of those that may be evicted.
    pub evictable_bytes: u64,
    /// What the browser gives this origin, in bytes.
    pub quota: u64,
}

/// What the page makes its errors of.
#[derive(Serialize)]
pub(super) struct ErrorMessage<'a> {
    pub(super) code: &'a str,
    pub(super) message: &'a str,
}

/// The bounds of an upload's parts, in bytes: small enough to repeat, large enough to be worth a request.
const MIN_CHUNK_BYTES: u64 = 64 << 10;
const DEFAULT_CHUNK_BYTES: u64 = 8 << 20;
const MAX_CHUNK_BYTES: u64 = 1 << 30;

impl FilesConfig {
    pub(super) fn chunk_bytes(&self) -> u64 {
        self.chunk_bytes
            .map_or(DEFAULT_CHUNK_BYTES, |bytes| (bytes as u64).clamp(MIN_CHUNK_BYTES, MAX_CHUNK_BYTES))
    }

    /// What the service worker must know without any page.
    pub(super) fn for_service_worker(&self) -> JsValue {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct ForServiceWorker<'a> {
            base_url: &'a str,
            url_prefix: &'a str,
            auth: bool,
        }
        to_js(&ForServiceWorker {
            base_url: self.base_url.trim_end_matches('/'),
            url_prefix: &self.url_prefix,
            auth: self.auth,
        })
    }
}

impl From<Command> for Input {
    fn from(command: Command) -> Self {
        match command {
            Command::Wanted { hash } => Self::Wanted(hash),
            Command::EnqueueUpload { hash } => Self::EnqueueUpload(hash),
            Command::EnqueueDownload { hash } => Self::EnqueueDownload(hash),
            Command::Prioritize { hash } => Self::Prioritize(hash),
            Command::Cancel { hash } => Self::Cancel(hash),
            Command::Pin { hash, pinned } => Self::Pin(hash, pinned),
            Command::Evict { request, hash } => Self::Evict(request, hash),
            Command::Pause => Self::Pause,
            Command::Resume => Self::Resume,
            Command::Online { online } => Self::Online(online),
        }
    }
}

/// Plain data as a JavaScript object.
///
/// # Panics
/// Never, for what this module defines: it has no maps with keys that JavaScript lacks.
#[must_use]
pub fn to_js(value: &impl Serialize) -> JsValue {
    let serializer = serde_wasm_bindgen::Serializer::json_compatible();
    value.serialize(&serializer).expect("plain data has a JavaScript form")
}
