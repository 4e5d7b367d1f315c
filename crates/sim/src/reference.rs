//! What the app's writes mean, said once more and without the engine: what several changes of one
//! transaction to one object come to, and what a row is after a change.

use serde_json::{Map, Value};

/// What a transaction does to one object.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// There was none; now there is this.
    Insert(Value),
    /// These fields change; one that goes is `null`.
    Update(Value),
    /// It goes.
    Delete,
}

impl Effect {
    /// What this and a later one of the same transaction come to; `None`: nothing. `before` is the row that
    /// the transaction found.
    #[must_use]
    pub fn then(self, later: Self, before: Option<&Value>) -> Option<Self> {
        match (self, later) {
            (Self::Insert(row), Self::Update(changes)) => {
                Self::Update(changes).applied(Some(row)).map(Self::Insert)
            }
            (Self::Insert(_), Self::Delete) => None,
            (Self::Update(earlier), Self::Update(later)) => {
                let mut both = fields(&earlier);
                both.extend(fields(&later));
                Some(Self::Update(both.into()))
            }
            (Self::Delete, Self::Insert(row)) => {
                let mut changes = fields(&row);
                for field in before.map(fields).unwrap_or_default().keys() {
                    changes.entry(field).or_insert(Value::Null);
                }
                Some(Self::Update(changes.into()))
            }
            (_, later) => Some(later),
        }
    }

    /// The row after it. An update of a row that is not there shows nothing.
    #[must_use]
    pub fn applied(&self, row: Option<Value>) -> Option<Value> {
        match self {
            Self::Insert(row) => Some(row.clone()),
            Self::Delete => None,
            Self::Update(changes) => {
                let mut row = fields(&row?);
                for (field, value) in fields(changes) {
                    if value.is_null() {
                        row.remove(&field);
                    } else {
                        row.insert(field, value);
                    }
                }
                Some(row.into())
            }
        }
    }
}

fn fields(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}
