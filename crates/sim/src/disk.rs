//! A client's disk, and the locks of its tabs.

use driftline_core::{CommitError, Input};

use crate::{
    plan::{Crash, Fault},
    tab::{HEARTBEAT_MS, Tab},
    world::{Event, Job, Parcel, TabId, World},
};

impl World {
    /// Queues a transaction on a client's disk; they run one after the other.
    pub fn submit(&mut self, client: usize, tab: TabId, job: Job) {
        let mut latency = 1 + self.dice.latency(8, 60);
        if self.strikes(Fault::SlowDisk, 8) {
            latency += self.dice.range(200, 4_000);
        }
        let disk = &mut self.clients[client];
        disk.disk_free_at = disk.disk_free_at.max(self.now) + latency;
        let delay = disk.disk_free_at - self.now;
        self.at(delay, Event::Disk(client, tab, job));
    }

    pub fn run_job(&mut self, client: usize, tab: TabId, job: Job) {
        // A transaction of a tab that has died meanwhile may have been complete in the browser's process.
        let alive = self.tabs.contains_key(&tab);
        if !alive && (!matches!(job, Job::Commit(..) | Job::Checkpoint(..)) || self.dice.chance(500)) {
            return;
        }
        if !matches!(job, Job::Load(_) | Job::ReadLog(..)) {
            self.writes += 1;
            self.ledger.counts().writes += 1;
            match self.plan.crash {
                Some(Crash::Before(write)) if write == self.writes => return self.replace(tab),
                Some(Crash::After(write)) if write == self.writes => {
                    self.write_silently(client, tab, &job);
                    return self.replace(tab);
                }
                _ => {}
            }
        }
        let gone = self.clients[client].no_disk_until > self.now;
        let parcel = match job {
            Job::Load(op) => {
                let result = if self.strikes(Fault::Load, 10) || gone {
                    Err(unavailable())
                } else {
                    Ok(self.clients[client].disk.load())
                };
                self.note(format_args!(
                    "disk {client} loads for tab {tab}: {}",
                    if result.is_ok() { "all" } else { "nothing" }
                ));
                Parcel::Input(Input::Loaded(op, result))
            }
            Job::ReadLog(op, after) => {
                let result = if self.strikes(Fault::Abort, 5) || gone {
                    Err(unavailable())
                } else {
                    Ok(self.clients[client].disk.read_log(after))
                };
                self.note(format_args!(
                    "disk {client} reads after {after} for tab {tab}: {}",
                    result.as_ref().map_or(0, |read| read.records.len())
                ));
                Parcel::Input(Input::LogRead(op, result))
            }
            Job::Commit(op, commit) => {
                let result = if self.strikes(Fault::Quota, 4) {
                    Err(CommitError::Quota { usage_bytes: 1_000, quota_bytes: 1_000 })
                } else if self.strikes(Fault::Abort, 8) || gone {
                    Err(unavailable())
                } else {
                    self.clients[client].disk.append(&commit)
                };
                match &result {
                    Ok(number) => self.ledger.recorded(client, *number, &commit.record.bytes),
                    Err(CommitError::Fenced(_)) => self.ledger.counts().fenced += 1,
                    Err(_) => {}
                }
                self.note(format_args!(
                    "disk {client} commits for tab {tab}: {result:?}, {} bytes, fences {:?}",
                    commit.record.bytes.len(),
                    commit.fences
                ));
                Parcel::Committed(op, result)
            }
            Job::Checkpoint(op, checkpoint) => {
                let result = if self.strikes(Fault::Abort, 50) || gone {
                    Err(unavailable())
                } else {
                    Ok(self.clients[client].disk.checkpoint(&checkpoint))
                };
                self.ledger.counts().checkpoints += u64::from(result == Ok(true));
                self.note(format_args!(
                    "disk {client} checkpoints {} for tab {tab}: {result:?}",
                    checkpoint.upto
                ));
                Parcel::Checkpointed(op, result, checkpoint.upto)
            }
            Job::Raise(lease) => {
                let result = if self.strikes(Fault::Abort, 20) || gone {
                    Err(unavailable())
                } else {
                    Ok(self.clients[client].disk.raise_epoch(&lease))
                };
                self.note(format_args!("disk {client} raises {lease} for tab {tab}: {result:?}"));
                Parcel::Raised(lease, result)
            }
        };
        let delay = self.dice.latency(2, 40);
        self.at(delay, Event::Parcel(tab, parcel));
    }

