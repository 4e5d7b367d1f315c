//! Events as LiveStore's wires carry them, in the names of the default mapping.

use driftline_protocol::livestore::{Event, Stored};
use serde_json::value::RawValue;

use super::{
    Position, PushItem,
    json::{quoted, with_id},
};
use crate::{ErrorInfo, Value, view::MutationKind};

/// Events, in order.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub events: Vec<Event>,
    /// Whether the log has more than these; what is only broadcast never says so.
    pub has_more: bool,
    /// Which log it is, where the backend says so.
    pub identity: Option<String>,
    /// Whether it answers a pull of its own and so begins right behind the cursor, whatever the positions say.
    pub is_answer: bool,
}

/// What an event takes on the wire besides its session, name and arguments, in bytes.
pub(super) const OVERHEAD_BYTES: usize = 192;

pub(super) fn stored(batch: Vec<Stored>) -> Vec<Event> {
    batch.into_iter().map(|stored| stored.event).collect()
}

/// The default mapping: `<entity>.inserted` with the row, `<entity>.updated` with `id` and what changes,
/// `<entity>.deleted` with `id`.
pub(super) fn encode_mutation<V: Value>(
    id: String,
    entity: &str,
    key: &str,
    kind: MutationKind,
    changes: Option<&V>,
) -> Result<PushItem, ErrorInfo> {
    let (verb, args) = match (kind, changes) {
        (MutationKind::Insert, Some(row)) => ("inserted", with_id(key, row, true)?),
        (MutationKind::Update, Some(changes)) => ("updated", with_id(key, changes, false)?),
        _ => ("deleted", format!("{{\"id\":{}}}", quoted(key))),
    };
    Ok(PushItem { id, name: format!("{entity}.{verb}"), args })
}

/// The events of a push, numbered behind the head. Servers check the first one's parent and no more, so that
/// they follow one another is seen to here.
pub(super) fn numbered(at: Position<'_>, items: Vec<PushItem>) -> Vec<Event> {
    (at.head..)
        .zip(items)
        .map(|(parent, item)| Event {
            name: item.name,
            args: RawValue::from_string(item.args).expect("arguments were made by a JSON writer"),
            seq_num: parent + 1,
            parent_seq_num: parent,
            client_id: at.client.to_owned(),
            session_id: item.id,
        })
        .collect()
}
