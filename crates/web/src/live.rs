//! Live channels: server-sent events of a remote.

use driftline_core::LiveEvent;
use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::{EventSource, MessageEvent};

/// An open channel; dropping it closes it.
#[derive(Debug)]
pub struct LiveChannel {
    source: EventSource,
    _on_open: Closure<dyn FnMut()>,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_error: Closure<dyn FnMut()>,
}

/// The names of events that count as frames, besides those without a name.
const EVENT_NAMES: [&str; 2] = ["poke", "sync"];

impl LiveChannel {
    /// Opens a channel. The listener hears of its opening, its frames and, once and last, its closing;
    /// never before this call has returned.
    ///
    /// # Errors
    /// A text for people: the address is malformed, or the browser has no `EventSource`.
    pub fn open(url: &str, listener: impl Fn(LiveEvent) + Clone + 'static) -> Result<Self, String> {
        let source = EventSource::new(url).map_err(|error| crate::value::message_of(&error))?;
        let on_open = Closure::new({
            let listener = listener.clone();
            move || listener(LiveEvent::Opened)
        });
        let on_message = Closure::new({
            let listener = listener.clone();
            move |event: MessageEvent| {
                if let Some(text) = event.data().as_string() {
                    listener(LiveEvent::Frame(text));
                }
            }
        });
        let on_error = Closure::new({
            let source = source.clone();
            move || {
                // It would reconnect by itself, without the back-off that the engine keeps.
                source.close();
                detach(&source);
                listener(LiveEvent::Closed);
            }
        });
        source.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        source.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        source.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        for name in EVENT_NAMES {
            // Can't fail: the callback is a function.
            let _ = source.add_event_listener_with_callback(name, on_message.as_ref().unchecked_ref());
        }
        Ok(Self { source, _on_open: on_open, _on_message: on_message, _on_error: on_error })
    }
}

impl Drop for LiveChannel {
    fn drop(&mut self) {
        self.source.close();
        detach(&self.source);
        for name in EVENT_NAMES {
            let _ = self
                .source
                .remove_event_listener_with_callback(name, self._on_message.as_ref().unchecked_ref());
        }
    }
}

fn detach(source: &EventSource) {
    source.set_onopen(None);
    source.set_onmessage(None);
    source.set_onerror(None);
}
