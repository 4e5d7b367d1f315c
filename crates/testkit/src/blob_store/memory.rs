//! The blob store in memory: one folder tree that the stores of all tabs share.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use driftline_core::files::Digest;
use sha2::{Digest as _, Sha256};

use super::{BlobHarness, BlobStore, blob_path};

/// Opens stores in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryBlobHarness {
    databases: BTreeMap<String, Rc<Tree>>,
    tabs: u32,
}

/// One tab's store.
#[derive(Debug)]
pub struct MemoryBlobs {
    tree: Rc<Tree>,
    tab: u32,
    saves: Cell<u32>,
}

/// A save under way: the path of its temporary.
#[derive(Debug)]
pub struct MemoryWriter(String);

#[derive(Debug, Default)]
struct Tree {
    files: RefCell<BTreeMap<String, Vec<u8>>>,
    live_tabs: RefCell<BTreeSet<u32>>,
}

impl BlobHarness for MemoryBlobHarness {
    type Store = MemoryBlobs;

    async fn open(&mut self, database: &str) -> MemoryBlobs {
        self.tabs += 1;
        let tree = Rc::clone(self.databases.entry(database.to_owned()).or_default());
        tree.live_tabs.borrow_mut().insert(self.tabs);
        MemoryBlobs { tree, tab: self.tabs, saves: Cell::new(0) }
    }

    async fn litter(&mut self, database: &str, path: &str, bytes: &[u8]) {
        let tree = self.databases.entry(database.to_owned()).or_default();
        tree.files.borrow_mut().insert(path.to_owned(), bytes.to_vec());
    }

    async fn paths(&mut self, database: &str) -> Vec<String> {
        self.databases
            .get(database)
            .map(|tree| tree.files.borrow().keys().cloned().collect())
            .unwrap_or_default()
    }
}

impl Drop for MemoryBlobs {
    fn drop(&mut self) {
        self.tree.live_tabs.borrow_mut().remove(&self.tab);
    }
}

impl BlobStore for MemoryBlobs {
    type Writer = MemoryWriter;

    async fn begin(&self) -> MemoryWriter {
        self.saves.set(self.saves.get() + 1);
        let path = format!("tmp/{}-{}", self.tab, self.saves.get());
        self.tree.files.borrow_mut().insert(path.clone(), vec![]);
        MemoryWriter(path)
    }

    async fn write(&self, writer: &mut MemoryWriter, bytes: &[u8]) {
        let mut files = self.tree.files.borrow_mut();
        files.get_mut(&writer.0).expect("a temporary lives as long as its save").extend_from_slice(bytes);
    }

    async fn publish(&self, writer: MemoryWriter) -> (Digest, u64) {
        let mut files = self.tree.files.borrow_mut();
        let bytes = files.remove(&writer.0).expect("a temporary lives as long as its save");
        let (hash, size) = (Digest(Sha256::digest(&bytes).into()), bytes.len() as u64);
        files.insert(blob_path(&hash), bytes);
        (hash, size)
    }

    async fn discard(&self, writer: MemoryWriter) {
        self.tree.files.borrow_mut().remove(&writer.0);
    }

    async fn size(&self, hash: &Digest) -> Option<u64> {
        self.tree.files.borrow().get(&blob_path(hash)).map(|bytes| bytes.len() as u64)
    }

    async fn read(&self, hash: &Digest, start: u64, end: u64) -> Option<Vec<u8>> {
        let files = self.tree.files.borrow();
        let bytes = files.get(&blob_path(hash))?;
        let end = bytes.len().min(end as usize);
        Some(bytes[(start as usize).min(end)..end].to_vec())
    }

    async fn remove(&self, hash: &Digest) {
        self.tree.files.borrow_mut().remove(&blob_path(hash));
    }

    async fn sweep(&self, known: &[(Digest, u64)]) -> Vec<(Digest, u64)> {
        let live = self.tree.live_tabs.borrow();
        let mut stands = vec![];
        self.tree.files.borrow_mut().retain(|path, bytes| {
            if let Some(name) = path.strip_prefix("tmp/") {
                return name
                    .split('-')
                    .next()
                    .and_then(|tab| tab.parse().ok())
                    .is_some_and(|tab| live.contains(&tab));
            }
            let Some(hash) = path.rsplit('/').next().and_then(|name| name.parse::<Digest>().ok()) else {
                return false;
            };
            let size = bytes.len() as u64;
            let of_nothing = hash.0 == <[u8; 32]>::from(Sha256::digest([]));
            let known = known.iter().find(|(other, _)| *other == hash).map(|(_, size)| *size);
            let right =
                *path == blob_path(&hash) && known.map_or(size > 0 || of_nothing, |known| known == size);
            if right {
                stands.push((hash, size));
            }
            right
        });
        stands
    }
}
