//! Leases: a Web Lock, and an epoch that rises with each new holder.
//!
//! A closing tab's locks go to the next tab in line by themselves. A frozen one keeps them, so each tab that
//! holds any says once a second that it lives. A tab in line that has heard no beat for two of its own ticks
//! asks for one, and steals the lock after five. It counts its own ticks rather than time: one that was frozen
//! itself has everything that was said meanwhile delivered before it has counted to five. The timers of hidden
//! tabs run once a second, after some minutes once a minute; messages are not slowed down, so such a holder
//! misses its beats and still answers who asks. A frozen one hears the question as well, and keeps silent.
//!
//! The holder may wake up as well. Fences refuse its records by then, but not its requests; so one whose last
//! beat is too long ago looks at its epochs before the engine hears of anything.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use driftline_core::{Code, ErrorInfo, Input, Output, Timestamp, input::LeaseName};
use wasm_bindgen_futures::spawn_local;

use super::Driver;
use crate::{
    channel::TabMessage,
    locks::{Claim, LockEvent},
    schema,
    scope::{Interval, Scope},
    value::Row,
};

/// How often a tab that holds leases says that it lives, and one in line counts.
const BEAT_INTERVAL_MS: u32 = 1_000;
/// After how many of its ticks without a beat a tab in line asks for one.
const SILENT_TICKS_BEFORE_ASKING: u32 = 2;
/// After how many of its ticks without a beat a tab in line steals the lock.
const SILENT_TICKS_BEFORE_STEALING: u32 = 5;
/// The most that a theft is put off beyond that, by chance: tabs that count alike don't rob each other then.
const STEALING_JITTER_MS: u32 = 800;
/// How long after its last beat a tab no longer takes for granted that it holds what it held. Less than the
/// shortest silence after which another one steals.
const DOUBT_AFTER_MS: u64 = 3_000;
/// How long a tab that got a lock but could not raise its epoch lets others try.
const LEASE_RETRY_MS: u32 = 5_000;

/// What a driver holds and stands in line for.
#[derive(Default)]
pub(super) struct Leases {
    claims: RefCell<BTreeMap<LeaseName, Claimed>>,
    numbers: Cell<u64>,
    /// Runs while there are claims.
    ticks: RefCell<Option<Interval>>,
    /// The last sign of life that this tab gave, while it holds anything.
    beat_at: Cell<Option<Timestamp>>,
    is_frozen: Cell<bool>,
    /// The highest log number that was told while the page was frozen, and the same of checkpoints.
    grew: Cell<Option<u64>>,
    checkpointed: Cell<Option<u64>>,
    /// Inputs that wait until this tab knows whether it still leads.
    doubtful: RefCell<Option<Vec<Input<Row>>>>,
}

struct Claimed {
    /// Tells this claim from an earlier one to the same lease, whose events may still be under way.
    number: u64,
    is_held: bool,
    /// Known once this tab has raised it.
    epoch: Option<u64>,
    silent_ticks: u32,
    _claim: Claim,
}

impl Driver {
    pub(super) fn claim(self: &Rc<Self>, lease: LeaseName) {
        self.claim_by(lease, Claim::within);
        self.leases.ticks.borrow_mut().get_or_insert_with(|| {
            let tick = self.weakly(|driver, ()| driver.tick());
            self.scope.interval(BEAT_INTERVAL_MS, move || tick(()))
        });
    }

    pub(super) fn release(&self, lease: &str) {
        self.leases.claims.borrow_mut().remove(lease);
        self.leases.forget_beat();
    }

    /// A tab in line asks whether the holder of these leases lives.
    pub(super) fn answer(self: &Rc<Self>, leases: &[LeaseName]) {
        let holds_one = self.leases.held().iter().any(|held| leases.contains(held));
        if holds_one && !self.check_doubt() {
            self.beat();
        }
    }

    /// The browser stops the page, or lets it go on; then the first thing is to see whether it still leads.
    pub(super) fn frozen(self: &Rc<Self>, is_frozen: bool) {
        self.leases.is_frozen.set(is_frozen);
        if is_frozen {
            return;
        }
        if self.leases.beat_at.get().is_some() {
            self.leases.beat_at.set(Some(Timestamp(0)));
            self.check_doubt();
        }
        if let Some(number) = self.leases.checkpointed.take() {
            self.input(Input::CheckpointedElsewhere(number));
        }
        if let Some(number) = self.leases.grew.take() {
            self.input(Input::LogGrew(number));
        }
        // How the remotes stand was told meanwhile, too; and tabs that came may not know that this one is there.
        self.tell_log();
        self.send(&TabMessage::Hello);
    }

