//! Saving: bytes in, a blob under its digest out.

use std::rc::Rc;

use driftline_core::files::{Digest, MAX_BLOB_BYTES};
use js_sys::{Function, Object, Promise, Reflect, Uint8Array};
use sha2::{Digest as _, Sha256};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::Blob;

use super::{CHUNK_BYTES, OpenFile, OpfsStore, StoreError, StoreErrorKind};

/// What was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The SHA-256 of its bytes.
    pub hash: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// A save that is under way. It is ended by [`BlobWriter::publish`] or [`BlobWriter::discard`]; what a
/// crash leaves of it is swept.
#[derive(Debug)]
pub struct BlobWriter {
    store: Rc<OpfsStore>,
    name: String,
    file: OpenFile,
    hasher: Sha256,
    scratch: Vec<u8>,
}

impl OpfsStore {
    /// Saves a blob of any size with at most [`CHUNK_BYTES`] of it in memory. `intent` is called under the
    /// digest's lock, with what is about to be published, before the blob has its final name.
    ///
    /// # Errors
    /// As the browser's, the intent's, or [`StoreErrorKind::TooLarge`]; nothing is left behind.
    pub async fn save(
        self: &Rc<Self>,
        source: &Blob,
        intent: impl AsyncFnOnce(Saved) -> Result<(), StoreError>,
    ) -> Result<Saved, StoreError> {
        let size = source.size() as u64;
        check_size(size)?;
        if size <= CHUNK_BYTES as u64
            && let Some(saved) = self.known(source, size).await?
        {
            let _lock = self.lock(&saved.hash).await;
            intent(saved).await?;
            // It may have been deleted while its lock was waited for.
            if self.size(&saved.hash).await? == Some(size) {
                return Ok(saved);
            }
            let mut writer = self.create().await?;
            return match writer.write_all(source).await {
                Ok(()) => writer.publish_locked(saved).await,
                Err(error) => writer.failed(error).await,
            };
        }
        let mut writer = self.create().await?;
        match writer.write_all(source).await {
            Ok(()) => writer.publish(intent).await,
            Err(error) => writer.failed(error).await,
        }
    }

    /// The digest of a small blob that is here already: then nothing needs to be written.
    async fn known(&self, source: &Blob, size: u64) -> Result<Option<Saved>, StoreError> {
        let bytes = JsFuture::from(source.array_buffer()).await?;
        let hash = match subtle_digest(&bytes).await {
            Some(hash) => hash,
            None => Digest(Sha256::digest(Uint8Array::new(&bytes).to_vec()).into()),
        };
        Ok((self.size(&hash).await? == Some(size)).then_some(Saved { hash, size }))
    }
}

impl BlobWriter {
    pub(super) async fn create(store: Rc<OpfsStore>, name: String) -> Result<Self, StoreError> {
        let file = OpenFile::open(&store.tmp, &name, false).await?;
        Ok(Self { store, name, file, hasher: Sha256::new(), scratch: vec![] })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// As the browser's, or [`StoreErrorKind::TooLarge`]; the save can then only be discarded.
    pub async fn write(&mut self, bytes: &Uint8Array) -> Result<(), StoreError> {
        check_size(self.file.len() + u64::from(bytes.length()))?;
        let mut offset = 0;
        while offset < bytes.length() {
            let end = bytes.length().min(offset + CHUNK_BYTES as u32);
            let chunk = bytes.subarray(offset, end);
            self.scratch.resize((end - offset) as usize, 0);
            chunk.copy_to(&mut self.scratch);
            self.hasher.update(&self.scratch);
            self.file.append(&chunk).await?;
            offset = end;
        }
        Ok(())
    }

    /// Gives the blob its final name, or drops it if it is there already. `intent` as in
    /// [`OpfsStore::save`].
    ///
    /// # Errors
    /// As the browser's or the intent's; nothing is left behind.
    pub async fn publish(
        self,
        intent: impl AsyncFnOnce(Saved) -> Result<(), StoreError>,
    ) -> Result<Saved, StoreError> {
        let saved = Saved { hash: Digest(self.hasher.clone().finalize().into()), size: self.file.len() };
        let lock = self.store.lock(&saved.hash).await;
        let published = match intent(saved).await {
            Ok(()) => self.publish_locked(saved).await,
            Err(error) => self.failed(error).await,
        };
        drop(lock);
        published
    }

    /// Throws away what was written.
    ///
    /// # Errors
    /// As the browser's; the next sweep takes what could not be removed.
    pub async fn discard(self) -> Result<(), StoreError> {
        let Self { store, name, file, .. } = self;
        drop(file);
        store.tmp.remove(&name).await
    }

    async fn publish_locked(self, saved: Saved) -> Result<Saved, StoreError> {
        let Self { store, name, file, .. } = self;
        let published = match file.close().await {
            Ok(()) => store.publish(&store.tmp, &name, &saved.hash, saved.size).await,
            Err(error) => Err(error),
        };
        if let Err(error) = published {
            // What can't be removed now is swept later; the first error is the one to tell.
            let _ = store.tmp.remove(&name).await;
            return Err(error);
        }
        Ok(saved)
    }

    async fn failed(self, error: StoreError) -> Result<Saved, StoreError> {
        // As above.
        let _ = self.discard().await;
        Err(error)
    }

    async fn write_all(&mut self, source: &Blob) -> Result<(), StoreError> {
        let size = source.size();
        let mut offset = 0.0;
        while offset < size {
            let end = size.min(offset + CHUNK_BYTES as f64);
            let slice = source.slice_with_f64_and_f64(offset, end)?;
            let bytes = Uint8Array::new(&JsFuture::from(slice.array_buffer()).await?);
            self.write(&bytes).await?;
            offset = end;
        }
        Ok(())
    }
}

fn check_size(size: u64) -> Result<(), StoreError> {
    if size > MAX_BLOB_BYTES {
        let message = format!(
            "The file has {size} bytes, and at most {MAX_BLOB_BYTES} can be stored. Nothing was stored; choose a smaller file."
        );
        return Err(StoreError::new(StoreErrorKind::TooLarge, message));
    }
    Ok(())
}

/// The browser's own SHA-256, which is quicker than ours but needs all bytes at once, and a secure context.
async fn subtle_digest(bytes: &JsValue) -> Option<Digest> {
    let crypto = Reflect::get(&js_sys::global(), &"crypto".into()).ok()?;
    let subtle: Object = Reflect::get(&crypto, &"subtle".into()).ok()?.dyn_into().ok()?;
    let digest: Function = Reflect::get(&subtle, &"digest".into()).ok()?.dyn_into().ok()?;
    let promise: Promise = digest.call2(&subtle, &"SHA-256".into(), bytes).ok()?.unchecked_into();
    let hash = Uint8Array::new(&JsFuture::from(promise).await.ok()?).to_vec();
    Some(Digest(hash.try_into().ok()?))
}
