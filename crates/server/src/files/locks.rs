//! One request at a time appends to a partial; a newer one takes over from an older.
//!
//! A client whose connection broke comes back before the server has noticed. Were the old request to keep the upload
//! until its time-out, the client would wait for itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use driftline_protocol::files::Sha256Digest;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};

/// Who may append to which partial.
#[derive(Debug, Default)]
pub struct PartialLocks {
    holders: Arc<Mutex<Holders>>,
}

type Holders = HashMap<Sha256Digest, Holder>;

#[derive(Debug)]
struct Holder {
    lock: Arc<tokio::sync::Mutex<()>>,
    newest: CancellationToken,
}

/// The right to append to one partial, until dropped or taken over.
#[derive(Debug)]
pub struct PartialGuard {
    taken_over: CancellationToken,
    lock: Option<tokio::sync::OwnedMutexGuard<()>>,
    digest: Sha256Digest,
    holders: Arc<Mutex<Holders>>,
}

impl PartialLocks {
    /// Tells the holder to let go, and waits until it has.
    ///
    /// # Errors
    /// [`ErrorKind::UploadTakenOver`] if a newer request came while this one waited.
    pub async fn acquire(&self, digest: Sha256Digest) -> Result<PartialGuard> {
        let taken_over = CancellationToken::new();
        let lock = {
            let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
            let holder = holders
                .entry(digest)
                .or_insert_with(|| Holder { lock: Arc::default(), newest: CancellationToken::new() });
            std::mem::replace(&mut holder.newest, taken_over.clone()).cancel();
            Arc::clone(&holder.lock)
        };
        let mut guard = PartialGuard { taken_over, lock: None, digest, holders: Arc::clone(&self.holders) };
        guard.lock = Some(lock.lock_owned().await);
        match guard.taken_over.is_cancelled() {
            true => Err(taken_over_error()),
            false => Ok(guard),
        }
    }

    /// Whether a request holds the partial or waits for it.
    pub fn is_held(&self, digest: Sha256Digest) -> bool {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&digest)
    }
}

impl PartialGuard {
    /// Resolves when a newer request wants the partial.
    pub async fn taken_over(&self) -> Error {
        self.taken_over.cancelled().await;
        taken_over_error()
    }
}

impl Drop for PartialGuard {
    fn drop(&mut self) {
        self.lock = None;
        // The map's own share is the last one when nobody holds the lock or waits for it.
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        if holders.get(&self.digest).is_some_and(|holder| Arc::strong_count(&holder.lock) == 1) {
            holders.remove(&self.digest);
        }
    }
}

fn taken_over_error() -> Error {
    let text =
        "a newer request goes on with this upload: the stored bytes are kept; ask for the offset with HEAD";
    Error::new(ErrorKind::UploadTakenOver, text)
}
