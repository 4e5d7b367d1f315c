//! What is kept about a blob across reloads and crashes: one value per digest in the `transfers` store.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The durable state of one blob. No secret is in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Stored {
    /// Its size in bytes.
    pub size: u64,
    /// How often it was saved on this device, by any tab: the fence that deletions are checked against.
    pub saves: u32,
    /// When it was last saved here, as milliseconds since the Unix epoch; an orphan's age counts from it.
    pub saved_at: Option<Timestamp>,
    /// Whether it is known to be published on disk. `false` decides nothing: the disk must be asked.
    pub local: bool,
    /// Whether the remote is known to have it all.
    pub uploaded: bool,
    /// Whether it was dropped from this device on purpose, so that only an explicit wish brings it back.
    pub evicted: bool,
    /// Whether it is to stay on this device.
    pub pinned: bool,
    /// How its upload went so far.
    pub upload: LaneState,
    /// How its download went so far.
    pub download: LaneState,
}

/// What is kept about one direction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LaneState {
    /// Attempts that were spent.
    pub attempts: u32,
    /// Whether somebody asked to leave it, until somebody asks for it again.
    pub cancelled: bool,
    /// Why it was given up.
    pub error: Option<TransferError>,
}

/// An error to show, with what a person needs to act on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransferError {
    /// A code of api.md, Errors.
    pub code: String,
    /// What happened, what was kept, what to do.
    pub message: String,
    /// Whether the same transfer may succeed later without a change to it.
    pub retryable: bool,
    /// The limit that was passed, in bytes, where there is one and the other side told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
}

impl Stored {
    /// Takes over what another tab's save has put there since this value was read.
    pub fn absorb_saves(&mut self, on_disk: &Self) {
        if on_disk.saves > self.saves {
            self.saves = on_disk.saves;
            self.saved_at = on_disk.saved_at;
            self.size = on_disk.size;
        }
    }

    /// What a save puts there just before it publishes the blob: the intent, counted.
    #[must_use]
    pub fn saved(mut self, size: u64, now: Timestamp) -> Self {
        self.size = size;
        self.saves = self.saves.saturating_add(1);
        self.saved_at = Some(now);
        self.evicted = false;
        self
    }
}
