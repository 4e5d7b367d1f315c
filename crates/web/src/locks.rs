//! Leases as Web Locks: held until they are released, taken over by the next tab in line when this one
//! closes, or stolen from it when it freezes.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use js_sys::{Function, Object, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::AbortController;

use crate::scope::Scope;

#[wasm_bindgen]
extern "C" {
    /// `navigator.locks`; web-sys has it as an unstable interface only.
    #[wasm_bindgen(js_name = LockManager)]
    type LockManager;
    #[wasm_bindgen(method, catch)]
    fn request(
        this: &LockManager,
        name: &str,
        options: &Object,
        granted: &Function,
    ) -> Result<Promise, JsValue>;
}

/// What becomes of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockEvent {
    /// This tab holds the lock.
    Gained,
    /// Another tab holds it; this one stands in line.
    Elsewhere,
    /// It was taken away from this tab.
    Lost,
    /// The browser has no Web Locks here.
    Unsupported,
}

/// A claim to a lock; dropping it releases the lock, or leaves the line.
#[derive(Debug)]
pub struct Claim {
    state: Rc<State>,
}

#[derive(Debug)]
struct State {
    name: String,
    abort: AbortController,
    /// Settles the promise that holds the lock.
    release: RefCell<Option<Function>>,
    dropped: Cell<bool>,
}

/// How a lock is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    IfAvailable,
    InLine,
    Steal,
}

impl Claim {
    /// Claims a lock. The listener is never called before this has returned, nor after the claim is dropped.
    pub fn new(name: &str, listener: impl Fn(LockEvent) + 'static) -> Self {
        Self::within(&Scope::Global, name, listener)
    }

    /// [`Self::new`] with the locks of a scope.
    pub fn within(scope: &Scope, name: &str, listener: impl Fn(LockEvent) + 'static) -> Self {
        Self::start(scope, name, &[Way::IfAvailable, Way::InLine], listener)
    }

    /// Takes a lock away from whoever holds it; those who stand in line stay there. The listener is called as
    /// with [`Self::new`], and whoever held the lock hears [`LockEvent::Lost`].
    pub fn steal(name: &str, listener: impl Fn(LockEvent) + 'static) -> Self {
        Self::steal_within(&Scope::Global, name, listener)
    }

    /// [`Self::steal`] with the locks of a scope.
    pub fn steal_within(scope: &Scope, name: &str, listener: impl Fn(LockEvent) + 'static) -> Self {
        Self::start(scope, name, &[Way::Steal], listener)
    }

    fn start(
        scope: &Scope,
        name: &str,
        ways: &'static [Way],
        listener: impl Fn(LockEvent) + 'static,
    ) -> Self {
        let locks = lock_manager(scope);
        let abort = AbortController::new().expect("every browser with wasm has AbortController");
        let state = Rc::new(State {
            name: name.to_owned(),
            abort,
            release: RefCell::new(None),
            dropped: Cell::new(false),
        });
        spawn_local({
            let state = Rc::clone(&state);
            async move { state.claim(locks, ways, listener).await }
        });
        Self { state }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.state.dropped.set(true);
        self.state.abort.abort();
        if let Some(release) = self.state.release.take() {
            // Can't fail: it is a promise's own function.
            let _ = release.call0(&JsValue::UNDEFINED);
        }
    }
}

impl State {
    async fn claim(
        self: Rc<Self>,
        locks: Option<LockManager>,
        ways: &[Way],
        listener: impl Fn(LockEvent) + 'static,
    ) {
        let tell = {
            let state = Rc::clone(&self);
            Rc::new(move |event| {
                if !state.dropped.get() {
                    listener(event);
                }
            })
        };
        let Some(locks) = locks else {
            return tell(LockEvent::Unsupported);
        };
        for way in ways {
            if self.dropped.get() {
                return;
            }
            let held = Rc::new(Cell::new(false));
            let granted = {
                let (state, held, tell) = (Rc::clone(&self), Rc::clone(&held), Rc::clone(&tell));
                Closure::once_into_js(move |lock: JsValue| -> Promise {
                    if lock.is_null() || lock.is_undefined() || state.dropped.get() {
                        return Promise::resolve(&JsValue::UNDEFINED);
                    }
                    held.set(true);
                    let holding = Promise::new(&mut |resolve, _| {
                        state.release.replace(Some(resolve));
                    });
                    tell(LockEvent::Gained);
                    holding
                })
            };
            let options = Object::new();
            let option = match way {
                Way::IfAvailable => ("ifAvailable", JsValue::TRUE),
                Way::InLine => ("signal", self.abort.signal().into()),
                Way::Steal => ("steal", JsValue::TRUE),
            };
            // Can't fail: the object is ours, and not frozen.
            let _ = Reflect::set(&options, &option.0.into(), &option.1);
            let ended = match locks.request(&self.name, &options, granted.unchecked_ref()) {
                Ok(promise) => JsFuture::from(promise).await,
                Err(error) => Err(error),
            };
            if held.get() {
                // Released by us, or stolen: the promise rejects then.
                self.release.take();
                return tell(LockEvent::Lost);
            }
            match ended {
                Ok(_) if *way == Way::IfAvailable => tell(LockEvent::Elsewhere),
                // A document that is not fully active, an opaque origin, or our own leaving of the line.
                Err(_) if *way != Way::InLine => return tell(LockEvent::Unsupported),
                Ok(_) | Err(_) => return,
            }
        }
    }
}

/// Waits for a lock, and holds it until the claim is dropped. Where the browser has no Web Locks, nothing is
/// waited for.
pub async fn hold(name: &str) -> Claim {
    let (claim, _) =
        first_event(name, |event| matches!(event, LockEvent::Gained | LockEvent::Unsupported)).await;
    claim
}

/// Whether somebody holds a lock now.
pub async fn is_held(name: &str) -> bool {
    let (_, event) = first_event(name, |_| true).await;
    event == LockEvent::Elsewhere
}

async fn first_event(name: &str, wanted: impl Fn(LockEvent) -> bool + 'static) -> (Claim, LockEvent) {
    let seen = Rc::new(Cell::new(LockEvent::Unsupported));
    let mut resolve = None;
    let wait = Promise::new(&mut |resolved, _| resolve = Some(resolved));
    let resolve = resolve.expect("a promise calls its executor at once");
    let claim = Claim::new(name, {
        let seen = Rc::clone(&seen);
        move |event| {
            if wanted(event) {
                seen.set(event);
                // Can't fail: it is a promise's own function; what comes after the first is ignored.
                let _ = resolve.call0(&JsValue::UNDEFINED);
            }
        }
    });
    // Can't fail: nothing rejects it.
    let _ = JsFuture::from(wait).await;
    (claim, seen.get())
}

fn lock_manager(scope: &Scope) -> Option<LockManager> {
    let navigator = Reflect::get(&scope.object(), &"navigator".into()).ok()?;
    let locks = Reflect::get(&navigator, &"locks".into()).ok()?;
    (!locks.is_undefined() && !locks.is_null()).then(|| locks.unchecked_into())
}
