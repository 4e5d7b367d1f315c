//! The clock, the one timer, and what the browser says of network and visibility.

use std::cell::RefCell;

use driftline_core::Timestamp;
use js_sys::{Function, Reflect};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::EventTarget;

use crate::scope::{Scope, Timeout};

/// The longest wait that browsers take, in milliseconds; a longer one would fire at once.
const TIMEOUT_MAX_MS: u64 = i32::MAX as u64;

/// The present time.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp(js_sys::Date::now() as u64)
}

/// One timer; each setting replaces the last.
#[derive(Debug, Default)]
pub struct Timer {
    scope: Scope,
    set: RefCell<Option<Timeout>>,
}

impl Timer {
    /// A timer of this scope's clock.
    #[must_use]
    pub fn within(scope: &Scope) -> Self {
        Self { scope: scope.clone(), set: RefCell::new(None) }
    }

    /// Calls back at `at`, or at once if that is past. A far time is woken for early.
    pub fn set(&self, at: Timestamp, due: impl FnOnce() + 'static) {
        let wait_ms = at.0.saturating_sub(self.scope.now().0).min(TIMEOUT_MAX_MS);
        // The one that fires now is replaced from inside itself: it has no more to free then than its handle.
        let last = self.set.replace(Some(self.scope.timeout(wait_ms as u32, due)));
        drop(last);
    }

    /// Forgets the time that was set.
    pub fn clear(&self) {
        self.set.take();
    }
}

/// A change in the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The browser's hint about the network.
    Online(bool),
    /// Whether the page is visible.
    Visible(bool),
    /// Whether the browser has stopped the page: messages still come then, and nothing else does.
    Frozen(bool),
}

/// Listens for changes until it is dropped.
#[derive(Debug)]
pub struct Environment {
    listening: Vec<(EventTarget, &'static str, Function)>,
    _closure: Closure<dyn FnMut(web_sys::Event)>,
}

impl Environment {
    /// Starts listening. In a worker there is no page, and nothing about visibility comes.
    pub fn listen(listener: impl Fn(Change) + 'static) -> Self {
        Self::within(&Scope::Global, listener)
    }

    /// [`Self::listen`] in a scope.
    pub fn within(scope: &Scope, listener: impl Fn(Change) + 'static) -> Self {
        let visible = scope.clone();
        let closure = Closure::new(move |event: web_sys::Event| match event.type_().as_str() {
            "online" => listener(Change::Online(true)),
            "offline" => listener(Change::Online(false)),
            "freeze" => listener(Change::Frozen(true)),
            "resume" => listener(Change::Frozen(false)),
            _ => listener(Change::Visible(visible.is_visible())),
        });
        let function: Function = closure.as_ref().unchecked_ref::<Function>().clone();
        let mut listening = Vec::new();
        let global = scope.object();
        for name in ["online", "offline"] {
            listening.push((global.clone(), name, function.clone()));
        }
        if let Some(document) = document(&global) {
            for name in ["visibilitychange", "freeze", "resume"] {
                listening.push((document.clone(), name, function.clone()));
            }
        }
        for (target, name, function) in &listening {
            // Can't fail: the callback is a function.
            let _ = target.add_event_listener_with_callback(name, function);
        }
        Self { listening, _closure: closure }
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        for (target, name, function) in &self.listening {
            let _ = target.remove_event_listener_with_callback(name, function);
        }
    }
}

/// What the browser says of the network; only its "no" means something.
#[must_use]
pub fn is_online() -> bool {
    Scope::Global.is_online()
}

impl Scope {
    /// What the browser says of the network; only its "no" means something.
    #[must_use]
    pub fn is_online(&self) -> bool {
        property(&self.object(), "navigator")
            .and_then(|navigator| property(&navigator, "onLine"))
            .is_none_or(|online| online.is_truthy())
    }

    /// Whether the page is visible; a worker always counts as that.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        document(&self.object())
            .and_then(|document| property(&document, "visibilityState"))
            .is_none_or(|state| state.as_string().as_deref() != Some("hidden"))
    }
}

fn document(global: &JsValue) -> Option<EventTarget> {
    property(global, "document").map(JsCast::unchecked_into)
}

fn property(of: &JsValue, name: &str) -> Option<JsValue> {
    Reflect::get(of, &JsValue::from_str(name)).ok().filter(|value| !value.is_undefined() && !value.is_null())
}
