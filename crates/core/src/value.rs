//! What a row is to the engine: something it holds, hands on and never looks into.

/// An opaque row, or part of one. In the browser a `JsValue`, in the simulator a `serde_json::Value`.
///
/// A clone is a handle, not a copy: it must be cheap, and nobody changes a value that was handed over.
pub trait Value: Clone + PartialEq {
    /// This row with the fields of `changes` laid over it; a field that `changes` has as *undefined* is removed.
    #[must_use]
    fn merge(&self, changes: &Self) -> Self;

    /// These changes with `more` laid over them: unlike in [`Value::merge`], *undefined* stays, since it says
    /// that a field goes.
    #[must_use]
    fn merge_changes(&self, more: &Self) -> Self;

    /// The changes that make `to` of this row: the fields of `to`, and as *undefined* those that it lacks.
    #[must_use]
    fn changes_to(&self, to: &Self) -> Self;

    /// This row with a text in one field.
    #[must_use]
    fn with_text(&self, field: &str, text: &str) -> Self;

    /// The row as JSON text. *Undefined* fields become `null`, so that a removal crosses the wire.
    ///
    /// # Errors
    /// A text for people, naming the path of the field that JSON can't hold (a cycle, a BigInt).
    fn to_json(&self) -> Result<String, String>;

    /// Many rows from as many JSON texts, each known to be well-formed; in one go, since a crossing into
    /// the host costs more than parsing does.
    ///
    /// # Errors
    /// A text for people.
    fn from_json_many(texts: &[&str]) -> Result<Vec<Self>, String>;
}

/// The value of the simulator and of native users. `null` stands for *undefined* in changes.
impl Value for serde_json::Value {
    fn merge(&self, changes: &Self) -> Self {
        let (Self::Object(row), Self::Object(changes)) = (self, changes) else {
            return changes.clone();
        };
        let mut merged = row.clone();
        for (field, value) in changes {
            if value.is_null() {
                merged.remove(field);
            } else {
                merged.insert(field.clone(), value.clone());
            }
        }
        Self::Object(merged)
    }

    fn merge_changes(&self, more: &Self) -> Self {
        let (Self::Object(changes), Self::Object(more)) = (self, more) else {
            return more.clone();
        };
        let mut stacked = changes.clone();
        stacked.extend(more.iter().map(|(field, value)| (field.clone(), value.clone())));
        Self::Object(stacked)
    }

    fn changes_to(&self, to: &Self) -> Self {
        let (Self::Object(row), Self::Object(target)) = (self, to) else {
            return to.clone();
        };
        let mut changes = target.clone();
        for field in row.keys().filter(|field| !target.contains_key(*field)) {
            changes.insert(field.clone(), Self::Null);
        }
        Self::Object(changes)
    }

    fn with_text(&self, field: &str, text: &str) -> Self {
        let mut row = self.clone();
        if let Self::Object(fields) = &mut row {
            fields.insert(field.to_owned(), Self::String(text.to_owned()));
        }
        row
    }

    fn to_json(&self) -> Result<String, String> {
        serde_json::to_string(self).map_err(|error| error.to_string())
    }

    fn from_json_many(texts: &[&str]) -> Result<Vec<Self>, String> {
        texts.iter().map(|text| serde_json::from_str(text).map_err(|error| error.to_string())).collect()
    }
}
