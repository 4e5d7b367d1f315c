//! What a crash may have left, taken away at start.

use std::collections::BTreeMap;

use driftline_core::files::Digest;

use super::{OpfsStore, StoreError, folder, folder::Folder, shelf_name, tab_lock_name};
use crate::locks::is_held;

/// The SHA-256 of nothing: the one blob that is rightly empty.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What a sweep found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Published blobs that stand, with their sizes in bytes.
    pub blobs: Vec<(Digest, u64)>,
    /// Names that were removed.
    pub removed: Vec<String>,
}

impl OpfsStore {
    /// Removes the temporaries of tabs that are gone, swap files, partials that `keeps_partial` doesn't
    /// name, and blobs that can't be right: under a false name, empty, or not of the size that is known.
    /// What another tab uses now stays.
    ///
    /// # Errors
    /// As the browser's, when a folder can't be read; a file that can't be removed is left for next time.
    pub async fn sweep(
        &self,
        sizes: &BTreeMap<Digest, u64>,
        keeps_partial: impl Fn(&Digest) -> bool,
    ) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        let mut gone: BTreeMap<String, bool> = BTreeMap::new();
        for name in self.tmp.names().await? {
            let tab = name.rsplit_once('-').map_or(name.as_str(), |(tab, _)| tab).to_owned();
            let is_gone = match gone.get(&tab) {
                Some(known) => *known,
                None => tab != self.tab && !is_held(&tab_lock_name(&self.database, &tab)).await,
            };
            gone.insert(tab, is_gone);
            if is_gone {
                sweep_one(&self.tmp, name, &mut swept).await;
            }
        }
        for name in self.partial.names().await? {
            if !name.parse().is_ok_and(|hash| keeps_partial(&hash)) {
                sweep_one(&self.partial, name, &mut swept).await;
            }
        }
        for shelf_of in self.blobs.names().await? {
            let Ok(shelf) = self.blobs.folder(&shelf_of, false).await else { continue };
            for name in shelf.names().await? {
                self.sweep_blob(&shelf, &shelf_of, name, sizes, &mut swept).await;
            }
        }
        Ok(swept)
    }

    async fn sweep_blob(
        &self,
        shelf: &Folder,
        shelf_of: &str,
        name: String,
        sizes: &BTreeMap<Digest, u64>,
        swept: &mut Swept,
    ) {
        let Some(hash) = name.parse::<Digest>().ok().filter(|hash| shelf_name(hash) == shelf_of) else {
            // A swap file belongs to a blob that is being copied: its lock says whether somebody still is.
            let owner = name.split('.').next().and_then(|stem| stem.parse::<Digest>().ok());
            let _lock = match owner {
                Some(hash) => Some(self.lock(&hash).await),
                None => None,
            };
            return sweep_one(shelf, name, swept).await;
        };
        let Ok(handle) = shelf.file(&name, false).await else { return };
        let Ok(file) = folder::snapshot(&handle).await else { return };
        let size = file.size() as u64;
        let right = sizes.get(&hash).map_or(size > 0 || name == EMPTY, |known| *known == size);
        if right {
            swept.blobs.push((hash, size));
        } else {
            let _lock = self.lock(&hash).await;
            sweep_one(shelf, name, swept).await;
        }
    }
}

async fn sweep_one(folder: &Folder, name: String, swept: &mut Swept) {
    if folder.remove(&name).await.is_ok() {
        swept.removed.push(name);
    }
}
