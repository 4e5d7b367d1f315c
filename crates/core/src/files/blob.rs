//! What the planner knows about one blob, and what follows from it.

use std::collections::BTreeMap;

use crate::{
    OpId, Timestamp,
    files::{
        Digest, FileId, FileState, LaneState, Stored, TransferError, TransferKind, TransferStatus,
        queue::Turn,
    },
};

#[derive(Debug, Default)]
pub(super) struct Blob {
    pub(super) size: u64,
    pub(super) records: BTreeMap<FileId, Record>,
    pub(super) local: Local,
    /// What is to be in the store, and what is known to be there.
    pub(super) stored: Stored,
    pub(super) written: Option<Stored>,
    pub(super) writing: Option<Writing>,
    pub(super) write_again_at: Option<Timestamp>,
    pub(super) upload: Lane,
    pub(super) download: Lane,
    /// When the last record went, if one was there in this session.
    pub(super) unreferenced_since: Option<Timestamp>,
    pub(super) deleting: Option<Deleting>,
    pub(super) delete_again_at: Option<Timestamp>,
    /// The timer that is set for it.
    pub(super) wake: Option<Timestamp>,
    /// What its records' states were when last told.
    pub(super) shown: Option<View>,
}

#[derive(Debug)]
pub(super) struct Record {
    pub(super) remote: bool,
    pub(super) auto_download: bool,
    /// Whether it has been told that the remote has its bytes.
    pub(super) announced: bool,
    pub(super) shown: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Local {
    #[default]
    Unknown,
    Probing(OpId),
    Present,
    Absent,
}

#[derive(Debug)]
pub(super) struct Writing {
    pub(super) op: OpId,
    pub(super) value: Option<Stored>,
}

#[derive(Debug)]
pub(super) struct Deleting {
    pub(super) op: OpId,
    /// The request's number, when it is an eviction.
    pub(super) evict: Option<u32>,
}

/// One direction of one blob.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) phase: Phase,
    /// Somebody asked for it: it goes ahead of the others, and without regard to automatic rules.
    pub(super) asked: bool,
    /// The most that was moved, in bytes.
    pub(super) loaded: u64,
    /// Where the running try had got to when it was started.
    pub(super) started_at: u64,
    /// What is there must be thrown away before the next try.
    pub(super) fresh: bool,
    pub(super) mismatches: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Idle,
    Queued(Turn),
    Waiting(Timestamp),
    Running(OpId),
    /// Runs, and has been asked to end.
    Ending(OpId),
}

/// What is told about each of a blob's records.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    local: bool,
    upload: TransferStatus,
    download: TransferStatus,
    error: Option<TransferError>,
    pinned: bool,
}

impl Blob {
    pub(super) fn restored(stored: Stored) -> Self {
        Self {
            size: stored.size,
            local: if stored.local { Local::Present } else { Local::Unknown },
            written: Some(stored.clone()),
            stored,
            ..Self::default()
        }
    }

    /// Whether the remote is known to have it, by a record or by this device's own upload.
    pub(super) fn remote(&self) -> bool {
        self.stored.uploaded || self.records.values().any(|record| record.remote)
    }

    /// As [`Self::remote`], and no crash can take that knowledge away.
    pub(super) fn durably_remote(&self) -> bool {
        self.records.values().any(|record| record.remote)
            || self.written.as_ref().is_some_and(|stored| stored.uploaded)
    }

    pub(super) fn needs(&self, kind: TransferKind, auto_upload: bool) -> bool {
        let kept = self.state(kind);
        if self.records.is_empty() || self.deleting.is_some() || kept.cancelled || kept.error.is_some() {
            return false;
        }
        match kind {
            TransferKind::Upload => {
                !self.remote() && self.local != Local::Absent && (auto_upload || self.upload.asked)
            }
            TransferKind::Download => {
                let wished = self.download.asked || self.stored.pinned;
                let automatic =
                    !self.stored.evicted && self.records.values().any(|record| record.auto_download);
                self.remote() && self.local != Local::Present && (wished || automatic)
            }
        }
    }