    /// A write that is done and told to nobody.
    fn write_silently(&mut self, client: usize, tab: TabId, job: &Job) {
        let disk = &mut self.clients[client].disk;
        match job {
            Job::Commit(_, commit) => {
                if let Ok(number) = disk.append(commit) {
                    self.ledger.recorded(client, number, &commit.record.bytes);
                }
            }
            Job::Checkpoint(_, checkpoint) => {
                disk.checkpoint(checkpoint);
            }
            Job::Raise(lease) => {
                disk.raise_epoch(lease);
            }
            Job::Load(_) | Job::ReadLog(..) => {}
        }
        self.note(format_args!("a write of tab {tab} is done and told to nobody"));
    }

    /// A tab dies where the plan says so, and another is opened in its place.
    fn replace(&mut self, tab: TabId) {
        if let Some(client) = self.tabs.get(&tab).map(|tab| tab.client) {
            self.crash_tab(tab);
            self.open_tab(client, true);
        }
    }

    pub fn holds(&self, tab: &Tab, lease: &str) -> bool {
        self.clients[tab.client].locks.get(lease).is_some_and(|lock| lock.holder == Some(tab.id))
    }

    /// Asks for a lock and stays in line for it.
    pub fn queue_for_lock(&mut self, tab: &mut Tab, lease: &str) {
        let lock = self.clients[tab.client].locks.entry(lease.to_owned()).or_default();
        if lock.holder.is_none() && lock.queue.is_empty() {
            lock.holder = Some(tab.id);
            self.at(1, Event::Parcel(tab.id, Parcel::Granted(lease.to_owned())));
        } else {
            lock.queue.push_back(tab.id);
            self.at(1, Event::Parcel(tab.id, Parcel::Input(Input::LeaseElsewhere(lease.to_owned()))));
        }
    }

    /// Gives a lock back, or leaves the line for it.
    pub fn leave_lock(&mut self, client: usize, tab: TabId, lease: &str) {
        let Some(lock) = self.clients[client].locks.get_mut(lease) else { return };
        lock.queue.retain(|waiting| *waiting != tab);
        if lock.holder == Some(tab) {
            lock.holder = lock.queue.pop_front();
            if let Some(next) = lock.holder {
                self.at(1, Event::Parcel(next, Parcel::Granted(lease.to_owned())));
            }
        }
    }

    /// What the browser does for a tab that is gone.
    pub fn leave_locks(&mut self, client: usize, tab: TabId) {
        let leases: Vec<_> = self.clients[client].locks.keys().cloned().collect();
        for lease in leases {
            self.leave_lock(client, tab, &lease);
        }
    }

    /// A tab steals the locks that it waits for from holders whose heart has stopped.
    pub fn heartbeat(&mut self, tab: TabId) {
        let Some(client) = self.tabs.get(&tab).map(|tab| tab.client) else { return };
        self.at(HEARTBEAT_MS, Event::Heartbeat(tab));
        if self.tabs[&tab].frozen_since.is_some() {
            return;
        }
        let stopped = |holder: &TabId| {
            let since = self.tabs.get(holder).and_then(|holder| holder.frozen_since);
            since.is_some_and(|since| self.now - since > MISSED_HEARTBEATS * HEARTBEAT_MS)
        };
        let locks = self.clients[client].locks.iter();
        let stolen: Vec<_> = locks
            .filter(|(_, lock)| lock.queue.contains(&tab) && lock.holder.as_ref().is_some_and(stopped))
            .map(|(lease, _)| lease.clone())
            .collect();
        for lease in stolen {
            let lock = self.clients[client].locks.get_mut(&lease).expect("a lock that was just listed");
            lock.queue.retain(|waiting| *waiting != tab);
            let from = lock.holder.replace(tab).expect("a stopped holder");
            self.ledger.counts().steals += 1;
            self.note(format_args!("tab {tab} steals {lease} from tab {from}"));
            self.at(0, Event::Parcel(from, Parcel::Stolen(lease.clone())));
            self.at(1, Event::Parcel(tab, Parcel::Granted(lease)));
        }
    }
}

fn unavailable() -> CommitError {
    CommitError::Unavailable("the connection to IndexedDB was lost".into())
}

/// Heartbeats that are missed before a lock is stolen.
const MISSED_HEARTBEATS: u64 = 5;
