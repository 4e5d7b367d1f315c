//! A folder of OPFS: its files and folders by name, with another try where somebody has one open.

use gloo_timers::future::TimeoutFuture;
use js_sys::{AsyncIterator, Function, IteratorNext, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{File, FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemWritableFileStream};

use super::{StoreError, StoreErrorKind, absent_is_none, options, storage_manager};

#[derive(Clone, Debug)]
pub(super) struct Folder(FileSystemDirectoryHandle);

impl Folder {
    pub(super) async fn root() -> Result<Self, StoreError> {
        let manager = storage_manager()?;
        Ok(Self(JsFuture::from(manager.get_directory()).await?.unchecked_into()))
    }

    pub(super) async fn folder(&self, name: &str, create: bool) -> Result<Self, StoreError> {
        let options = options(&[("create", create.into())]);
        let found = self.0.get_directory_handle_with_options(name, options.unchecked_ref());
        Ok(Self(JsFuture::from(found).await?.unchecked_into()))
    }

    pub(super) async fn file(&self, name: &str, create: bool) -> Result<FileSystemFileHandle, StoreError> {
        let options = options(&[("create", create.into())]);
        let found = self.0.get_file_handle_with_options(name, options.unchecked_ref());
        Ok(JsFuture::from(found).await?.unchecked_into())
    }

    /// Removes a file; one that is not there is no error.
    pub(super) async fn remove(&self, name: &str) -> Result<(), StoreError> {
        let removed = patiently(async || Ok(JsFuture::from(self.0.remove_entry(name)).await?)).await;
        absent_is_none(removed).map(|_| ())
    }

    /// The names of everything in it.
    pub(super) async fn names(&self) -> Result<Vec<String>, StoreError> {
        let names: AsyncIterator = self.0.keys();
        let mut found = vec![];
        loop {
            let next: IteratorNext =
                JsFuture::from(names.next()?.unchecked_into::<Promise>()).await?.unchecked_into();
            if next.done() {
                return Ok(found);
            }
            found.extend(next.value().as_string());
        }
    }

    /// Moves a closed file to a name in another folder, where it replaces what is there.
    pub(super) async fn move_file(
        &self,
        name: &str,
        to: &Self,
        new_name: &str,
        size: u64,
    ) -> Result<(), StoreError> {
        let from = self.file(name, false).await?;
        let Ok(method) = Reflect::get(&from, &"move".into())?.dyn_into::<Function>() else {
            return self.copy_file(&from, name, to, new_name, size).await;
        };
        patiently(async || {
            let moved: Promise = method.call2(&from, &to.0, &new_name.into())?.unchecked_into();
            Ok(JsFuture::from(moved).await?)
        })
        .await?;
        Ok(())
    }

    /// For browsers without `move`. A writable stream's bytes appear under the name all at once, when it
    /// is closed: so here, too, a final name never means a part.
    async fn copy_file(
        &self,
        from: &FileSystemFileHandle,
        name: &str,
        to: &Self,
        new_name: &str,
        size: u64,
    ) -> Result<(), StoreError> {
        let target = to.file(new_name, true).await?;
        let source = snapshot(from).await?;
        let stream: FileSystemWritableFileStream =
            JsFuture::from(target.create_writable()).await?.unchecked_into();
        let pipe: Function = Reflect::get(&source.stream(), &"pipeTo".into())?.unchecked_into();
        JsFuture::from(pipe.call1(&source.stream(), &stream)?.unchecked_into::<Promise>()).await?;
        if snapshot(&target).await?.size() as u64 != size {
            to.remove(new_name).await?;
            return Err(StoreError::new(
                StoreErrorKind::Other,
                "A copy came out with another size; the original was kept.",
            ));
        }
        self.remove(name).await
    }
}

/// The file as it is now. It goes stale when the file is written again.
pub(super) async fn snapshot(handle: &FileSystemFileHandle) -> Result<File, StoreError> {
    Ok(JsFuture::from(handle.get_file()).await?.unchecked_into())
}

/// Tries again while somebody has the file open: a tab that is about to close, or a scan of the browser's.
pub(super) async fn patiently<T>(
    mut action: impl AsyncFnMut() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut wait_ms = BUSY_WAIT_MS;
    for _ in 1..BUSY_TRIES {
        match action().await {
            Err(error) if error.kind == StoreErrorKind::Busy => {
                TimeoutFuture::new(wait_ms).await;
                wait_ms *= 2;
            }
            answer => return answer,
        }
    }
    action().await
}

/// How often a busy file is tried, and the first wait between in milliseconds, which doubles: 1.3 s in all.
const BUSY_TRIES: u32 = 8;
const BUSY_WAIT_MS: u32 = 10;

impl From<Folder> for JsValue {
    fn from(folder: Folder) -> Self {
        folder.0.into()
    }
}
