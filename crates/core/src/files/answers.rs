//! What became of what was asked for: transfers, probes, deletions, writes of durable state.

use crate::{
    OpId, Timestamp,
    files::{
        DeleteOutcome, Failure, FailureKind, FileEngine, Output, TransferError, TransferKind,
        blob::{Local, Phase},
    },
    random::Random,
};

impl FileEngine {
    pub(super) fn probed(&mut self, op: OpId, size: Option<u64>) {
        let Some(hash) = self.ops.remove(&op) else { return };
        let Some(blob) = self.blobs.get_mut(&hash) else { return };
        if blob.local != Local::Probing(op) {
            return;
        }
        if let Some(size) = size {
            blob.local = Local::Present;
            blob.stored.local = true;
            blob.size = size;
            blob.stored.size = size;
        } else {
            blob.local = Local::Absent;
            blob.stored.local = false;
            if blob.stored.saves > 0 && !blob.remote() && !blob.stored.evicted {
                blob.stored.upload.error = Some(local_missing());
            }
        }
        self.dirty.insert(hash);
    }

    pub(super) fn state_stored(&mut self, now: Timestamp, op: OpId, stored: bool) {
        let Some(hash) = self.ops.remove(&op) else { return };
        let Some(blob) = self.blobs.get_mut(&hash) else { return };
        let Some(writing) = blob.writing.take_if(|writing| writing.op == op) else { return };
        if stored {
            blob.written = writing.value;
        } else {
            blob.write_again_at = Some(now + STORE_RETRY_MS);
        }
        self.dirty.insert(hash);
    }

    pub(super) fn deleted(&mut self, now: Timestamp, op: OpId, outcome: DeleteOutcome) {
        let Some(hash) = self.ops.remove(&op) else { return };
        let Some(blob) = self.blobs.get_mut(&hash) else { return };
        let Some(deleting) = blob.deleting.take_if(|deleting| deleting.op == op) else { return };
        let gone = outcome == DeleteOutcome::Deleted;
        match outcome {
            DeleteOutcome::Deleted => {
                blob.local = Local::Absent;
                blob.stored.local = false;
                // Whoever asked for it meanwhile gets it back.
                blob.stored.evicted = deleting.evict.is_some() && !blob.download.asked;
                self.quota_held = false;
            }
            DeleteOutcome::Kept(on_disk) => {
                blob.stored.absorb_saves(&on_disk);
                blob.unreferenced_since = None;
            }
            DeleteOutcome::Busy => blob.delete_again_at = Some(now + DELETE_RETRY_MS),
        }
        if let Some(request) = deleting.evict {
            self.outputs.push_back(Output::Evicted(request, gone));
        }
        self.dirty.insert(hash);
    }

    pub(super) fn progressed(&mut self, op: OpId, loaded: u64) {
        let Some(&(kind, hash)) = self.running.get(&op) else { return };
        self.unreachable = 0;
        let Some(blob) = self.blobs.get_mut(&hash) else { return };
        let total = blob.size;
        let lane = blob.lane_mut(kind);
        let loaded = loaded.min(total);
        if loaded > lane.loaded {
            lane.loaded = loaded;
            let files = blob.records.keys().cloned().collect();
            self.outputs.push_back(Output::Progress { kind, hash, files, loaded, total });
        }
    }

    pub(super) fn finished(&mut self, op: OpId) {
        let Some((kind, hash)) = self.running.remove(&op) else { return };
        self.unreachable = 0;
        let Some(blob) = self.blobs.get_mut(&hash) else { return };
        *blob.state_mut(kind) = Default::default();
        *blob.lane_mut(kind) = Default::default();
        match kind {
            TransferKind::Upload => blob.stored.uploaded = true,
            TransferKind::Download => {
                blob.local = Local::Present;
                blob.stored.local = true;
                blob.stored.evicted = false;
                blob.stored.uploaded = true;
            }
        }
        let (total, files) = (blob.size, blob.records.keys().cloned().collect());
        self.outputs.push_back(Output::Progress { kind, hash, files, loaded: total, total });
        self.dirty.insert(hash);
    }

