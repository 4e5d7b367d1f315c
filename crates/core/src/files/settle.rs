//! What follows from the facts: for each blob that changed, then for the whole.

use crate::{
    OpId, Timestamp,
    files::{
        Digest, FileEngine, Held, ORPHAN_GRACE_MS, Output, READER_GRACE_MS, Stored, TransferKind, WakeReason,
        blob::{Blob, Deleting, Local, Phase, Writing},
    },
};

impl FileEngine {
    /// Looks again at what changed, starts what may start, and tells what is different now.
    pub(super) fn settle(&mut self, now: Timestamp) {
        if self.restored {
            while let Some(hash) = self.dirty.pop_first() {
                let Some(mut blob) = self.blobs.remove(&hash) else { continue };
                self.settle_blob(now, hash, &mut blob);
                if !is_forgotten(&blob) {
                    self.blobs.insert(hash, blob);
                }
            }
        }
        if self.reconnect_at.is_some_and(|at| at <= now) {
            self.reconnect_at = None;
        }
        for kind in [TransferKind::Upload, TransferKind::Download] {
            while self.start_next(kind) {}
        }
        let status = self.status();
        if self.told_status != Some(status) {
            self.told_status = Some(status);
            self.outputs.push_back(Output::StatusChanged(status));
        }
        self.set_wake();
    }

    pub(super) fn running_of(&self, kind: TransferKind) -> usize {
        self.running.values().filter(|(running, _)| *running == kind).count()
    }

    pub(super) fn held(&self) -> Option<Held> {
        if self.paused {
            Some(Held::Paused)
        } else if self.auth_held {
            Some(Held::Auth)
        } else if !self.online || self.reconnect_at.is_some() {
            Some(Held::Offline)
        } else if self.quota_held {
            Some(Held::Quota)
        } else {
            None
        }
    }

    /// Asks every running transfer to end; its answer puts it back into its queue.
    pub(super) fn end_running(&mut self) {
        for (&op, &(kind, hash)) in &self.running {
            let Some(blob) = self.blobs.get_mut(&hash) else { continue };
            let lane = blob.lane_mut(kind);
            if lane.phase == Phase::Running(op) {
                lane.phase = Phase::Ending(op);
                self.outputs.push_back(Output::Cancel(op));
            }
        }
    }

    pub(super) fn evict(&mut self, request: u32, hash: Digest) {
        let Some(blob) = self.blobs.get_mut(&hash) else {
            self.outputs.push_back(Output::Evicted(request, false));
            return;
        };
        let safe =
            blob.durably_remote() && !blob.stored.pinned && !blob.is_moving() && blob.deleting.is_none();
        if !safe || blob.local != Local::Present {
            self.outputs.push_back(Output::Evicted(request, blob.local == Local::Absent));
            return;
        }
        self.delete(hash, Some(request));
    }

    fn delete(&mut self, hash: Digest, evict: Option<u32>) {
        let op = self.open_op(hash);
        let Some(blob) = self.blobs.get_mut(&hash) else { return };
        blob.deleting = Some(Deleting { op, evict });
        self.outputs.push_back(Output::DeleteBlob { op, hash, saves: blob.stored.saves });
        self.dirty.insert(hash);
    }

    fn settle_blob(&mut self, now: Timestamp, hash: Digest, blob: &mut Blob) {
        for kind in [TransferKind::Upload, TransferKind::Download] {
            self.settle_lane(now, hash, blob, kind);
        }
        self.probe(hash, blob);
        self.delete_unreferenced(now, hash, blob);
        self.write(now, hash, blob);
        self.announce(hash, blob);
        self.show(hash, blob);
        self.set_timer(hash, blob);
        if blob.is_busy() {
            self.busy.insert(hash)
        } else {
            self.busy.remove(&hash)
        };
        if blob.stored.upload.error.is_some() || blob.stored.download.error.is_some() {
            self.failed.insert(hash);
        }
    }

