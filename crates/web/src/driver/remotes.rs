//! Remotes: where they are, their live channels, and how they stand, in the tab that leads and in the others.

use std::rc::Rc;

use driftline_core::{
    Error, LiveEndpoint, Output,
    spec::{RemoteId, RemoteSpec},
    view::RemoteView,
};
use js_sys::{Object, Reflect};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;

use super::Driver;
use crate::{channel::TabMessage, http::Endpoint, live::LiveChannel};

/// A connected remote.
pub(super) struct Remote {
    id: String,
    pub(super) endpoint: Endpoint,
    live: Option<LiveChannel>,
    /// What this tab saw last, so that only changes are told.
    seen: Option<RemoteView>,
    /// What the tab that leads told last.
    told: Option<JsValue>,
}

impl Driver {
    /// Connects a remote.
    ///
    /// # Errors
    /// The engine's.
    pub fn connect(self: &Rc<Self>, spec: RemoteSpec, endpoint: Endpoint) -> Result<RemoteId, Error> {
        let id = spec.id.clone();
        self.command(|engine, now| {
            let remote = engine.connect(now, spec)?;
            // Before the engine's outputs are looked at, as a request may be among them.
            let connected = Remote { id, endpoint, live: None, seen: None, told: None };
            self.remotes.borrow_mut().insert(remote, connected);
            Ok(remote)
        })
        .inspect(|_| self.send(&TabMessage::Hello))
    }

    /// How a remote stands: `{ state, connected, cursor?, pending, lastError?: { name, code, message } }`.
    #[must_use]
    pub fn remote_status(&self, remote: RemoteId) -> JsValue {
        let view = self.look(|engine| engine.remote(remote)).ok().flatten();
        match view {
            Some(view) if view.leads => view_to_js(&view),
            Some(view) => self
                .remotes
                .borrow()
                .get(&remote)
                .and_then(|remote| remote.told.clone())
                .unwrap_or_else(|| view_to_js(&view)),
            None => JsValue::UNDEFINED,
        }
    }

    /// Looks, once what runs now is done, whether a remote stands differently than it did.
    pub(super) fn check_remotes_soon(self: &Rc<Self>) {
        if self.remotes.borrow().is_empty() || self.remotes_check_is_due.replace(true) {
            return;
        }
        let check = self.weakly(|driver, ()| {
            driver.remotes_check_is_due.set(false);
            driver.check_remotes();
        });
        spawn_local(async move { check(()) });
    }

    /// Tells a tab that has just come how the remotes stand that this one leads.
    pub(super) fn tell_remotes(&self) {
        for (id, remote) in &*self.remotes.borrow() {
            if let Ok(Some(view)) = self.look(|engine| engine.remote(*id))
                && view.leads
            {
                self.send(&TabMessage::Remote(remote.id.clone(), view_to_js(&view)));
            }
        }
    }

    pub(super) fn remote_told(&self, id: &str, status: JsValue) {
        let mut known = false;
        for remote in self.remotes.borrow_mut().values_mut().filter(|remote| remote.id == id) {
            remote.told = Some(status.clone());
            known = true;
        }
        if known {
            (self.tell)(vec![Output::Status]);
        }
    }

    pub(super) fn open_live(self: &Rc<Self>, id: RemoteId, live: LiveEndpoint) {
        let heard = self.weakly(move |driver, event| driver.live(id, event));
        if let Some(remote) = self.remotes.borrow_mut().get_mut(&id) {
            remote.live = Some(LiveChannel::open(remote.endpoint.clone(), live, heard));
        }
    }

    pub(super) fn send_frame(&self, id: RemoteId, frame: &str) {
        if let Some(live) = self.remotes.borrow().get(&id).and_then(|remote| remote.live.as_ref()) {
            live.send(frame);
        }
    }

    pub(super) fn close_live(&self, id: RemoteId) {
        if let Some(remote) = self.remotes.borrow_mut().get_mut(&id) {
            remote.live = None;
        }
    }

    fn check_remotes(&self) {
        let mut changed = Vec::new();
        for (id, remote) in &mut *self.remotes.borrow_mut() {
            let Ok(view) = self.look(|engine| engine.remote(*id)) else {
                continue;
            };
            if view != remote.seen {
                if let Some(view) = view.as_ref().filter(|view| view.leads && self.has_others()) {
                    changed.push(TabMessage::Remote(remote.id.clone(), view_to_js(view)));
                }
                remote.seen = view;
            }
        }
        for message in &changed {
            self.send(message);
        }
    }
}

fn view_to_js(view: &RemoteView) -> JsValue {
    let object = Object::new();
    let put = |field: &str, value: JsValue| {
        // Can't fail: the object is ours, and not frozen.
        let _ = Reflect::set(&object, &JsValue::from_str(field), &value);
    };
    put("state", view.state.as_str().into());
    put("connected", view.connected.into());
    put("pending", JsValue::from_f64(view.pending as f64));
    if let Some(cursor) = view.cursor {
        put("cursor", JsValue::from_f64(cursor as f64));
    }
    if let Some(error) = &view.last_error {
        let shown = Object::new();
        for (field, text) in [("name", &error.name), ("code", &error.code), ("message", &error.message)] {
            let _ = Reflect::set(&shown, &JsValue::from_str(field), &JsValue::from_str(text));
        }
        put("lastError", shown.into());
    }
    object.into()
}
