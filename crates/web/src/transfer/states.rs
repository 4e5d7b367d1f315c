//! The `transfers` store: what is kept of each blob across reloads (files.md, The store).

use std::collections::BTreeMap;

use driftline_core::{
    CommitError, Timestamp,
    files::{Digest, Stored},
};
use indexed_db_futures::{
    Build,
    database::Database,
    object_store::ObjectStore,
    query_source::QuerySource,
    transaction::{Transaction, TransactionMode},
};
use serde::Serialize;
use wasm_bindgen::JsValue;

use crate::{
    journal::{
        connection::Connection,
        failure::{Failed, finish},
    },
    opfs::{StoreError, StoreErrorKind},
    schema::{self, META, META_FILES, TRANSFERS},
};

/// The durable states of one database's blobs. Each call is one transaction, answered once it completed.
#[derive(Debug)]
pub(super) struct States(Connection);

impl States {
    pub(super) fn new(database: &str) -> Self {
        Self(Connection::new(database))
    }

    /// Reads all of them. An entry that can't be read counts as one that says nothing.
    pub(super) async fn load(&self) -> Result<BTreeMap<Digest, Stored>, StoreError> {
        let read = self.0.run(async |database, _| {
            let transaction = database.transaction(TRANSFERS).build()?;
            let store = transaction.object_store(TRANSFERS)?;
            let keys = store.get_all_keys::<String>().build()?;
            let values = store.get_all::<JsValue>().build()?;
            let keys = keys.await?.collect::<Result<Vec<_>, _>>()?;
            let values = values.await?.collect::<Result<Vec<_>, _>>()?;
            finish(transaction).await?;
            Ok(keys
                .into_iter()
                .zip(values)
                .filter_map(|(key, value)| Some((key.parse().ok()?, decode(value))))
                .collect())
        });
        read.await.map_err(store_error)
    }

    /// Counts a save that is about to be published, and answers what is stored now.
    pub(super) async fn count_save(
        &self,
        hash: Digest,
        size: u64,
        now: Timestamp,
    ) -> Result<Stored, StoreError> {
        self.change(hash, true, |there| {
            let stored = there.unwrap_or_default().saved(size, now);
            (Some(stored.clone()), stored)
        })
        .await
    }

    /// Writes a blob's state over what other tabs' saves have put there.
    pub(super) async fn put(&self, hash: Digest, mut stored: Stored) -> Result<(), StoreError> {
        self.change(hash, false, move |there| {
            if let Some(there) = there {
                stored.absorb_saves(&there);
            }
            (Some(stored.clone()), ())
        })
        .await
    }

    /// Forgets a blob, unless it was saved more often than `saves` times.
    pub(super) async fn forget(&self, hash: Digest, saves: u32) -> Result<(), StoreError> {
        self.change(hash, false, move |there| (there.filter(|there| there.saves > saves), ())).await
    }

    /// Marks a blob as no longer local; `Some` with what is stored, and nothing changed, if it was saved
    /// more often than `saves` times.
    pub(super) async fn begin_deletion(
        &self,
        hash: Digest,
        saves: u32,
    ) -> Result<Option<Stored>, StoreError> {
        self.change(hash, true, move |there| match there {
            Some(there) if there.saves > saves => (Some(there.clone()), Some(there)),
            there => (there.map(|there| Stored { local: false, ..there }), None),
        })
        .await
    }

    /// Tells the service worker where the remote is and under which prefix it serves.
    pub(super) async fn put_config(&self, config: &JsValue) -> Result<(), StoreError> {
        let write = self.0.run(async |database, _| {
            let transaction = write(database, META, false)?;
            drop(transaction.object_store(META)?.put(config.clone()).with_key(META_FILES).build()?);
            finish(transaction).await
        });
        write.await.map_err(store_error)
    }

    pub(super) fn close(&self) {
        self.0.close();
    }

    /// Reads one entry and writes what `change` makes of it, in one transaction.
    async fn change<T>(
        &self,
        hash: Digest,
        strict: bool,
        change: impl FnMut(Option<Stored>) -> (Option<Stored>, T),
    ) -> Result<T, StoreError> {
        let change = std::cell::RefCell::new(change);
        let run = self.0.run(async |database, _| {
            let transaction = write(database, TRANSFERS, strict)?;
            let store: ObjectStore<'_> = transaction.object_store(TRANSFERS)?;
            let key = hash.to_string();
            let there = store.get::<JsValue, _, _>(key.as_str()).build()?.await?.map(decode);
            let existed = there.is_some();
            let (stored, answer) = (change.borrow_mut())(there);
            match stored {
                Some(stored) => drop(store.put(encode(&stored)?).with_key(key).build()?),
                None if existed => drop(store.delete(key.as_str()).build()?),
                None => {}
            }
            finish(transaction).await?;
            Ok(answer)
        });
        run.await.map_err(store_error)
    }
}

fn write<'a>(database: &'a Database, store: &str, strict: bool) -> Result<Transaction<'a>, Failed> {
    let options = schema::write_options(strict);
    Ok(database.transaction(store).with_mode(TransactionMode::Readwrite).with_options(options).build()?)
}

fn decode(value: JsValue) -> Stored {
    serde_wasm_bindgen::from_value(value).unwrap_or_default()
}

fn encode(stored: &Stored) -> Result<JsValue, Failed> {
    stored
        .serialize(&serde_wasm_bindgen::Serializer::json_compatible())
        .map_err(|error| Failed::NotCloneable(error.to_string()))
}

fn store_error(error: CommitError) -> StoreError {
    match error {
        CommitError::Quota { usage_bytes, quota_bytes } => StoreError::new(
            StoreErrorKind::QuotaExceeded,
            format!(
                "There is no room left: {usage_bytes} of {quota_bytes} bytes are used. Nothing was lost; remove some files and try again."
            ),
        ),
        CommitError::Unavailable(text) | CommitError::NotCloneable(text) => {
            StoreError::new(StoreErrorKind::Unavailable, text)
        }
        CommitError::Fenced(_) => StoreError::new(StoreErrorKind::Other, "Another tab took over."),
    }
}
