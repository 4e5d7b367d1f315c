//! The IndexedDB schema: names, versions and the upgrade, in one place. Everyone who opens the database
//! (the page, the worker, the service worker) opens it through here, so that whoever comes first makes it.

use indexed_db_futures::{
    Build, KeyPath, OpenDbResult,
    database::{Database, VersionChangeEvent},
    transaction::{TransactionDurability, TransactionOptions},
};
use wasm_bindgen::JsValue;

/// The version of the schema.
pub const VERSION: u32 = 2;

/// The log: one record a batch, `{ bytes, values, stamp }`, under numbers that only grow.
pub const LOG: &str = "log";
/// The checkpoint: records of the same shape, under names.
pub const SEGMENTS: &str = "segments";
/// Single facts, under the names below.
pub const META: &str = "meta";
/// Visible file records, under their ids: a mirror for the service worker.
pub const FILES: &str = "files";
/// One entry a lease: its name, under its epoch and name. The index over the names is unique, so that a writer
/// can ask for an epoch without waiting for an answer: see [`crate::journal`].
pub const FENCES: &str = "fences";
/// What the worker knows of each blob's transfers, under its SHA-256.
pub const TRANSFERS: &str = "transfers";

/// In [`META`]: the log number that the segments cover.
pub const META_CHECKPOINT: &str = "checkpoint";
/// In [`META`]: drawn when the database is made; another one means that it was deleted in between.
pub const META_IDENTITY: &str = "identity";
/// In [`META`]: `{ baseUrl, urlPrefix }` of the file store.
pub const META_FILES: &str = "files";
/// In [`META`]: `true` once the user signed out.
pub const META_SIGNED_OUT: &str = "signedOut";

/// The name of the IndexedDB database behind a Driftline database.
#[must_use]
pub fn database_name(name: &str) -> String {
    format!("driftline:{name}")
}

/// The name in [`META`] of a lease's epoch.
#[must_use]
pub fn meta_lease(lease: &str) -> String {
    format!("lease:{lease}")
}

/// The key in [`FENCES`] of a lease under an epoch.
#[must_use]
pub fn fence_key(lease: &str, epoch: u64) -> String {
    format!("{epoch} {lease}")
}

/// Opens the database behind a Driftline database, and makes its stores if it is new.
///
/// # Errors
/// Whatever the browser says: a newer version of the schema, a private window, no room.
pub async fn open(name: &str) -> OpenDbResult<Database> {
    let request =
        Database::open(database_name(name)).with_version(VERSION).with_on_upgrade_needed(upgrade).build()?;
    request.await
}

/// The options of a transaction that writes.
#[must_use]
pub fn write_options(strict: bool) -> TransactionOptions {
    let mut options = TransactionOptions::new();
    options.set_durability(if strict {
        TransactionDurability::Strict
    } else {
        TransactionDurability::Relaxed
    });
    options
}

fn upgrade(event: VersionChangeEvent, database: Database) -> indexed_db_futures::Result<()> {
    if event.old_version() < 1.0 {
        database.create_object_store(LOG).with_auto_increment(true).build()?;
        database.create_object_store(SEGMENTS).build()?;
        let meta = database.create_object_store(META).build()?;
        database.create_object_store(FILES).build()?;
        database.create_object_store(TRANSFERS).build()?;
        // The request goes out at `build`; it belongs to the upgrade's own transaction.
        drop(meta.put(JsValue::from_f64(js_sys::Math::random())).with_key(META_IDENTITY).build()?);
    }
    if event.old_version() < 2.0 {
        let fences = database.create_object_store(FENCES).build()?;
        fences.create_index("lease", KeyPath::One("")).with_unique(true).build()?;
    }
    Ok(())
}