    fn settle_lane(&mut self, now: Timestamp, hash: Digest, blob: &mut Blob, kind: TransferKind) {
        let needed = blob.needs(kind, self.config.auto_upload);
        let ready = match kind {
            TransferKind::Upload => blob.local == Local::Present,
            TransferKind::Download => blob.local == Local::Absent,
        };
        let fulfilled = match kind {
            TransferKind::Upload => blob.remote(),
            TransferKind::Download => blob.local == Local::Present && blob.deleting.is_none(),
        };
        let size = blob.size;
        let lane = blob.lane_mut(kind);
        lane.asked &= !fulfilled;
        let queue = match kind {
            TransferKind::Upload => &mut self.uploads,
            TransferKind::Download => &mut self.downloads,
        };
        match lane.phase {
            Phase::Queued(turn) if !needed || !ready => {
                queue.remove(turn);
                lane.phase = Phase::Idle;
            }
            Phase::Waiting(_) if !needed || !ready => lane.phase = Phase::Idle,
            Phase::Running(op) if !needed => {
                lane.phase = Phase::Ending(op);
                self.outputs.push_back(Output::Cancel(op));
            }
            Phase::Waiting(at) if at <= now => {
                lane.phase = Phase::Queued(queue.insert(lane.asked, size, hash))
            }
            Phase::Idle if needed && ready => {
                lane.phase = Phase::Queued(queue.insert(lane.asked, size, hash))
            }
            _ => {}
        }
        if let Phase::Waiting(_) = lane.phase {
            self.waiting.insert((hash, kind));
        } else {
            self.waiting.remove(&(hash, kind));
        }
    }

    /// The second pass: only what records and stored state leave open costs a look at the disk.
    fn probe(&mut self, hash: Digest, blob: &mut Blob) {
        let wants = |kind| blob.needs(kind, self.config.auto_upload);
        let undecided = wants(TransferKind::Upload) || wants(TransferKind::Download) || blob.stored.saves > 0;
        if blob.local == Local::Unknown && undecided {
            let op = self.open_op(hash);
            blob.local = Local::Probing(op);
            self.outputs.push_back(Output::Probe(op, hash));
        }
    }

    fn delete_unreferenced(&mut self, now: Timestamp, hash: Digest, blob: &mut Blob) {
        blob.delete_again_at = blob.delete_again_at.filter(|at| *at > now);
        if let Some(due) = self.deletion_due(blob)
            && due <= now
        {
            let op = self.open_op(hash);
            blob.deleting = Some(Deleting { op, evict: None });
            self.outputs.push_back(Output::DeleteBlob { op, hash, saves: blob.stored.saves });
        }
    }

    /// When the blob may go, if nothing changes until then.
    fn deletion_due(&self, blob: &Blob) -> Option<Timestamp> {
        let complete = self.complete_since?;
        if !blob.records.is_empty()
            || blob.local != Local::Present
            || blob.deleting.is_some()
            || blob.is_moving()
        {
            return None;
        }
        let due = match blob.unreferenced_since {
            Some(since) => since + READER_GRACE_MS,
            // Nobody has asked for it in this session: a save whose record is on its way, or an orphan.
            None => {
                (blob.stored.saved_at.unwrap_or_default() + ORPHAN_GRACE_MS).max(complete + READER_GRACE_MS)
            }
        };
        Some(blob.delete_again_at.map_or(due, |again| again.max(due)))
    }

    fn write(&mut self, now: Timestamp, hash: Digest, blob: &mut Blob) {
        blob.write_again_at = blob.write_again_at.filter(|at| *at > now);
        if blob.writing.is_some() || blob.write_again_at.is_some() {
            return;
        }
        let complete = self.complete_since.is_some();
        let nothing_there =
            blob.local == Local::Absent || (blob.local == Local::Unknown && blob.stored.saves == 0);
        if complete && blob.records.is_empty() && nothing_there && !blob.is_busy() {
            if blob.written.is_some() {
                let op = self.open_op(hash);
                blob.writing = Some(Writing { op, value: None });
                self.outputs.push_back(Output::ForgetState(op, hash, blob.stored.saves));
            }
            return;
        }
        blob.stored.size = blob.size;
        let mut value = blob.stored.clone();
        // What is being deleted may be gone before its state is next written.
        value.local &= blob.deleting.is_none();
        let blank = value == Stored { size: blob.size, ..Stored::default() };
        if blob.written.as_ref() == Some(&value) || (blank && blob.written.is_none()) {
            return;
        }
        let op = self.open_op(hash);
        blob.writing = Some(Writing { op, value: Some(value.clone()) });
        self.outputs.push_back(Output::StoreState(op, hash, value));
    }