    pub(super) fn failed(&mut self, now: Timestamp, op: OpId, failure: &Failure) {
        let Some((kind, hash)) = self.running.remove(&op) else { return };
        let config = &self.config;
        let Some(blob) = self.blobs.get_mut(&hash) else { return };
        self.dirty.insert(hash);
        let lane = blob.lane_mut(kind);
        lane.phase = Phase::Idle;
        let moved = lane.loaded > lane.started_at;
        let error = |code: &str, retryable: bool, limit_bytes: Option<u64>| {
            Some(TransferError {
                code: code.into(),
                message: failure.message.clone(),
                retryable,
                limit_bytes,
            })
        };
        match (failure.kind, kind) {
            (FailureKind::Aborted, _) => {}
            (FailureKind::Unreachable, _) => {
                let wait =
                    back_off(&mut self.random, UNREACHABLE_BASE_MS, UNREACHABLE_MAX_MS, self.unreachable);
                self.unreachable = self.unreachable.saturating_add(1);
                self.reconnect_at = Some(now + wait);
            }
            (FailureKind::AuthRequired, _) => self.auth_held = true,
            (FailureKind::TooLarge(limit), _) => {
                blob.state_mut(kind).error = error("too_large", false, limit)
            }
            (FailureKind::NotFound, _) => blob.state_mut(kind).error = error("not_found", false, None),
            (FailureKind::Rejected, _) => blob.state_mut(kind).error = error("unexpected", false, None),
            (FailureKind::QuotaExceeded, TransferKind::Download) => self.quota_held = true,
            (FailureKind::LocalMissing, TransferKind::Upload) => {
                blob.local = Local::Absent;
                blob.stored.local = false;
                blob.stored.upload.error = Some(local_missing());
            }
            (FailureKind::DigestMismatch, TransferKind::Upload) => {
                blob.state_mut(kind).error = error("digest_mismatch", false, None)
            }
            (FailureKind::DigestMismatch, TransferKind::Download) => {
                let lane = &mut blob.download;
                lane.mismatches += 1;
                lane.fresh = true;
                if lane.mismatches >= MAX_DIGEST_ATTEMPTS {
                    blob.stored.download.error = error("digest_mismatch", false, None);
                } else {
                    let wait = back_off(
                        &mut self.random,
                        config.base_delay_ms,
                        config.max_delay_ms,
                        lane.mismatches,
                    );
                    lane.phase = Phase::Waiting(now + wait);
                }
            }
            (FailureKind::Temporary(_) | FailureKind::QuotaExceeded | FailureKind::LocalMissing, _) => {
                let asked_for = match failure.kind {
                    FailureKind::Temporary(asked_for) => asked_for.map_or(0, |ms| ms.min(MAX_RETRY_AFTER_MS)),
                    _ => 0,
                };
                // A transfer that gets on is not failing, however often its connection breaks.
                let spent = if moved { 0 } else { blob.state(kind).attempts } + 1;
                blob.state_mut(kind).attempts = spent;
                if spent >= config.max_attempts {
                    blob.state_mut(kind).error = error("unexpected", true, None);
                } else {
                    let wait =
                        back_off(&mut self.random, config.base_delay_ms, config.max_delay_ms, spent - 1);
                    blob.lane_mut(kind).phase = Phase::Waiting(now + wait.max(asked_for));
                }
            }
        }
    }
}

/// A delay with full jitter: anything up to a bound that doubles with each try.
pub(super) fn back_off(random: &mut Random, base_ms: u64, max_ms: u64, tries: u32) -> u64 {
    random.up_to(base_ms.saturating_mul(1 << tries.min(32)).min(max_ms))
}

fn local_missing() -> TransferError {
    TransferError {
        code: LOCAL_MISSING_CODE.into(),
        message: "The local copy of this file is gone, and it had not been uploaded. The record is kept; save the file again.".into(),
        retryable: false,
        limit_bytes: None,
    }
}

pub(super) const LOCAL_MISSING_CODE: &str = "not_found";

/// How long after a failed write of durable state it is written again.
const STORE_RETRY_MS: u64 = 2_000;

/// How long after a blob was in use its deletion is tried again.
const DELETE_RETRY_MS: u64 = 60_000;

/// The bounds of the wait after the remote was not reached.
const UNREACHABLE_BASE_MS: u64 = 1_000;
const UNREACHABLE_MAX_MS: u64 = 30_000;

/// The longest wait that the other side may ask for.
const MAX_RETRY_AFTER_MS: u64 = 3_600_000;

/// Downloads with wrong bytes in a row, until the blob is given up.
const MAX_DIGEST_ATTEMPTS: u32 = 3;
