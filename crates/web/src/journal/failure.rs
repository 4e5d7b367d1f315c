//! What can go wrong between us and IndexedDB, told apart by the exception's name.

use driftline_core::{CommitError, LeaseName};
use indexed_db_futures::{
    error::{Error, OpenDbError},
    internals::SystemRepr,
    transaction::Transaction,
};
use js_sys::Promise;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use crate::value::message_of;

/// A failed try.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The connection is gone: worth another try on a new one.
    Connection(String),
    /// There is no room.
    Quota,
    /// A value was refused by structured clone.
    NotCloneable(String),
    /// The lease was taken over.
    Fenced(LeaseName),
    /// An entry is there already: of the leases that the transaction asked for, one was taken over.
    Taken,
    /// Nothing that another try would change.
    Unavailable(String),
}

impl Failed {
    /// What is told to the engine.
    pub(crate) async fn into_commit_error(self) -> CommitError {
        match self {
            Self::Quota => {
                let (usage_bytes, quota_bytes) = estimate().await;
                CommitError::Quota { usage_bytes, quota_bytes }
            }
            Self::NotCloneable(text) => CommitError::NotCloneable(text),
            Self::Fenced(lease) => CommitError::Fenced(lease),
            Self::Connection(text) | Self::Unavailable(text) => CommitError::Unavailable(text),
            Self::Taken => CommitError::Unavailable("An entry is there already.".to_owned()),
        }
    }

    fn of_exception(name: &str, message: String) -> Self {
        match name {
            "QuotaExceededError" => Self::Quota,
            "ConstraintError" => Self::Taken,
            "DataCloneError" => Self::NotCloneable(message),
            // A closed connection, one that broke, and what WebKit calls the loss of its database process.
            "InvalidStateError"
            | "TransactionInactiveError"
            | "AbortError"
            | "UnknownError"
            | "NotFoundError" => Self::Connection(message),
            _ => Self::Unavailable(message),
        }
    }
}

impl From<JsValue> for Failed {
    fn from(exception: JsValue) -> Self {
        match exception.dyn_ref::<web_sys::DomException>() {
            Some(dom) => Self::of_exception(&dom.name(), dom.message()),
            None => Self::Unavailable(message_of(&exception)),
        }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        match error {
            Error::DomException(dom) => JsValue::from(dom).into(),
            // The answer to a request never came: its transaction went down with the connection.
            Error::MissingData(missing) => Self::Connection(missing.to_string()),
            Error::Unknown(unknown) => JsValue::from(unknown).into(),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<OpenDbError> for Failed {
    fn from(error: OpenDbError) -> Self {
        match error {
            OpenDbError::Base(error) => error.into(),
            other => Self::Unavailable(format!("IndexedDB can't be used here: {other}.")),
        }
    }
}

/// Commits at once, without waiting for the browser to see that nothing follows, and answers only when
/// the transaction has completed. A quota failure is told by the transaction alone, not by a request.
///
/// A request that fails after the commit was asked for takes the transaction with it, says IndexedDB. Firefox
/// does so for the last request only, and completes without what failed otherwise. So the request that all
/// depends on comes last, and whoever asked for others looks at their answers too.
pub(crate) async fn finish(transaction: Transaction<'_>) -> Result<(), Failed> {
    let raw: web_sys::IdbTransaction = transaction.as_sys().clone().unchecked_into();
    let ended = ended(&raw);
    let Err(error) = transaction.commit().await else { return Ok(()) };
    let failed = match raw.error() {
        Some(cause) => Failed::of_exception(&cause.name(), cause.message()),
        None => error.into(),
    };
    // What is no request's failure is the end already, or a transaction that had ended before.
    let is_end = raw.error().is_some() || matches!(failed, Failed::Connection(_));
    if !is_end && JsFuture::from(ended).await.is_ok_and(|completed| completed.is_truthy()) {
        return Ok(());
    }
    Err(failed)
}

/// Resolves to whether the transaction completed, once it has ended.
fn ended(transaction: &web_sys::IdbTransaction) -> Promise {
    Promise::new(&mut |resolve, _| {
        for (event, completed) in [("complete", true), ("abort", false)] {
            let told = resolve.bind1(&JsValue::UNDEFINED, &JsValue::from_bool(completed));
            // Can't fail: the callback is a function.
            let _ = transaction.add_event_listener_with_callback(event, told.unchecked_ref());
        }
    })
}

/// What the origin uses and may use, in bytes; zeros where the browser does not say.
async fn estimate() -> (u64, u64) {
    let ask = async || -> Result<(u64, u64), JsValue> {
        let navigator = js_sys::Reflect::get(&js_sys::global(), &"navigator".into())?;
        let storage: web_sys::StorageManager =
            js_sys::Reflect::get(&navigator, &"storage".into())?.dyn_into()?;
        let estimate: web_sys::StorageEstimate = JsFuture::from(storage.estimate()?).await?.unchecked_into();
        Ok((estimate.get_usage().unwrap_or_default() as u64, estimate.get_quota().unwrap_or_default() as u64))
    };
    ask().await.unwrap_or_default()
}