    fn announce(&mut self, hash: Digest, blob: &mut Blob) {
        if !blob.durably_remote() {
            return;
        }
        let untold = blob.records.iter_mut().filter(|(_, record)| !record.remote && !record.announced);
        let files: Vec<_> = untold
            .map(|(id, record)| {
                record.announced = true;
                id.clone()
            })
            .collect();
        if !files.is_empty() {
            self.outputs.push_back(Output::RecordUploaded { hash, files });
        }
    }

    fn show(&mut self, hash: Digest, blob: &mut Blob) {
        let view = blob.view(self.config.auto_upload);
        let same = blob.shown.as_ref() == Some(&view);
        let mut told = Vec::new();
        for (id, record) in &blob.records {
            if !same || !record.shown {
                told.push(Output::StateChanged(blob.file_state(hash, id, &view)));
            }
        }
        blob.records.values_mut().for_each(|record| record.shown = true);
        blob.shown = Some(view);
        self.outputs.extend(told);
    }

    fn set_timer(&mut self, hash: Digest, blob: &mut Blob) {
        let waits = [blob.upload.phase, blob.download.phase].into_iter().filter_map(|phase| match phase {
            Phase::Waiting(at) => Some(at),
            _ => None,
        });
        let next = waits.chain(blob.write_again_at).chain(self.deletion_due(blob)).min();
        if next != blob.wake {
            if let Some(old) = blob.wake {
                self.timers.remove(&(old, hash));
            }
            if let Some(at) = next {
                self.timers.insert((at, hash));
            }
            blob.wake = next;
        }
    }

    /// Starts the transfer whose turn it is, if it may; whether it did.
    fn start_next(&mut self, kind: TransferKind) -> bool {
        let (queue, max) = match kind {
            TransferKind::Upload => (&mut self.uploads, self.config.max_concurrent_uploads),
            TransferKind::Download => (&mut self.downloads, self.config.max_concurrent_downloads),
        };
        let first = queue.first();
        let held = self.held();
        let free = held.is_none() || (held == Some(Held::Quota) && kind == TransferKind::Upload);
        let Some(hash) = first.filter(|_| free && self.running_of(kind) < max) else { return false };
        let op = self.open_op(hash);
        let blob = self.blobs.get_mut(&hash).expect("only known blobs are queued");
        let size = blob.size;
        let lane = blob.lane_mut(kind);
        if let Phase::Queued(turn) = lane.phase {
            match kind {
                TransferKind::Upload => self.uploads.remove(turn),
                TransferKind::Download => self.downloads.remove(turn),
            }
        }
        lane.phase = Phase::Running(op);
        lane.started_at = lane.loaded;
        let fresh = core::mem::take(&mut lane.fresh);
        let offset = if fresh { 0 } else { lane.loaded };
        self.ops.remove(&op);
        self.running.insert(op, (kind, hash));
        self.outputs.push_back(Output::Start { op, kind, hash, size, offset, fresh });
        let view = blob.view(self.config.auto_upload);
        for id in blob.records.keys() {
            self.outputs.push_back(Output::StateChanged(blob.file_state(hash, id, &view)));
        }
        blob.shown = Some(view);
        true
    }

    fn set_wake(&mut self) {
        let blob = self.timers.first().map(|(at, _)| (*at, WakeReason::Blob));
        let reconnect = self.reconnect_at.map(|at| (at, WakeReason::Reconnect));
        let next = blob.into_iter().chain(reconnect).min_by_key(|(at, _)| *at);
        if next.map(|(at, _)| at) != self.told_wake {
            self.told_wake = next.map(|(at, _)| at);
            self.outputs.push_back(Output::Wake(next));
        }
    }

    fn open_op(&mut self, hash: Digest) -> OpId {
        self.next_op += 1;
        let op = OpId(self.next_op);
        self.ops.insert(op, hash);
        op
    }
}

/// Whether nothing is left to know about it.
fn is_forgotten(blob: &Blob) -> bool {
    let nothing_there = matches!(blob.local, Local::Absent | Local::Unknown);
    blob.records.is_empty()
        && nothing_there
        && blob.written.is_none()
        && blob.wake.is_none()
        && !blob.is_busy()
}
