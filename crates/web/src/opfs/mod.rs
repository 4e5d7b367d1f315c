//! The blob store in OPFS, for the dedicated worker: `driftline/<database>/blobs/<aa>/<sha256>`,
//! `partial/<sha256>` and `tmp/<tab>-<number>` (files.md, The store).
//!
//! A final name means complete and verified: bytes are written under a temporary name, hashed on the
//! way, flushed, and moved. What concerns a final name happens under the Web Lock of its digest.

mod error;
mod file;
mod folder;
mod save;
mod sweep;

use std::{cell::Cell, rc::Rc};

use driftline_core::files::Digest;
use js_sys::{Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{File, StorageEstimate, StorageManager};

use crate::locks::{Claim, hold};
pub use error::{StoreError, StoreErrorKind};
pub use file::OpenFile;
use folder::Folder;
pub use save::{BlobWriter, Saved};
pub use sweep::Swept;

/// The most bytes that are in memory at a time for one file that is read or written.
pub const CHUNK_BYTES: usize = 1 << 20;

/// The blobs of one database.
#[derive(Debug)]
pub struct OpfsStore {
    database: String,
    blobs: Folder,
    partial: Folder,
    tmp: Folder,
    tab: String,
    temporaries: Cell<u32>,
    /// Tells other tabs that this one's temporaries are in use.
    _tab_lock: Claim,
}

impl OpfsStore {
    /// Opens the store of a database, and makes its folders if they are missing.
    ///
    /// # Errors
    /// [`StoreErrorKind::Unavailable`] where the browser gives no OPFS.
    pub async fn open(database: &str) -> Result<Self, StoreError> {
        let root = Folder::root().await?.folder("driftline", true).await?;
        let own = root.folder(&folder_name(database), true).await?;
        let tab = random_uuid();
        let tab_lock = hold(&tab_lock_name(database, &tab)).await;
        let tmp = own.folder("tmp", true).await?;
        file::probe_sync(&tmp, &format!("{tab}-probe")).await?;
        Ok(Self {
            blobs: own.folder("blobs", true).await?,
            partial: own.folder("partial", true).await?,
            tmp,
            database: database.to_owned(),
            tab,
            temporaries: Cell::new(0),
            _tab_lock: tab_lock,
        })
    }

    /// Starts a save.
    ///
    /// # Errors
    /// As the browser's; nothing is left behind.
    pub async fn create(self: &Rc<Self>) -> Result<BlobWriter, StoreError> {
        let number = self.temporaries.get();
        self.temporaries.set(number.wrapping_add(1));
        BlobWriter::create(Rc::clone(self), format!("{}-{number}", self.tab)).await
    }

    /// The published blob, as a file that the browser reads from disk.
    ///
    /// # Errors
    /// As the browser's; an absent blob is none.
    pub async fn file(&self, hash: &Digest) -> Result<Option<File>, StoreError> {
        let Some(shelf) = absent_is_none(self.blobs.folder(&shelf_name(hash), false).await)? else {
            return Ok(None);
        };
        match absent_is_none(shelf.file(&hash.to_string(), false).await)? {
            Some(handle) => absent_is_none(folder::snapshot(&handle).await),
            None => Ok(None),
        }
    }

    /// The size of a published blob in bytes.
    ///
    /// # Errors
    /// As the browser's; an absent blob is none.
    pub async fn size(&self, hash: &Digest) -> Result<Option<u64>, StoreError> {
        Ok(self.file(hash).await?.map(|file| file.size() as u64))
    }

    /// Deletes a published blob, or does nothing if it is not there. The caller holds its lock.
    ///
    /// # Errors
    /// [`StoreErrorKind::Busy`] while somebody has it open for writing.
    pub async fn remove(&self, hash: &Digest) -> Result<(), StoreError> {
        match absent_is_none(self.blobs.folder(&shelf_name(hash), false).await)? {
            Some(shelf) => shelf.remove(&hash.to_string()).await,
            None => Ok(()),
        }
    }

    /// Opens what an earlier try of a download left, or an empty file.
    ///
    /// # Errors
    /// [`StoreErrorKind::Busy`] while another tab still has it open.
    pub async fn open_partial(&self, hash: &Digest) -> Result<OpenFile, StoreError> {
        OpenFile::open(&self.partial, &hash.to_string(), true).await
    }

    /// Throws away what an earlier try of a download left.
    ///
    /// # Errors
    /// [`StoreErrorKind::Busy`] while somebody has it open.
    pub async fn remove_partial(&self, hash: &Digest) -> Result<(), StoreError> {
        self.partial.remove(&hash.to_string()).await
    }

    /// Publishes a download whose bytes were hashed and are those of `hash`. The partial is closed.
    ///
    /// # Errors
    /// As the browser's; the partial stays.
    pub async fn publish_partial(&self, hash: &Digest, size: u64) -> Result<(), StoreError> {
        let _lock = self.lock(hash).await;
        self.publish(&self.partial, &hash.to_string(), hash, size).await
    }

    /// Waits for the Web Lock of a digest.
    pub async fn lock(&self, hash: &Digest) -> Claim {
        hold(&format!("driftline:{}:blob:{hash}", self.database)).await
    }

    /// What the browser says of this origin's storage.
    ///
    /// # Errors
    /// As the browser's.
    pub async fn estimate() -> Result<StorageEstimate, StoreError> {
        let manager = storage_manager()?;
        Ok(JsFuture::from(manager.estimate()?).await?.unchecked_into())
    }

    /// Moves a complete and flushed file to its final name. The caller holds the digest's lock.
    async fn publish(&self, from: &Folder, name: &str, hash: &Digest, size: u64) -> Result<(), StoreError> {
        if self.size(hash).await? == Some(size) {
            return from.remove(name).await;
        }
        let shelf = self.blobs.folder(&shelf_name(hash), true).await?;
        from.move_file(name, &shelf, &hash.to_string(), size).await
    }
}

fn folder_name(database: &str) -> String {
    js_sys::encode_uri_component(database).into()
}

/// Blobs are fanned out by their first byte.
fn shelf_name(hash: &Digest) -> String {
    format!("{:02x}", hash.0[0])
}

fn tab_lock_name(database: &str, tab: &str) -> String {
    format!("driftline:{database}:tab:{tab}")
}

fn storage_manager() -> Result<StorageManager, StoreError> {
    let navigator = Reflect::get(&js_sys::global(), &"navigator".into())?;
    let manager = Reflect::get(&navigator, &"storage".into())?;
    if manager.is_undefined() {
        return Err(StoreError::new(
            StoreErrorKind::Unavailable,
            "This browser gives no storage for files here.",
        ));
    }
    Ok(manager.unchecked_into())
}

fn random_uuid() -> String {
    let crypto = Reflect::get(&js_sys::global(), &"crypto".into()).unwrap_or(JsValue::UNDEFINED);
    let method = Reflect::get(&crypto, &"randomUUID".into())
        .ok()
        .and_then(|method| method.dyn_into::<js_sys::Function>().ok());
    method.and_then(|method| method.call0(&crypto).ok()?.as_string()).unwrap_or_else(|| {
        format!("{:x}-{:x}", js_sys::Date::now() as u64, (js_sys::Math::random() * 2f64.powi(52)) as u64)
    })
}

fn absent_is_none<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind == StoreErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// An object literal for the browser.
fn options(fields: &[(&str, JsValue)]) -> Object {
    let object = Object::new();
    for (name, value) in fields {
        // Can't fail: the object is ours, and not frozen.
        let _ = Reflect::set(&object, &(*name).into(), value);
    }
    object
}
