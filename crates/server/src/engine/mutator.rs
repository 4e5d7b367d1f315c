//! What a mutation does to the rows: the trait that an app implements, and the default that knows no app.

use std::collections::BTreeMap;

use driftline_protocol::RawValue;
use driftline_protocol::mizu::{EntityChange, MAX_PUSH_BYTES, Mutation, Op, failure};

use super::draft::Draft;
use crate::error::Error;

/// Applies mutations to rows.
pub trait Mutator: Send + Sync + 'static {
    /// Applies one mutation to the rows of its scope, and gives the data of the changes for the log.
    ///
    /// Must depend on the draft and the mutation alone. If it refuses, nothing that it wrote is kept, and the mutation
    /// is not remembered: sent again, it is tried again.
    fn apply(&self, rows: &mut Draft<'_>, mutation: &Mutation) -> Result<Vec<Box<RawValue>>, Refusal>;

    /// Names of the entities that a snapshot always shows, as `null` while there is no row.
    fn entities(&self) -> &[String] {
        &[]
    }
}

/// Why a mutation is not applied; the texts may be empty.
#[derive(Debug)]
pub enum Refusal {
    /// The row to create is there already, or the change contradicts what is there.
    Conflict(String),
    /// The row to change is not there.
    NotFound(String),
    /// No mutation of that name, or not with those args.
    Invalid(String),
    /// The app's own reason, sent as it is.
    Other(String),
    /// Storage failed; the whole push is taken back.
    Storage(Error),
}

impl Refusal {
    /// The text on the wire.
    pub fn to_wire(&self) -> String {
        let with = |kind: &str, detail: &str| match detail {
            "" => kind.to_owned(),
            detail => format!("{kind}: {detail}"),
        };
        match self {
            Self::Conflict(detail) => with(failure::CONFLICT, detail),
            Self::NotFound(detail) => with(failure::NOT_FOUND, detail),
            Self::Invalid(detail) => with(failure::INVALID_MUTATION, detail),
            Self::Other(reason) => reason.clone(),
            Self::Storage(_) => failure::INTERNAL.to_owned(),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Storage(error)
    }
}

/// The default: `<entity>.create`, `<entity>.update`, `<entity>.delete` on rows of any shape.
///
/// * `create`: args are the row. [`Refusal::Conflict`] if there is one of that id.
/// * `update`: args are `{ id, ...changes }`, merged member by member. [`Refusal::NotFound`] if there is no such row.
///   A member that is `null` is stored as `null`: JSON has no way to say whether a client set the field to `null` or
///   removed it, and keeping `null` loses neither.
/// * `delete`: args are `{ id }`. A row that is not there is taken as deleted, and nothing is logged: two devices that
///   delete one row while offline have both got what they wanted, and neither is left with a failed transaction.
///
/// A row's members are kept as the text they came in, sorted by name; numbers of any size survive.
#[derive(Debug, Clone, Default)]
pub struct EntityMutator {
    entities: Vec<String>,
}

impl EntityMutator {
    /// A mutator that takes any entity.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same mutator, whose snapshots always show these entities. Others are taken as well.
    pub fn with_entities(mut self, entities: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.entities = entities.into_iter().map(Into::into).collect();
        self
    }
}

impl Mutator for EntityMutator {
    fn apply(&self, rows: &mut Draft<'_>, mutation: &Mutation) -> Result<Vec<Box<RawValue>>, Refusal> {
        let (entity, op) = parse_name(&mutation.name)?;
        let mut args = parse_object(mutation.args.get(), "args")?;
        let id = row_id(&args)?;
        let row = match op {
            Op::Create if rows.get(entity, &id)?.is_some() => {
                return Err(Refusal::Conflict(String::new()));
            }
            Op::Create => to_row(&args)?,
            Op::Update => {
                let Some(before) = rows.get(entity, &id)? else {
                    return Err(Refusal::NotFound(String::new()));
                };
                let mut row = parse_object(before.get(), "the stored row")?;
                row.append(&mut args);
                to_row(&row)?
            }
            Op::Delete if rows.get(entity, &id)?.is_none() => return Ok(Vec::new()),
            Op::Delete => to_row(&BTreeMap::from([("id", &args["id"])]))?,
        };
        match op {
            Op::Delete => rows.delete(entity, &id),
            Op::Create | Op::Update => rows.put(entity, &id, row.clone()),
        }
        let change = EntityChange { op, entity: entity.to_owned(), row };
        Ok(vec![change.to_raw().map_err(|error| Refusal::Invalid(error.to_string()))?])
    }

    fn entities(&self) -> &[String] {
        &self.entities
    }
}

fn parse_name(name: &str) -> Result<(&str, Op), Refusal> {
    let unknown =
        || Refusal::Invalid("the name must be <entity>.create, <entity>.update or <entity>.delete".into());
    let (entity, op) = name.rsplit_once('.').ok_or_else(unknown)?;
    let op = Op::from_name(op).ok_or_else(unknown)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':');
    // `op` stands beside the entity's name in a change, so an entity of that name could not be told from it.
    if entity.is_empty() || entity == "op" || !entity.bytes().all(plain) {
        return Err(Refusal::Invalid(
            "an entity's name has letters, digits, _ - . : only, and is not \"op\"".into(),
        ));
    }
    Ok((entity, op))
}

/// An object's members, each as the text it came in.
fn parse_object(text: &str, what: &str) -> Result<BTreeMap<String, Box<RawValue>>, Refusal> {
    serde_json::from_str(text).map_err(|_| Refusal::Invalid(format!("{what} must be an object")))
}

fn row_id(args: &BTreeMap<String, Box<RawValue>>) -> Result<String, Refusal> {
    let id: Option<String> = args.get("id").and_then(|id| serde_json::from_str(id.get()).ok());
    match id {
        Some(id) if (1..=MAX_ROW_ID_BYTES).contains(&id.len()) => Ok(id),
        _ => Err(Refusal::Invalid(format!("args.id must be a text of 1 to {MAX_ROW_ID_BYTES} bytes"))),
    }
}

fn to_row<T: serde::Serialize>(members: &T) -> Result<Box<RawValue>, Refusal> {
    let row =
        serde_json::value::to_raw_value(members).map_err(|error| Refusal::Invalid(error.to_string()))?;
    match row.get().len() {
        0..=MAX_ROW_BYTES => Ok(row),
        bytes => {
            Err(Refusal::Invalid(format!("the row would have {bytes} bytes, the limit is {MAX_ROW_BYTES}")))
        }
    }
}

/// Bytes of a row's id, at most.
pub const MAX_ROW_ID_BYTES: usize = 1024;
/// Bytes of a row as JSON, at most: what one push can carry.
pub const MAX_ROW_BYTES: usize = MAX_PUSH_BYTES;
