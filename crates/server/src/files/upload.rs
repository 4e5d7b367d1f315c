//! One upload: bytes go in, a verified blob comes out.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use driftline_protocol::files::{Sha256Digest, UploadRange};
use sha2::{Digest, Sha256};

use super::{BlobMeta, BlobStore, META, PartialMeta, failed, parent, read_json, sync_directory, write_json};
use crate::error::{Error, ErrorKind, Result};

/// Bytes on their way to a final name. Dropped before it is published, a whole upload leaves nothing, and an upload in
/// parts keeps what it has.
#[derive(Debug)]
pub struct Upload {
    store: Arc<BlobStore>,
    digest: Sha256Digest,
    path: PathBuf,
    file: File,
    hasher: Sha256,
    written: u64,
    in_parts: bool,
}

/// What became of an upload that is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The blob is new.
    Stored,
    /// The same bytes were there.
    AlreadyThere,
}

impl BlobStore {
    /// Begins a whole upload.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn begin(self: &Arc<Self>, digest: Sha256Digest) -> Result<Upload> {
        let path = self.temp_path();
        let file = File::create_new(&path).map_err(failed("beginning an upload"))?;
        let store = Arc::clone(self);
        Ok(Upload { store, digest, path, file, hasher: Sha256::new(), written: 0, in_parts: false })
    }

    /// Opens an upload in parts at the part's first byte, which must be where the stored bytes end. The caller holds
    /// the digest's [`PartialGuard`](super::PartialGuard).
    ///
    /// # Errors
    /// [`ErrorKind::WrongOffset`] if it is not; [`ErrorKind::Invalid`] if an earlier part named another total; if the
    /// disk fails.
    pub fn resume(
        self: &Arc<Self>,
        digest: Sha256Digest,
        part: UploadRange,
        media_type: &str,
    ) -> Result<Upload> {
        let path = self.partial_path(digest);
        let stored = self.offset(digest)?.unwrap_or(0);
        if part.first() != stored {
            let text = format!(
                "the part begins at byte {}, {stored} bytes are stored: go on from there",
                part.first()
            );
            return Err(Error::new(ErrorKind::WrongOffset, text));
        }
        let meta_path = path.with_extension(META);
        let known: Option<PartialMeta> = if stored == 0 { None } else { read_json(&meta_path) };
        match known {
            Some(known) if known.total_bytes != part.total() => {
                let text = format!(
                    "the part says that the blob has {} bytes, an earlier one said {}: the stored bytes are kept; \
                     send parts of one blob",
                    part.total(),
                    known.total_bytes
                );
                return Err(Error::new(ErrorKind::Invalid, text));
            }
            Some(_) => {}
            None => {
                let meta = PartialMeta { media_type: media_type.to_owned(), total_bytes: part.total() };
                write_json(&self.temp_path(), &meta_path, &meta)?;
            }
        }
        self.open_partial(digest, stored)
    }

    /// Publishes an upload in parts whose last byte was stored when its server died. `None` if bytes are missing.
    ///
    /// # Errors
    /// As [`Upload::publish`].
    pub fn finish_interrupted(
        self: &Arc<Self>,
        digest: Sha256Digest,
        now: SystemTime,
    ) -> Result<Option<Published>> {
        let path = self.partial_path(digest);
        let Some(stored) = self.offset(digest)? else { return Ok(None) };
        match read_json::<PartialMeta>(&path.with_extension(META)) {
            Some(meta) if meta.total_bytes == stored => {
                self.open_partial(digest, stored)?.publish(&meta.media_type, now).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn open_partial(self: &Arc<Self>, digest: Sha256Digest, stored: u64) -> Result<Upload> {
        let path = self.partial_path(digest);
        let known = self.hashers.lock().unwrap_or_else(PoisonError::into_inner).take(digest, stored);
        let hasher = match known {
            Some(hasher) => hasher,
            None if stored == 0 => Sha256::new(),
            None => hash_file(&path)?,
        };
        let file =
            OpenOptions::new().append(true).create(true).open(&path).map_err(failed("opening a partial"))?;
        let store = Arc::clone(self);
        Ok(Upload { store, digest, path, file, hasher, written: stored, in_parts: true })
    }
}

impl Upload {
    /// Appends bytes.
    ///
    /// # Errors
    /// If the disk fails; what is stored then is found again by its length.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(failed("storing an upload"))?;
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// How many bytes the upload has, of all its parts.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Makes the bytes of a part durable, so that their number may be promised.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(failed("storing an upload"))
    }

    /// Verifies the bytes and gives them their final name.
    ///
    /// # Errors
    /// [`ErrorKind::DigestMismatch`] if they do not hash to it, after which nothing of them is kept; if the disk fails.
    pub fn publish(mut self, media_type: &str, now: SystemTime) -> Result<Published> {
        let actual = Sha256Digest::from_bytes(self.hasher.clone().finalize().into());
        if actual != self.digest {
            self.discard();
            let text = format!(
                "the {} bytes hash to {actual}, not to the name {}: nothing was stored; read the file again and send it anew",
                self.written, self.digest
            );
            return Err(Error::new(ErrorKind::DigestMismatch, text));
        }
        let target = self.store.blob_path(self.digest);
        let is_there = fs::metadata(&target).is_ok_and(|meta| meta.len() == self.written);
        if is_there {
            self.discard();
            return Ok(Published::AlreadyThere);
        }
        self.file.sync_all().map_err(failed("storing an upload"))?;
        let directory = parent(&target);
        if !directory.is_dir() {
            fs::create_dir_all(directory).map_err(failed("storing an upload"))?;
            sync_directory(parent(directory))?;
        }
        let created_seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let meta = BlobMeta { media_type: media_type.to_owned(), created_seconds };
        write_json(&self.store.temp_path(), &target.with_extension(META), &meta)?;
        fs::rename(&self.path, &target).map_err(failed("storing an upload"))?;
        sync_directory(directory)?;
        if self.in_parts {
            let _ = fs::remove_file(self.path.with_extension(META));
        }
        Ok(Published::Stored)
    }

    /// Removes what is stored; a file that stays behind is swept later.
    fn discard(&mut self) {
        let _ = fs::remove_file(&self.path);
        if self.in_parts {
            let _ = fs::remove_file(self.path.with_extension(META));
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.in_parts {
            let mut hashers = self.store.hashers.lock().unwrap_or_else(PoisonError::into_inner);
            hashers.keep(self.digest, self.written, std::mem::take(&mut self.hasher));
        } else {
            // After publishing, the temporary has its final name and this finds nothing.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn hash_file(path: &std::path::Path) -> Result<Sha256> {
    let mut file = File::open(path).map_err(failed("reading a partial"))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; HASH_BUFFER_BYTES];
    loop {
        match file.read(&mut buffer).map_err(failed("reading a partial"))? {
            0 => return Ok(hasher),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// Hashes of the partials that were written last, each with the number of bytes in it.
#[derive(Debug, Default)]
pub(super) struct HasherCache(VecDeque<(Sha256Digest, u64, Sha256)>);

impl HasherCache {
    fn keep(&mut self, digest: Sha256Digest, bytes: u64, hasher: Sha256) {
        self.0.retain(|(known, ..)| *known != digest);
        self.0.push_back((digest, bytes, hasher));
        if self.0.len() > MAX_CACHED_HASHERS {
            self.0.pop_front();
        }
    }

    fn take(&mut self, digest: Sha256Digest, bytes: u64) -> Option<Sha256> {
        let index = self.0.iter().position(|(known, ..)| *known == digest)?;
        let (_, hashed, hasher) = self.0.remove(index)?;
        (hashed == bytes).then_some(hasher)
    }
}

const MAX_CACHED_HASHERS: usize = 256;
const HASH_BUFFER_BYTES: usize = 256 * 1024;
