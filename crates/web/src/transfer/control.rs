//! The reins of one running transfer: an end that was asked for, and a connection that moves nothing.

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
};

use driftline_core::files::{Failure, FailureKind};
use gloo_timers::callback::{Interval, Timeout};
use web_sys::{AbortController, AbortSignal, XmlHttpRequest};

/// A connection that moves no byte for so long is given up, in milliseconds.
const STALL_MS: f64 = 60_000.0;

/// How often that is looked at, in milliseconds.
const STALL_LOOK_MS: u32 = 5_000;

/// Progress is told at most this often, in milliseconds: well over twice a second.
const PROGRESS_MS: f64 = 100.0;

/// Ends a transfer, and hears of its progress.
pub(super) struct Control {
    abort: AbortController,
    xhr: RefCell<Option<XmlHttpRequest>>,
    asked: Cell<bool>,
    stalled: Cell<bool>,
    moved_at: Cell<f64>,
    told_at: Cell<f64>,
    loaded: Cell<u64>,
    /// Tells what was too soon to be told, so that the last of it is told too when nothing follows.
    rest: RefCell<Option<Timeout>>,
    tell: Box<dyn Fn(u64)>,
    this: Weak<Self>,
}

/// Watches for a stall while it lives.
pub(super) struct Watch(#[allow(dead_code)] Interval);

impl Control {
    pub(super) fn new(tell: impl Fn(u64) + 'static) -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            abort: AbortController::new().expect("every browser with wasm has AbortController"),
            xhr: RefCell::new(None),
            asked: Cell::new(false),
            stalled: Cell::new(false),
            moved_at: Cell::new(js_sys::Date::now()),
            told_at: Cell::new(0.0),
            loaded: Cell::new(0),
            rest: RefCell::new(None),
            tell: Box::new(tell),
            this: Weak::clone(this),
        })
    }

    /// Ends the transfer as soon as that can be.
    pub(super) fn cancel(&self) {
        self.asked.set(true);
        self.end();
    }

    pub(super) fn signal(&self) -> AbortSignal {
        self.abort.signal()
    }

    /// Takes the request that is under way, to end it with the transfer.
    pub(super) fn carries(&self, xhr: Option<XmlHttpRequest>) {
        self.xhr.replace(xhr);
    }

    /// Bytes of the blob that have been moved in all. Told on, but not too often.
    pub(super) fn moved(&self, loaded: u64) {
        let now = js_sys::Date::now();
        self.moved_at.set(now);
        self.loaded.set(loaded);
        let left_ms = self.told_at.get() + PROGRESS_MS - now;
        if left_ms <= 0.0 || left_ms > PROGRESS_MS {
            // Also where the clock was set back.
            self.tell_at(now);
        } else if self.rest.borrow().is_none() {
            let this = Weak::clone(&self.this);
            let rest = Timeout::new(left_ms.ceil() as u32, move || {
                if let Some(control) = this.upgrade() {
                    control.tell_at(js_sys::Date::now());
                }
            });
            self.rest.replace(Some(rest));
        }
    }

    fn tell_at(&self, now: f64) {
        self.rest.take();
        self.told_at.set(now);
        (self.tell)(self.loaded.get());
    }

    /// As above, and told at once.
    pub(super) fn reached(&self, loaded: u64) {
        self.told_at.set(0.0);
        self.moved(loaded);
    }

    pub(super) fn watch(self: &Rc<Self>) -> Watch {
        self.moved_at.set(js_sys::Date::now());
        let control = Rc::clone(self);
        Watch(Interval::new(STALL_LOOK_MS, move || {
            if js_sys::Date::now() - control.moved_at.get() > STALL_MS {
                control.stalled.set(true);
                control.end();
            }
        }))
    }

    /// An error if the transfer was asked to end.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.asked.get() { Err(failure(FailureKind::Aborted, "It was stopped.")) } else { Ok(()) }
    }

    /// What a broken connection means here.
    pub(super) fn broken(&self, message: &str) -> Failure {
        if self.asked.get() {
            failure(FailureKind::Aborted, "It was stopped.")
        } else if self.stalled.get() {
            failure(
                FailureKind::Unreachable,
                "The server moved no byte for a minute. What was moved is kept.",
            )
        } else {
            failure(
                FailureKind::Unreachable,
                format!("The server can't be reached ({message}). What was moved is kept."),
            )
        }
    }

    fn end(&self) {
        self.abort.abort();
        if let Some(xhr) = self.xhr.borrow().as_ref() {
            // Aborting a request that has ended does nothing.
            let _ = xhr.abort();
        }
    }
}

pub(super) fn failure(kind: FailureKind, message: impl Into<String>) -> Failure {
    Failure { kind, message: message.into() }
}
