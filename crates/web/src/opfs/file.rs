//! A file that is being written: through a sync access handle, or a writable stream where the engine
//! has none in workers (WebKitGTK).

use std::cell::Cell;

use js_sys::{Function, Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{FileSystemFileHandle, FileSystemSyncAccessHandle, FileSystemWritableFileStream};

use super::{
    CHUNK_BYTES, StoreError, StoreErrorKind,
    folder::{Folder, patiently, snapshot},
    options,
};

/// An open file of OPFS. It must be closed with [`OpenFile::close`]; dropping it closes a sync handle too.
#[derive(Debug)]
pub struct OpenFile {
    sink: Option<Sink>,
    handle: FileSystemFileHandle,
    len: u64,
}

#[derive(Debug)]
enum Sink {
    Sync(FileSystemSyncAccessHandle),
    Stream(FileSystemWritableFileStream),
}

impl OpenFile {
    /// Opens a file for appending, and makes it if it is missing; `keep` says whether what is there stays.
    pub(super) async fn open(folder: &Folder, name: &str, keep: bool) -> Result<Self, StoreError> {
        let handle = folder.file(name, true).await?;
        match open_sync(&handle).await {
            Ok(sync) => {
                if !keep {
                    sync.truncate_with_f64(0.0)?;
                }
                let len = sync.get_size()? as u64;
                Ok(Self { sink: Some(Sink::Sync(sync)), handle, len })
            }
            Err(error) if error.kind == StoreErrorKind::Unavailable => {
                let len = if keep { snapshot(&handle).await?.size() as u64 } else { 0 };
                let options = options(&[("keepExistingData", keep.into())]);
                let stream = patiently(async || {
                    let method: Function = Reflect::get(&handle, &"createWritable".into())?.dyn_into()?;
                    Ok(JsFuture::from(method.call1(&handle, &options)?.unchecked_into::<Promise>()).await?)
                });
                let stream: FileSystemWritableFileStream = stream.await?.unchecked_into();
                JsFuture::from(stream.seek_with_f64(len as f64)?).await?;
                Ok(Self { sink: Some(Sink::Stream(stream)), handle, len })
            }
            Err(error) => Err(error),
        }
    }

    /// Bytes that are in it.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends bytes, all of them: browsers may write fewer than they were given.
    ///
    /// # Errors
    /// As the browser's; what was written before an error stays.
    pub async fn append(&mut self, bytes: &Uint8Array) -> Result<(), StoreError> {
        match self.sink.as_ref() {
            Some(Sink::Sync(sync)) => {
                let mut rest = bytes.clone();
                while rest.length() > 0 {
                    let at = options(&[("at", (self.len as f64).into())]);
                    let written = sync.write_with_js_u8_array_and_options(&rest, at.unchecked_ref())? as u32;
                    if written == 0 {
                        return Err(StoreError::new(
                            StoreErrorKind::QuotaExceeded,
                            "The browser wrote nothing more: there is no room left.",
                        ));
                    }
                    self.len += u64::from(written);
                    rest = rest.subarray(written, rest.length());
                }
            }
            Some(Sink::Stream(stream)) => {
                // WebKitGTK writes all of a view's buffer: so it gets one of its own.
                let own = bytes.slice(0, bytes.length());
                JsFuture::from(stream.write_with_js_u8_array(&own)?).await?;
                self.len += u64::from(bytes.length());
            }
            None => return Err(StoreError::new(StoreErrorKind::Other, "The file is closed.")),
        }
        Ok(())
    }

    /// Drops all that is in it.
    ///
    /// # Errors
    /// As the browser's.
    pub async fn clear(&mut self) -> Result<(), StoreError> {
        match self.sink.as_ref() {
            Some(Sink::Sync(sync)) => sync.truncate_with_f64(0.0)?,
            Some(Sink::Stream(stream)) => {
                JsFuture::from(stream.truncate_with_f64(0.0)?).await?;
                JsFuture::from(stream.seek_with_f64(0.0)?).await?;
            }
            None => {}
        }
        self.len = 0;
        Ok(())
    }

    /// Hands what is in the file to `take`, in chunks of at most [`CHUNK_BYTES`], from the start.
    ///
    /// # Errors
    /// As the browser's.
    pub async fn read_all(
        &self,
        scratch: &mut Vec<u8>,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), StoreError> {
        scratch.resize(CHUNK_BYTES, 0);
        let mut offset = 0;
        let source = match self.sink.as_ref() {
            Some(Sink::Sync(_)) => None,
            // A stream's own bytes are not in the file yet; what was there before is.
            _ => Some(snapshot(&self.handle).await?),
        };
        while offset < self.len {
            let read = match (self.sink.as_ref(), &source) {
                (Some(Sink::Sync(sync)), _) => {
                    let at = options(&[("at", (offset as f64).into())]);
                    sync.read_with_u8_array_and_options(scratch, at.unchecked_ref())? as usize
                }
                (_, Some(file)) => {
                    let end = (offset + CHUNK_BYTES as u64).min(self.len);
                    let slice = file.slice_with_f64_and_f64(offset as f64, end as f64)?;
                    let bytes = Uint8Array::new(&JsFuture::from(slice.array_buffer()).await?);
                    bytes.copy_to(&mut scratch[..bytes.length() as usize]);
                    bytes.length() as usize
                }
                (_, None) => 0,
            };
            if read == 0 {
                return Err(StoreError::new(StoreErrorKind::Other, "The file ended before its size."));
            }
            take(&scratch[..read]);
            offset += read as u64;
        }
        Ok(())
    }

    /// Brings what was written to disk. A writable stream has no such thing before it is closed.
    ///
    /// # Errors
    /// As the browser's.
    pub fn flush(&self) -> Result<(), StoreError> {
        if let Some(Sink::Sync(sync)) = &self.sink {
            sync.flush()?;
        }
        Ok(())
    }

    /// Flushes and closes.
    ///
    /// # Errors
    /// As the browser's; the file is closed all the same.
    pub async fn close(mut self) -> Result<(), StoreError> {
        match self.sink.take() {
            Some(Sink::Sync(sync)) => {
                let flushed = sync.flush();
                sync.close();
                flushed?;
            }
            Some(Sink::Stream(stream)) => {
                let close: Function = Reflect::get(&stream, &"close".into())?.unchecked_into();
                JsFuture::from(close.call0(&stream)?.unchecked_into::<Promise>()).await?;
            }
            None => {}
        }
        Ok(())
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        match self.sink.take() {
            Some(Sink::Sync(sync)) => sync.close(),
            Some(Sink::Stream(stream)) => {
                // Drops what the stream holds back; nobody is left to hear how that went.
                if let Ok(abort) =
                    Reflect::get(&stream, &"abort".into()).and_then(|abort| abort.dyn_into::<Function>())
                {
                    let _ = abort.call0(&stream);
                }
            }
            None => {}
        }
    }
}

/// Finds out whether this worker may have sync access handles, on a file of no worth: WebKitGTK says no by
/// an error, and spoils the file that it was asked with.
pub(super) async fn probe_sync(folder: &Folder, name: &str) -> Result<(), StoreError> {
    if PROBED.replace(true) {
        return Ok(());
    }
    match open_sync(&folder.file(name, true).await?).await {
        Ok(sync) => sync.close(),
        Err(error) => NO_SYNC.set(matches!(error.kind, StoreErrorKind::Unavailable | StoreErrorKind::Other)),
    }
    // The next sweep takes what can't be removed now.
    let _ = folder.remove(name).await;
    Ok(())
}

thread_local! {
    static PROBED: Cell<bool> = const { Cell::new(false) };
    /// Whether this worker's engine has refused a sync access handle.
    static NO_SYNC: Cell<bool> = const { Cell::new(false) };
}

async fn open_sync(handle: &FileSystemFileHandle) -> Result<FileSystemSyncAccessHandle, StoreError> {
    let method = Reflect::get(handle, &"createSyncAccessHandle".into())?;
    let Some(method) = method.dyn_into::<Function>().ok().filter(|_| !NO_SYNC.get()) else {
        return Err(StoreError::new(
            StoreErrorKind::Unavailable,
            "This browser has no sync access handles here.",
        ));
    };
    let opened: JsValue =
        patiently(async || Ok(JsFuture::from(method.call0(handle)?.unchecked_into::<Promise>()).await?))
            .await?;
    Ok(opened.unchecked_into())
}