    /// The input, unless this tab has to make sure that it still leads: then the input waits.
    pub(super) fn unless_in_doubt(self: &Rc<Self>, input: Input<Row>) -> Option<Input<Row>> {
        // What is written is no matter of who leads.
        if matches!(input, Input::TurnEnded) || !self.check_doubt() {
            return Some(input);
        }
        if let Some(waiting) = &mut *self.leases.doubtful.borrow_mut() {
            waiting.push(input);
        }
        None
    }

    fn claim_by<C>(self: &Rc<Self>, lease: LeaseName, claim: C)
    where
        C: FnOnce(&Scope, &str, Box<dyn Fn(LockEvent)>) -> Claim,
    {
        let number = self.leases.numbers.get() + 1;
        self.leases.numbers.set(number);
        let lock = format!("{}:{lease}", schema::database_name(&self.name));
        let heard = {
            let lease = lease.clone();
            self.weakly(move |driver, event| driver.lock_changed(&lease, number, event))
        };
        let claimed = Claimed {
            number,
            is_held: false,
            epoch: None,
            silent_ticks: 0,
            _claim: claim(&self.scope, &lock, Box::new(heard)),
        };
        self.leases.claims.borrow_mut().insert(lease, claimed);
    }

    fn lock_changed(self: &Rc<Self>, lease: &LeaseName, number: u64, event: LockEvent) {
        if !self.leases.is_claimed(lease, number) {
            return;
        }
        match event {
            LockEvent::Gained => {
                self.leases.change(lease, |claimed| claimed.is_held = true);
                self.beat();
                let (driver, lease) = (Rc::clone(self), lease.clone());
                spawn_local(async move { driver.raise(lease, number).await });
            }
            LockEvent::Elsewhere => self.take(Input::LeaseElsewhere(lease.clone())),
            LockEvent::Lost => self.robbed(lease),
            LockEvent::Unsupported => {
                self.release(lease);
                self.complain(Code::Unexpected, WITHOUT_LOCKS.to_owned());
            }
        }
    }

    async fn raise(self: Rc<Self>, lease: LeaseName, number: u64) {
        match self.journal.raise_epoch(&lease).await {
            Ok(epoch) if self.leases.is_claimed(&lease, number) => {
                self.leases.change(&lease, |claimed| claimed.epoch = Some(epoch));
                self.take(Input::LeaseGained(lease, epoch));
            }
            Ok(_) => {}
            Err(error) => {
                if !self.leases.is_claimed(&lease, number) || self.closed.get() {
                    return;
                }
                self.release(&lease);
                self.complain(
                    Code::StorageUnavailable,
                    format!("This tab can't take over sending, as the database can't be written ({error:?}). Nothing is lost; it is tried again."),
                );
                self.scope.wait(LEASE_RETRY_MS).await;
                if !self.closed.get() && !self.leases.claims.borrow().contains_key(&lease) {
                    self.claim(lease);
                }
            }
        }
    }

    /// Another tab took a lease away: it leads now, and this one stands in line again.
    fn robbed(self: &Rc<Self>, lease: &LeaseName) {
        self.release(lease);
        self.take(Input::LeaseLost(lease.clone()));
        if !self.closed.get() {
            self.claim(lease.clone());
        }
    }

    fn tick(self: &Rc<Self>) {
        if !self.leases.held().is_empty() && !self.check_doubt() {
            self.beat();
        }
        let (asked, silent) = self.leases.count_silence();
        if !asked.is_empty() {
            self.send(&TabMessage::Ask(asked));
        }
        for (lease, number) in silent {
            let driver = Rc::clone(self);
            spawn_local(async move {
                driver.scope.wait((driver.scope.random() * f64::from(STEALING_JITTER_MS)) as u32).await;
                // Released, gained, or a beat was heard meanwhile.
                let is_silent = |claimed: &Claimed| {
                    claimed.number == number && claimed.silent_ticks >= SILENT_TICKS_BEFORE_STEALING
                };
                if !driver.closed.get() && driver.leases.claims.borrow().get(&lease).is_some_and(is_silent) {
                    driver.claim_by(lease, Claim::steal_within);
                }
            });
        }
    }

    /// Says that this tab lives.
    fn beat(&self) {
        self.leases.beat_at.set(Some(self.scope.now()));
        self.send(&TabMessage::Beat(self.leases.held()));
    }

