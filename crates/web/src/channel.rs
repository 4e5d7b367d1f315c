//! What the tabs of one database tell each other. All of it is a hint: the journal is the truth.

use driftline_core::{ErrorInfo, TabNote};
use js_sys::{Array, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{BroadcastChannel, MessageEvent};

use crate::scope::Scope;

/// A message between tabs.
#[derive(Clone, Debug)]
pub enum TabMessage {
    /// The log has a record with this number.
    Grew(u64),
    /// A checkpoint covers everything up to this number.
    Checkpointed(u64),
    /// A tab has opened the database: leaders tell it how their remotes stand.
    Hello,
    /// How a remote stands, from the tab that leads it: its id, and an object for the app.
    Remote(String, JsValue),
    /// The tab that holds these leases is alive.
    Beat(Vec<String>),
    /// A tab that stands in line for these leases has missed their beats: whoever holds one answers with a
    /// beat. Browsers slow the timers of hidden tabs down, and not their messages.
    Ask(Vec<String>),
    /// What the engine tells the others'.
    Note(TabNote),
}

/// An open channel; dropping it closes it.
#[derive(Debug)]
pub struct TabChannel {
    channel: BroadcastChannel,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
}

impl TabChannel {
    /// Opens the channel of a database; `None` where the browser has none, which leaves only the journal.
    pub fn open(database: &str, listener: impl Fn(TabMessage) + 'static) -> Option<Self> {
        Self::within(&Scope::Global, database, listener)
    }

    /// [`Self::open`] with the channels of a scope.
    pub fn within(scope: &Scope, database: &str, listener: impl Fn(TabMessage) + 'static) -> Option<Self> {
        let channel = scope.channel(&crate::schema::database_name(database))?;
        let on_message = Closure::new(move |event: MessageEvent| {
            // Another version of Driftline may speak of things that this one does not know.
            if let Some(message) = decode(&event.data()) {
                listener(message);
            }
        });
        channel.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        Some(Self { channel, _on_message: on_message })
    }

    /// Tells the other tabs.
    pub fn send(&self, message: &TabMessage) {
        // A message that can't be posted is a hint that is missed.
        let _ = self.channel.post_message(&encode(message));
    }
}

impl Drop for TabChannel {
    fn drop(&mut self) {
        self.channel.set_onmessage(None);
        self.channel.close();
    }
}

fn encode(message: &TabMessage) -> JsValue {
    let fields: [JsValue; 3] = match message {
        TabMessage::Grew(number) => ["grew".into(), JsValue::from_f64(*number as f64), JsValue::NULL],
        TabMessage::Checkpointed(number) => {
            ["checkpointed".into(), JsValue::from_f64(*number as f64), JsValue::NULL]
        }
        TabMessage::Hello => ["hello".into(), JsValue::NULL, JsValue::NULL],
        TabMessage::Remote(id, status) => ["remote".into(), JsValue::from_str(id), status.clone()],
        TabMessage::Beat(leases) => ["beat".into(), names(leases), JsValue::NULL],
        TabMessage::Ask(leases) => ["ask".into(), names(leases), JsValue::NULL],
        TabMessage::Note(TabNote::Wanted { lease, collections }) => {
            ["wanted".into(), names(collections), JsValue::from_str(lease)]
        }
        TabMessage::Note(TabNote::Ping { lease }) => ["ping".into(), JsValue::from_str(lease), JsValue::NULL],
        TabMessage::Note(TabNote::Pinged { lease, failed }) => {
            let error = failed.as_ref().map_or(JsValue::NULL, |error| {
                names(&[error.name.clone(), error.code.clone(), error.message.clone()])
            });
            ["pinged".into(), JsValue::from_str(lease), error]
        }
        TabMessage::Note(TabNote::Offered { lease }) => {
            ["offered".into(), JsValue::from_str(lease), JsValue::NULL]
        }
    };
    let message = Object::new();
    // Can't fail: the object is ours, and not frozen.
    let _ = Reflect::set(&message, &"driftline".into(), &fields.into_iter().collect::<Array>());
    message.into()
}

fn decode(data: &JsValue) -> Option<TabMessage> {
    let fields: Array = Reflect::get(data, &"driftline".into()).ok()?.dyn_into().ok()?;
    let number = || fields.get(1).as_f64().filter(|number| *number >= 0.0).map(|number| number as u64);
    let names = || -> Option<Vec<String>> {
        fields.get(1).dyn_into::<Array>().ok()?.iter().map(|name| name.as_string()).collect()
    };
    match fields.get(0).as_string()?.as_str() {
        "grew" => number().map(TabMessage::Grew),
        "checkpointed" => number().map(TabMessage::Checkpointed),
        "hello" => Some(TabMessage::Hello),
        "remote" => Some(TabMessage::Remote(fields.get(1).as_string()?, fields.get(2))),
        "beat" => names().map(TabMessage::Beat),
        "ask" => names().map(TabMessage::Ask),
        "wanted" => Some(TabMessage::Note(TabNote::Wanted {
            lease: fields.get(2).as_string()?,
            collections: names()?,
        })),
        "ping" => Some(TabMessage::Note(TabNote::Ping { lease: fields.get(1).as_string()? })),
        "pinged" => {
            let texts: Option<Array> = fields.get(2).dyn_into().ok();
            let failed = texts.map(|texts| ErrorInfo {
                name: texts.get(0).as_string().unwrap_or_default(),
                code: texts.get(1).as_string().unwrap_or_default(),
                message: texts.get(2).as_string().unwrap_or_default(),
                ..ErrorInfo::default()
            });
            Some(TabMessage::Note(TabNote::Pinged { lease: fields.get(1).as_string()?, failed }))
        }
        "offered" => Some(TabMessage::Note(TabNote::Offered { lease: fields.get(1).as_string()? })),
        _ => None,
    }
}

fn names(leases: &[String]) -> JsValue {
    leases.iter().map(|lease| JsValue::from_str(lease)).collect::<Array>().into()
}