    pub(super) fn lane(&self, kind: TransferKind) -> &Lane {
        match kind {
            TransferKind::Upload => &self.upload,
            TransferKind::Download => &self.download,
        }
    }

    pub(super) fn lane_mut(&mut self, kind: TransferKind) -> &mut Lane {
        match kind {
            TransferKind::Upload => &mut self.upload,
            TransferKind::Download => &mut self.download,
        }
    }

    pub(super) fn state(&self, kind: TransferKind) -> &LaneState {
        match kind {
            TransferKind::Upload => &self.stored.upload,
            TransferKind::Download => &self.stored.download,
        }
    }

    pub(super) fn state_mut(&mut self, kind: TransferKind) -> &mut LaneState {
        match kind {
            TransferKind::Upload => &mut self.stored.upload,
            TransferKind::Download => &mut self.stored.download,
        }
    }

    /// A wish starts with a clean slate.
    pub(super) fn ask(&mut self, kind: TransferKind) {
        *self.state_mut(kind) = LaneState::default();
        let lane = self.lane_mut(kind);
        lane.asked = true;
        lane.mismatches = 0;
        if let Phase::Waiting(_) = lane.phase {
            lane.phase = Phase::Idle;
        }
    }

    pub(super) fn is_moving(&self) -> bool {
        self.upload.phase.op().is_some() || self.download.phase.op().is_some()
    }

    /// Whether something is still to happen without a new input from outside.
    pub(super) fn is_busy(&self) -> bool {
        self.upload.phase != Phase::Idle
            || self.download.phase != Phase::Idle
            || self.writing.is_some()
            || self.write_again_at.is_some()
            || self.deleting.is_some()
            || matches!(self.local, Local::Probing(_))
    }

    pub(super) fn view(&self, auto_upload: bool) -> View {
        let upload = if self.remote() {
            TransferStatus::Done
        } else {
            self.status(TransferKind::Upload, auto_upload, TransferStatus::None)
        };
        let download = if self.local == Local::Present {
            TransferStatus::Done
        } else {
            // Bytes that only another device has are on their way as soon as it has uploaded them.
            let elsewhere = if self.remote() { TransferStatus::None } else { TransferStatus::Pending };
            self.status(TransferKind::Download, auto_upload, elsewhere)
        };
        View {
            local: self.local == Local::Present,
            upload,
            download,
            error: self.stored.upload.error.clone().or_else(|| self.stored.download.error.clone()),
            pinned: self.stored.pinned,
        }
    }

    pub(super) fn file_state(&self, hash: Digest, id: &FileId, view: &View) -> FileState {
        let lane = if self.upload.phase == Phase::Idle { &self.download } else { &self.upload };
        FileState {
            file_id: id.clone(),
            hash,
            local: view.local,
            upload_status: view.upload,
            download_status: view.download,
            loaded: if lane.phase == Phase::Idle { 0 } else { lane.loaded },
            total: self.size,
            last_error: view.error.clone(),
            pinned: view.pinned,
        }
    }

    fn status(&self, kind: TransferKind, auto_upload: bool, otherwise: TransferStatus) -> TransferStatus {
        match self.lane(kind).phase {
            Phase::Running(_) | Phase::Ending(_) => TransferStatus::InProgress,
            Phase::Queued(_) => TransferStatus::Queued,
            Phase::Waiting(_) => TransferStatus::Pending,
            Phase::Idle if self.state(kind).error.is_some() => TransferStatus::Error,
            Phase::Idle if self.needs(kind, auto_upload) => TransferStatus::Pending,
            Phase::Idle => otherwise,
        }
    }
}

impl Phase {
    pub(super) fn op(self) -> Option<OpId> {
        match self {
            Self::Running(op) | Self::Ending(op) => Some(op),
            Self::Idle | Self::Queued(_) | Self::Waiting(_) => None,
        }
    }
}
