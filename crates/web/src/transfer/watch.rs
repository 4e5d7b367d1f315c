//! Whether the tab that runs the transfers lives. A frozen one keeps its lock, so it says once a second that it
//! does not sleep, and a tab in line that has heard nothing for some of its own ticks takes the lock from it.
//!
//! No epoch guards the transfers, as one guards the journal's leases: a tab that wakes up and does not know yet
//! that it was robbed sends the same bytes to the same name, and what it stores of them absorbs what is there.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use gloo_timers::callback::Interval;

/// How often the tab that runs the transfers says so, and the others count.
const BEAT_INTERVAL_MS: u32 = 1_000;
/// After how many of its ticks without a beat a tab in line takes the transfers over.
const SILENT_TICKS_BEFORE_STEALING: u32 = 5;

/// A tab's part in it: it beats, or listens.
#[derive(Debug, Default)]
pub(super) struct Watch {
    ticks: RefCell<Option<Interval>>,
    state: Rc<State>,
}

#[derive(Debug, Default)]
struct State {
    leads: Cell<bool>,
    silent_ticks: Cell<u32>,
}

impl Watch {
    /// Starts listening. `beat` is called at each tick while this tab leads, `silent` once when another was
    /// silent for too long.
    pub(super) fn start(&self, beat: impl Fn() + 'static, silent: impl Fn() + 'static) {
        let state = Rc::clone(&self.state);
        state.leads.set(false);
        state.silent_ticks.set(0);
        let tick = move || {
            if state.leads.get() {
                return beat();
            }
            state.silent_ticks.set(state.silent_ticks.get() + 1);
            if state.silent_ticks.get() == SILENT_TICKS_BEFORE_STEALING {
                silent();
            }
        };
        self.ticks.replace(Some(Interval::new(BEAT_INTERVAL_MS, tick)));
    }

    /// This tab leads from now on, and says so at once.
    pub(super) fn beat(&self, beat: impl Fn()) {
        self.state.leads.set(true);
        beat();
    }

    /// The tab that leads lives.
    pub(super) fn heard(&self) {
        self.state.silent_ticks.set(0);
    }

    pub(super) fn stop(&self) {
        self.ticks.take();
    }
}
