//! What the workers of one database's tabs tell each other. All of it is a hint: disk and records are the truth.

use driftline_core::files::{Digest, Stored};
use serde::{Deserialize, Serialize};
use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::{BroadcastChannel, MessageEvent};

use super::message::{Command, Event, to_js};

/// One message.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Word {
    /// A tab has opened its files: the leader tells it how all stands.
    Hello,
    /// From the leader.
    Event(Event),
    /// To the leader.
    Command(Command),
    /// From the leader, once a second: it lives.
    Beat,
    /// To the leader: a blob was published.
    Saved(Digest, Stored),
}

/// An open channel; dropping it closes it.
#[derive(Debug)]
pub(super) struct Tabs {
    channel: BroadcastChannel,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
}

impl Tabs {
    /// `None` where the browser has no such channel: then every tab reads the disk for itself.
    pub(super) fn open(database: &str, listener: impl Fn(Word) + 'static) -> Option<Self> {
        let channel = BroadcastChannel::new(&format!("driftline:{database}:files")).ok()?;
        let on_message = Closure::new(move |event: MessageEvent| {
            // Another version of Driftline may speak of things that this one does not know.
            if let Ok(word) = serde_wasm_bindgen::from_value(event.data()) {
                listener(word);
            }
        });
        channel.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        Some(Self { channel, _on_message: on_message })
    }

    pub(super) fn say(&self, word: &Word) {
        // A message that can't be posted is a hint that is missed.
        let _ = self.channel.post_message(&to_js(word));
    }
}

impl Drop for Tabs {
    fn drop(&mut self) {
        self.channel.set_onmessage(None);
        self.channel.close();
    }
}
