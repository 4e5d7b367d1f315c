//! The simulator: clients with tabs and disks, a server, the app's own server and a network between them,
//! in virtual time and out of one seed. The server keeps rows, as mizu does, or it keeps a log of events and is
//! spoken to as LiveStore's sync-cf or S2 are: the plan says which ([`Wire`]).
//!
//! A run has a **safety phase**, in which the app writes and everything goes wrong that can, and a
//! **settling phase**, in which nothing goes wrong any more and everything must come to rest. Checked are,
//! all along: nothing is sent before its commit has completed, nor by a tab that knows it does not lead;
//! nothing is applied twice; each client's changes of an object are applied in the order of its journal;
//! what was told stays true, in every tab; what a page is told of its rows adds up; a write shows at once;
//! bad writes are refused; of a log each transaction's events are appended once and as a whole; the engine
//! neither panics nor runs in a circle. And in the end: whatever was
//! told durable has ended, as every tab of the client says alike; what is completed was applied, as a
//! whole; what waited on a failure was not; all tabs show what the servers have, a fresh client too, and
//! nothing is asked for more often than the polls.
//!
//! Beside it, [`compare`] runs one tab next to a reference model that shares no code with the engine, and after
//! each step all that can be seen must be what the model says.
//!
//! [`run`] is one run; [`shrink`] makes a failing plan smaller.

mod app;
mod calls;
mod dice;
mod disk;
mod ledger;
mod log;
mod model;
mod network;
mod plan;
mod reference;
mod release;
pub mod server;
mod settle;
mod stepper;
mod steps;
mod tab;
mod trace;
mod wires;
mod world;

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Once,
};

pub use ledger::{Counts, Strikes};
pub use log::Wire;
pub use plan::{Crash, Fault, Plan, STEPS};
pub use stepper::compare;

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// What did not hold, if anything.
    pub violation: Option<String>,
    /// The hash of the trace: equal for equal plans.
    pub hash: u64,
    /// The trace, if it was asked for.
    pub trace: Vec<String>,
    /// How often what happened.
    pub counts: Counts,
    /// How much virtual time passed, in milliseconds.
    pub virtual_ms: u64,
}

/// Runs a plan. With `keep_trace` the report has the trace's lines.
#[must_use]
pub fn run(plan: &Plan, keep_trace: bool) -> Report {
    catch_quietly();
    let mut world = world::World::new(plan.clone(), keep_trace);
    RUNNING.set(true);
    let result = catch_unwind(AssertUnwindSafe(|| {
        world.run_steps();
        world.heal();
        world.settle();
        world.check_ends();
        world.bootstrap();
    }));
    RUNNING.set(false);
    if result.is_err() {
        let message = PANIC.take().unwrap_or_default();
        world.ledger.violate(format_args!("panic: {message}"));
    }
    let violation = world.ledger.violation().map(str::to_owned);
    world.trace.line(world.now, format_args!("end: {violation:?}"));
    let counts = *world.ledger.counts();
    Report {
        violation,
        hash: world.trace.hash(),
        counts,
        virtual_ms: world.now,
        trace: world.trace.into_lines(),
    }
}

/// Violations that differ in identifiers and figures only are of one kind.
#[must_use]
pub fn kind_of(violation: &str) -> String {
    let words = violation.split_whitespace().take(KIND_WORDS);
    words.filter(|word| !word.contains(|letter: char| letter.is_ascii_digit())).collect::<Vec<_>>().join(" ")
}

/// Looks for a smaller plan that fails in the same way: fewer kinds of faults, then fewer steps. One that
/// does not fail is answered as it is.
#[must_use]
pub fn shrink(plan: &Plan) -> Plan {
    let kind = |plan: &Plan| run(plan, false).violation.as_deref().map(kind_of);
    let Some(wanted) = kind(plan) else { return plan.clone() };
    let wanted = Some(wanted);
    let fails = |plan: &Plan| kind(plan) == wanted;
    let mut smallest = plan.clone();
    for fault in Fault::ALL {
        let mut without = smallest.clone();
        without.without.insert(*fault);
        if fails(&without) {
            smallest = without;
        }
    }
    let mut step = smallest.steps / 2;
    while step > 0 {
        let shorter = Plan { steps: smallest.steps.saturating_sub(step), ..smallest.clone() };
        if fails(&shorter) {
            smallest = shorter;
            step = step.min(smallest.steps / 2);
        } else {
            step /= 2;
        }
    }
    smallest
}

/// Words of a violation that say what kind it is.
const KIND_WORDS: usize = 12;

thread_local! {
    static RUNNING: RefCell<bool> = const { RefCell::new(false) };
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic in a run is a finding, not noise: it is kept with its place. Others are reported as ever.
fn catch_quietly() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if RUNNING.with_borrow(|running| *running) {
                PANIC.set(Some(info.to_string()));
            } else {
                usual(info);
            }
        }));
    });
}