    /// Whether this tab was silent for so long that another may have taken over; finds it out if so.
    fn check_doubt(self: &Rc<Self>) -> bool {
        if self.leases.doubtful.borrow().is_some() {
            return true;
        }
        let is_due = self
            .leases
            .beat_at
            .get()
            .is_some_and(|at| self.scope.now().0.saturating_sub(at.0) > DOUBT_AFTER_MS);
        if is_due {
            self.leases.doubtful.replace(Some(Vec::new()));
            self.occupy(async |driver| driver.resolve_doubt().await);
        }
        is_due
    }

    /// Looks whether the epochs are still this tab's, and then goes on with what has waited for that.
    async fn resolve_doubt(self: Rc<Self>) {
        let (names, epochs): (Vec<_>, Vec<_>) = self
            .leases
            .claims
            .borrow()
            .iter()
            .filter_map(|(lease, claimed)| Some((lease.clone(), (claimed.number, claimed.epoch?))))
            .unzip();
        // What can't be read is no proof of anything; a fence decides then.
        if let Ok(found) = self.journal.epochs(&names).await {
            for ((lease, (number, epoch)), found) in names.iter().zip(epochs).zip(found) {
                if found != epoch && self.leases.is_claimed(lease, number) {
                    self.robbed(lease);
                }
            }
        }
        let waited = self.leases.doubtful.take();
        if !self.leases.held().is_empty() {
            self.beat();
        }
        for input in waited.into_iter().flatten() {
            self.take(input);
        }
    }

    fn complain(&self, code: Code, message: String) {
        (self.tell)(vec![Output::Error { code, error: ErrorInfo::of(code, message), transaction: None }]);
    }
}

impl Leases {
    /// Gives everything back.
    pub(super) fn clear(&self) {
        self.claims.borrow_mut().clear();
        self.ticks.take();
        self.forget_beat();
    }

    /// The message, unless the page is frozen. Chromium delivers messages all the same, and nothing else: a
    /// transaction that was begun upon one would not end before the thaw, and stand in every other tab's way.
    pub(super) fn unless_frozen(&self, message: TabMessage) -> Option<TabMessage> {
        if !self.is_frozen.get() {
            return Some(message);
        }
        match message {
            TabMessage::Grew(number) => self.grew.set(self.grew.get().max(Some(number))),
            TabMessage::Checkpointed(number) => {
                self.checkpointed.set(self.checkpointed.get().max(Some(number)))
            }
            _ => {}
        }
        None
    }

    /// The tab that holds these leases lives.
    pub(super) fn hear_beat(&self, leases: &[LeaseName]) {
        let mut claims = self.claims.borrow_mut();
        for lease in leases {
            if let Some(claimed) = claims.get_mut(lease) {
                claimed.silent_ticks = 0;
            }
        }
    }

    fn held(&self) -> Vec<LeaseName> {
        self.claims
            .borrow()
            .iter()
            .filter(|(_, claimed)| claimed.is_held)
            .map(|(lease, _)| lease.clone())
            .collect()
    }

    /// Counts a tick: the leases whose beats are missed, and those of them that were silent for too long.
    fn count_silence(&self) -> (Vec<LeaseName>, Vec<(LeaseName, u64)>) {
        let (mut asked, mut silent) = (Vec::new(), Vec::new());
        for (lease, claimed) in self.claims.borrow_mut().iter_mut().filter(|(_, claimed)| !claimed.is_held) {
            claimed.silent_ticks += 1;
            if claimed.silent_ticks >= SILENT_TICKS_BEFORE_ASKING {
                asked.push(lease.clone());
            }
            if claimed.silent_ticks == SILENT_TICKS_BEFORE_STEALING {
                silent.push((lease.clone(), claimed.number));
            }
        }
        (asked, silent)
    }

    fn is_claimed(&self, lease: &str, number: u64) -> bool {
        self.claims.borrow().get(lease).is_some_and(|claimed| claimed.number == number)
    }

    fn change(&self, lease: &str, change: impl FnOnce(&mut Claimed)) {
        if let Some(claimed) = self.claims.borrow_mut().get_mut(lease) {
            change(claimed);
        }
    }

    fn forget_beat(&self) {
        if !self.claims.borrow().values().any(|claimed| claimed.is_held) {
            self.beat_at.set(None);
        }
    }
}

const WITHOUT_LOCKS: &str = "This browser gives the page no Web Locks, so that it can't be made sure that one tab alone sends. \
     What is written is kept here and not sent. Open the page over https or on localhost.";
