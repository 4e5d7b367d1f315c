//! Blobs on the local disk, named by their SHA-256.
//!
//! ```text
//! blobs/<aa>/<sha256>         complete and verified; never rewritten
//! blobs/<aa>/<sha256>.json    its media type and when it came
//! partial/<sha256>            the first bytes of an upload in parts
//! partial/<sha256>.json       its total and media type
//! tmp/<number>                a whole upload under way
//! ```
//!
//! A final name means complete and verified: bytes are hashed as they are written, synced, compared with the name, and
//! only then renamed. A kill at any moment leaves a temporary that a later start sweeps, or a partial that goes on.

mod locks;
mod upload;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use driftline_protocol::files::Sha256Digest;
use serde::{Deserialize, Serialize};

pub use locks::{PartialGuard, PartialLocks};
pub use upload::{Published, Upload};

use crate::error::{Error, Result};
use upload::HasherCache;

/// The blobs of one directory. Synchronous: an async caller wraps its calls.
#[derive(Debug)]
pub struct BlobStore {
    root: PathBuf,
    next_temp: AtomicU64,
    /// Hashes of partials so far, so that a part need not re-read those before it.
    hashers: Mutex<HasherCache>,
}

/// What is known about a blob besides its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobFacts {
    /// Length in bytes.
    pub size: u64,
    /// The media type that the first upload declared. Not to be trusted.
    pub media_type: String,
    /// When it was stored, in seconds since 1970.
    pub created_seconds: u64,
}

impl BlobStore {
    /// Opens the directory, or makes it.
    ///
    /// # Errors
    /// If it can't be made or written.
    pub fn open(root: &Path) -> Result<Self> {
        for part in [BLOBS, PARTIAL, TEMP] {
            fs::create_dir_all(root.join(part)).map_err(failed("making the blob directory"))?;
        }
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        Ok(Self { root: root.to_owned(), next_temp: AtomicU64::new(seed), hashers: Mutex::default() })
    }

    /// Removes what crashes and lost clients have left: temporaries older than [`TEMP_KEEP`], partials untouched for
    /// [`PARTIAL_KEEP`]. Says how many files went.
    ///
    /// # Errors
    /// If a directory can't be read. A file that can't be removed is left for the next time.
    pub fn sweep(&self, now: SystemTime) -> Result<usize> {
        let mut swept = 0;
        for (part, keep) in [(TEMP, TEMP_KEEP), (PARTIAL, PARTIAL_KEEP)] {
            let entries = fs::read_dir(self.root.join(part)).map_err(failed("sweeping"))?;
            for entry in entries.filter_map(io::Result::ok) {
                let modified = entry.metadata().and_then(|meta| meta.modified());
                let age = modified.ok().and_then(|modified| now.duration_since(modified).ok());
                if age.is_some_and(|age| age > keep) && fs::remove_file(entry.path()).is_ok() {
                    swept += 1;
                }
            }
        }
        Ok(swept)
    }

    /// What is known about a blob; `None` if it is not there.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn facts(&self, digest: Sha256Digest) -> Result<Option<BlobFacts>> {
        match fs::metadata(self.blob_path(digest)) {
            Ok(meta) => self.read_facts(digest, &meta).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("reading a blob")(error)),
        }
    }

    /// Opens a blob for reading; `None` if it is not there. A deletion later does not touch the open file.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn read(&self, digest: Sha256Digest) -> Result<Option<(File, BlobFacts)>> {
        let file = match File::open(self.blob_path(digest)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("reading a blob")(error)),
        };
        let meta = file.metadata().map_err(failed("reading a blob"))?;
        Ok(Some((file, self.read_facts(digest, &meta)?)))
    }

    /// Deletes a blob, and says whether it was there.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn delete(&self, digest: Sha256Digest) -> Result<bool> {
        let path = self.blob_path(digest);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed("deleting a blob")(error)),
        }
        if let Err(error) = fs::remove_file(path.with_extension(META))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "a deleted blob's facts are left behind");
        }
        sync_directory(parent(&path))?;
        Ok(true)
    }

    /// How many bytes of an upload in parts are stored; `None` if none was begun.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn offset(&self, digest: Sha256Digest) -> Result<Option<u64>> {
        match fs::metadata(self.partial_path(digest)) {
            Ok(meta) => Ok(Some(meta.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("reading a partial")(error)),
        }
    }

    fn read_facts(&self, digest: Sha256Digest, meta: &fs::Metadata) -> Result<BlobFacts> {
        let stored: Option<BlobMeta> = read_json(&self.blob_path(digest).with_extension(META));
        let modified = meta.modified().unwrap_or(UNIX_EPOCH);
        Ok(match stored {
            Some(stored) => BlobFacts {
                size: meta.len(),
                media_type: stored.media_type,
                created_seconds: stored.created_seconds,
            },
            None => BlobFacts {
                size: meta.len(),
                media_type: UNKNOWN_MEDIA_TYPE.to_owned(),
                created_seconds: modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            },
        })
    }

    fn blob_path(&self, digest: Sha256Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join(BLOBS).join(&name[..2]).join(name)
    }

    fn partial_path(&self, digest: Sha256Digest) -> PathBuf {
        self.root.join(PARTIAL).join(digest.to_string())
    }

    fn temp_path(&self) -> PathBuf {
        let number = self.next_temp.fetch_add(1, Ordering::Relaxed);
        self.root.join(TEMP).join(format!("{number:x}-{:x}", std::process::id()))
    }
}

/// The text of `blobs/<aa>/<sha256>.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlobMeta {
    media_type: String,
    created_seconds: u64,
}

/// The text of `partial/<sha256>.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PartialMeta {
    media_type: String,
    total_bytes: u64,
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Writes the whole text or leaves what was there.
fn write_json(temp: &Path, path: &Path, value: &impl Serialize) -> Result<()> {
    use std::io::Write;
    let text = serde_json::to_vec(value).map_err(|error| Error::storage("writing a blob's facts", error))?;
    let write = || {
        let mut file = File::create(temp)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(temp, path)
    };
    write().map_err(failed("writing a blob's facts"))
}

/// A rename is durable once its directory is.
fn sync_directory(path: &Path) -> Result<()> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(failed("syncing a directory"))
}

fn parent(path: &Path) -> &Path {
    path.parent().expect("every path here was joined to the root")
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> Error {
    move |error| Error::storage(doing, error)
}

/// How long a whole upload's temporary may be untouched before a sweep takes it.
pub const TEMP_KEEP: Duration = Duration::from_secs(24 * 60 * 60);
/// How long an upload in parts may rest before a sweep takes it.
pub const PARTIAL_KEEP: Duration = Duration::from_secs(7 * 24 * 60 * 60);

const BLOBS: &str = "blobs";
const PARTIAL: &str = "partial";
const TEMP: &str = "tmp";
const META: &str = "json";
const UNKNOWN_MEDIA_TYPE: &str = "application/octet-stream";

#[cfg(test)]
mod tests;
