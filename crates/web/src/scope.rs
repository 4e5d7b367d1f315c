//! What stands around a database: the page's global object, or an object that a test gives in its place, with
//! a clock of its own, and locks, channels, network and journal that go wrong when the test wants them to.

use driftline_core::Timestamp;
use js_sys::{Function, Math, Promise};
use wasm_bindgen::{JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use wasm_bindgen_futures::JsFuture;
use web_sys::{BroadcastChannel, EventTarget};

use crate::{environment, journal::given::GivenJournal};

#[wasm_bindgen]
extern "C" {
    /// `js/scope.ts` has its shape: an event target for `online` and `offline`, with `navigator.onLine` and
    /// `navigator.locks` as a page has them.
    #[derive(Clone, Debug)]
    pub type GivenScope;
    #[wasm_bindgen(method)]
    fn now(this: &GivenScope) -> f64;
    #[wasm_bindgen(method)]
    fn random(this: &GivenScope) -> f64;
    #[wasm_bindgen(method, js_name = setTimeout)]
    fn set_timeout(this: &GivenScope, due: &Function, wait_ms: f64) -> JsValue;
    #[wasm_bindgen(method, js_name = setInterval)]
    fn set_interval(this: &GivenScope, due: &Function, every_ms: f64) -> JsValue;
    #[wasm_bindgen(method, js_name = clearTimeout)]
    fn clear_timeout(this: &GivenScope, timeout: &JsValue);
    #[wasm_bindgen(method)]
    fn channel(this: &GivenScope, name: &str) -> BroadcastChannel;
    #[wasm_bindgen(method, getter)]
    fn journal(this: &GivenScope) -> Option<GivenJournal>;
}

/// Where a database finds clock, timers, locks, channels, the network's state and its journal.
#[derive(Clone, Debug, Default)]
pub enum Scope {
    /// The page or worker itself.
    #[default]
    Global,
    /// A test's.
    Given(GivenScope),
}

impl Scope {
    /// The present time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::Global => environment::now(),
            Self::Given(given) => Timestamp(given.now() as u64),
        }
    }

    /// Whether this is the page itself, and no test's.
    #[must_use]
    pub fn is_global(&self) -> bool {
        matches!(self, Self::Global)
    }

    /// A number from zero up to one.
    #[must_use]
    pub fn random(&self) -> f64 {
        match self {
            Self::Global => Math::random(),
            Self::Given(given) => given.random(),
        }
    }

    /// Calls back after a time, unless what is answered is dropped before.
    #[must_use]
    pub fn timeout(&self, wait_ms: u32, due: impl FnOnce() + 'static) -> Timeout {
        match self {
            Self::Global => Timeout::Global(gloo_timers::callback::Timeout::new(wait_ms, due)),
            Self::Given(given) => {
                let closure = Closure::once(due);
                let number = given.set_timeout(closure.as_ref().unchecked_ref(), f64::from(wait_ms));
                Timeout::Given(GivenTimer { scope: given.clone(), number, _closure: closure })
            }
        }
    }

    /// Calls back again and again, until what is answered is dropped.
    #[must_use]
    pub fn interval(&self, every_ms: u32, due: impl FnMut() + 'static) -> Interval {
        match self {
            Self::Global => Interval::Global(gloo_timers::callback::Interval::new(every_ms, due)),
            Self::Given(given) => {
                let closure = Closure::new(due);
                let number = given.set_interval(closure.as_ref().unchecked_ref(), f64::from(every_ms));
                Interval::Given(GivenTimer { scope: given.clone(), number, _closure: closure })
            }
        }
    }

    /// Waits.
    pub async fn wait(&self, wait_ms: u32) {
        match self {
            Self::Global => gloo_timers::future::TimeoutFuture::new(wait_ms).await,
            Self::Given(given) => {
                let due =
                    Promise::new(&mut |resolve, _| drop(given.set_timeout(&resolve, f64::from(wait_ms))));
                // Can't fail: it is only ever resolved.
                let _ = JsFuture::from(due).await;
            }
        }
    }

    /// Opens a channel to the other tabs; `None` where there are none.
    #[must_use]
    pub fn channel(&self, name: &str) -> Option<BroadcastChannel> {
        match self {
            Self::Global => BroadcastChannel::new(name).ok(),
            Self::Given(given) => Some(given.channel(name)),
        }
    }

    /// The journal that stands in IndexedDB's place.
    pub(crate) fn journal(&self) -> Option<GivenJournal> {
        match self {
            Self::Global => None,
            Self::Given(given) => given.journal(),
        }
    }

    /// The object whose events and properties a page's code sees as global.
    #[must_use]
    pub fn object(&self) -> EventTarget {
        match self {
            Self::Global => js_sys::global().unchecked_into(),
            Self::Given(given) => given.clone().unchecked_into(),
        }
    }
}

/// A call that is due later; dropping it takes it back.
#[derive(Debug)]
pub enum Timeout {
    /// The browser's.
    Global(gloo_timers::callback::Timeout),
    /// A test's.
    Given(GivenTimer),
}

/// A call that is due again and again; dropping it ends that.
#[derive(Debug)]
pub enum Interval {
    /// The browser's.
    Global(gloo_timers::callback::Interval),
    /// A test's.
    Given(GivenTimer),
}

/// What is due by a test's clock.
#[derive(Debug)]
pub struct GivenTimer {
    scope: GivenScope,
    number: JsValue,
    _closure: Closure<dyn FnMut()>,
}

impl Drop for GivenTimer {
    fn drop(&mut self) {
        self.scope.clear_timeout(&self.number);
    }
}
